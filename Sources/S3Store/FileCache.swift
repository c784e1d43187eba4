import Foundation
import Storage
import Synchronization

/// Copies of large objects in a folder of this process: mapped into memory from there, least recently used removed first, kept over a restart.
///
/// `files/<32 hex of the key's SHA-256>-<bytes>-<CRC-32C>` is a copy; it was complete when it got that name. Found after a restart, it is
/// read once against its checksum before it is handed out. A file in use is never removed for room, so the bound may be exceeded
/// by what is in use and by one download. Any task may call.
package final class FileCache: Sendable {
    private struct Entry {
        var byteCount: Int
        var checksum: UInt32
        var users = 0
        /// Grows with each use: the smallest is removed first.
        var lastUse: UInt64
        var isVerified: Bool
        var idleSince = ContinuousClock.now
        /// Distinguishes it from a later entry of the same key.
        let id: UInt64
    }
    /// A download, or the reading of a file that was found.
    private struct Arrival {
        var waiters: [CheckedContinuation<Void, Never>] = []
        var isRemoved = false
    }
    private struct State {
        var entries: [String: Entry] = [:]
        var arriving: [String: Arrival] = [:]
        var byteCount = 0
        var lastUse: UInt64 = 0
        var scratchCount = 0
        /// Files that were moved out of the way, to be removed once the lock is given back: a large one takes its time.
        var removed: [String] = []
    }
    private enum Claim {
        case held(LocalFile)
        /// The caller brings it, having this one to look at first.
        case bring(found: Entry?)
        case wait
    }

    private let folder: String
    private let maximumBytes: Int
    private let state = Mutex(State())
    private let threads = WorkerThreads(name: "cache", count: 2, limit: 1_024)
    private let lock: CInt

    /// - Throws: ``StoreError/system(errno:operation:path:)`` if the folder cannot be made, ``StoreError/unavailable(_:)`` if another process has it.
    package init(folder: String, maximumBytes: Int) throws(StoreError) {
        self.folder = folder.hasPrefix("/") ? folder : FileManager.default.currentDirectoryPath + "/" + folder
        self.maximumBytes = maximumBytes
        try Self.makeFolders(in: self.folder)
        lock = unsafe open(self.folder + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard lock >= 0 else { throw .system(errno: errno, operation: "open", path: self.folder + "/lock") }
        // With all of its properties set it is an object already: what it throws now ends it, and closes the file.
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { throw .unavailable("the cache folder \(self.folder) belongs to another running process") }
        removeScratch()
        readFolder()
    }

    deinit { close(lock) }

    private static func makeFolders(in folder: String) throws(StoreError) {
        do {
            for part in ["files", "scratch"] { try FileManager.default.createDirectory(atPath: "\(folder)/\(part)", withIntermediateDirectories: true) }
        } catch { throw .system(errno: (error as NSError).underlyingErrno ?? EIO, operation: "mkdir", path: folder) }
    }

    func scratchPath() -> String { state.withLock { scratchPath(&$0) } }

    private func scratchPath(_ state: inout State) -> String {
        state.scratchCount += 1
        return folder + "/scratch/\(state.scratchCount)"
    }

    /// Changes the state; what it removed is gone when this returns.
    private func change<Result, Failure: Error>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
        var removed: [String] = []
        defer { for path in removed { unsafe _ = unlink(path) } }
        return try state.withLock { (state) throws(Failure) -> Result in
            defer { (removed, state.removed) = (state.removed, []) }
            return try body(&state)
        }
    }

    /// The copy of an object; the first of those who ask at once downloads it.
    ///
    /// - Parameter download: Writes the object to a path at which nothing is yet.
    package func file(_ key: String, download: @Sendable (String) async throws(StoreError) -> Void) async throws(StoreError) -> LocalFile {
        let name = Self.name(of: key)
        while true {
            switch claim(name) {
            case .held(let file): return file
            case .wait: await wait(for: name)
            case .bring(let found):
                defer { arrived(name) }
                if let found, try await isIntact(name, found), let file = keepVerified(name) { return file }
                return try await bring(key, name, download)
            }
        }
    }

    /// Forgets an object and removes its bytes; whoever has mapped them still reads them.
    package func remove(_ key: String) {
        let name = Self.name(of: key)
        change { state in
            state.arriving[name]?.isRemoved = true
            remove(name, from: &state)
        }
    }

    /// Removes the copies that nobody used for so long: their objects may be gone from the store, which another process deleted them from.
    package func removeIdle(for time: Duration) {
        change { state in
            let now = ContinuousClock.now
            for (name, entry) in state.entries where entry.users == 0 && state.arriving[name] == nil && entry.idleSince.duration(to: now) >= time {
                remove(name, from: &state)
            }
        }
    }

    package var byteCount: Int { state.withLock { $0.byteCount } }

    // MARK: - Bringing

    private func claim(_ name: String) -> Claim {
        change { state in
            if state.arriving[name] != nil { return .wait }
            guard let entry = state.entries[name], entry.isVerified else {
                state.arriving[name] = Arrival()
                return .bring(found: state.entries[name])
            }
            // Somebody may have cleaned the folder up.
            guard unsafe access(path(name, entry), R_OK) == 0 else {
                remove(name, from: &state)
                state.arriving[name] = Arrival()
                return .bring(found: nil)
            }
            return .held(use(name, &state))
        }
    }

    private func wait(for name: String) async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                guard state.arriving[name] != nil else { return true }
                state.arriving[name]?.waiters.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    private func arrived(_ name: String) {
        let arrival = state.withLock { $0.arriving.removeValue(forKey: name) }
        for waiter in arrival?.waiters ?? [] { waiter.resume() }
    }

    private func bring(_ key: String, _ name: String, _ download: @Sendable (String) async throws(StoreError) -> Void) async throws(StoreError) -> LocalFile {
        try Self.makeFolders(in: folder)
        let temporary = scratchPath()
        defer { unsafe _ = unlink(temporary) }  // after the rename it is gone already
        try await download(temporary)
        let (byteCount, checksum) = try await threads.onDisk { () throws(SystemError) in try Self.checksum(of: temporary) }
        return try change { (state) throws(StoreError) -> LocalFile in
            if state.arriving[name]?.isRemoved == true { throw .notFound(key: key) }
            remove(name, from: &state)
            state.lastUse += 1
            let entry = Entry(byteCount: byteCount, checksum: checksum, lastUse: state.lastUse, isVerified: true, id: state.lastUse)
            guard unsafe rename(temporary, path(name, entry)) == 0 else { throw .system(errno: errno, operation: "rename", path: path(name, entry)) }
            state.entries[name] = entry
            state.byteCount += byteCount
            let file = use(name, &state)
            makeRoom(&state)
            return file
        }
    }

    private func isIntact(_ name: String, _ entry: Entry) async throws(StoreError) -> Bool {
        let path = path(name, entry)
        guard let found = try? await threads.onDisk({ () throws(SystemError) in try Self.checksum(of: path) }) else { return false }
        return found == (entry.byteCount, entry.checksum)
    }

    private func keepVerified(_ name: String) -> LocalFile? {
        state.withLock { state in
            guard state.entries[name] != nil else { return nil }
            state.entries[name]?.isVerified = true
            return use(name, &state)
        }
    }

    // MARK: - Entries

    private func use(_ name: String, _ state: inout State) -> LocalFile {
        state.lastUse += 1
        state.entries[name]!.users += 1
        state.entries[name]!.lastUse = state.lastUse
        let entry = state.entries[name]!
        let path = path(name, entry)
        // What a restart knows of the order of uses.
        unsafe _ = utimensat(AT_FDCWD, path, nil, 0)
        return LocalFile(path: path) { [weak self] in self?.release(name, id: entry.id) }
    }

    private func release(_ name: String, id: UInt64) {
        change { state in
            guard state.entries[name]?.id == id else { return }
            state.entries[name]!.users -= 1
            state.entries[name]!.idleSince = .now
            makeRoom(&state)
        }
    }

    private func makeRoom(_ state: inout State) {
        while state.byteCount > maximumBytes {
            let idle = state.entries.filter { $0.value.users == 0 && state.arriving[$0.key] == nil }
            guard let oldest = idle.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
            remove(oldest.key, from: &state)
        }
    }

    private func remove(_ name: String, from state: inout State) {
        guard let entry = state.entries.removeValue(forKey: name) else { return }
        state.byteCount -= entry.byteCount
        let path = scratchPath(&state)
        // Without the folder of scratch files it is removed at once.
        if unsafe rename(self.path(name, entry), path) == 0 { state.removed.append(path) } else { unsafe _ = unlink(self.path(name, entry)) }
    }

    private func path(_ name: String, _ entry: Entry) -> String {
        "\(folder)/files/\(name)-\(entry.byteCount)-\(String(entry.checksum, radix: 16))"
    }

    private static func name(of key: String) -> String { hex(sha256(key.utf8).prefix(16)) }

    // MARK: - Folder

    private func removeScratch() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder + "/scratch")) ?? [] { unsafe _ = unlink("\(folder)/scratch/\(name)") }
    }

    /// Takes in what an earlier process left, in the order in which it was used.
    private func readFolder() {
        var found: [(name: String, byteCount: Int, checksum: UInt32, time: Date)] = []
        for file in (try? FileManager.default.contentsOfDirectory(atPath: folder + "/files")) ?? [] {
            let parts = file.split(separator: "-")
            let attributes = try? FileManager.default.attributesOfItem(atPath: "\(folder)/files/\(file)")
            guard parts.count == 3, let byteCount = Int(parts[1]), let checksum = UInt32(parts[2], radix: 16), attributes?[.size] as? Int == byteCount,
                let time = attributes?[.modificationDate] as? Date
            else {
                unsafe _ = unlink("\(folder)/files/\(file)")
                continue
            }
            found.append((String(parts[0]), byteCount, checksum, time))
        }
        change { state in
            for file in found.sorted(by: { $0.time < $1.time }) {
                state.lastUse += 1
                state.entries[file.name] = Entry(
                    byteCount: file.byteCount, checksum: file.checksum, lastUse: state.lastUse, isVerified: false, id: state.lastUse)
                state.byteCount += file.byteCount
            }
            makeRoom(&state)
        }
    }

    private static func checksum(of path: String) throws(SystemError) -> (byteCount: Int, checksum: UInt32) {
        let files = PosixFileSystem()
        let byteCount = try files.size(path)
        var checksum: UInt32 = 0
        for start in stride(from: 0, to: byteCount, by: 4 << 20) {
            checksum = crc32c(try files.read(path, range: start..<min(start + (4 << 20), byteCount)), seed: checksum)
        }
        return (byteCount, checksum)
    }
}

extension NSError {
    fileprivate var underlyingErrno: CInt? { (userInfo[NSUnderlyingErrorKey] as? NSError).map { CInt($0.code) } }
}

import Foundation
import Synchronization

/// An object store in a folder of a local disk: the embedded default. Several processes may share the folder.
///
/// The object `a/b/c` is the file `a/b/c~`: as no part of a key ends in `~`, an object and a folder of the same name do not
/// meet. Files in the making lie in `.tmp`. Backup is a copy of the folder.
///
/// Create-only is `link`, which fails if the name is taken; the file is whole and synchronized before. What a put needs to
/// be durable: the file's bytes, the folder that names it, and each folder above that this process has not synchronized yet.
package final class LocalObjectStore: ObjectStore {
    private let root: String
    private let scratch: String
    private let files: any FileSystem
    private let threads: WorkerThreads
    private let state = Mutex(State())

    private struct State {
        /// Folders whose names, up to the root, are known to be durable.
        var durableFolders: Set<String> = []
        /// Folders removed so far: one that was found durable before counts no more after.
        var removals = 0
        var scratchCount = 0
    }

    /// Folders remembered as durable. Default reason: a few bytes each; beyond, the set starts anew and costs repeated synchronization.
    private static let rememberedFolders = 100_000
    /// Threads for blocking calls. Reason: disks serve a few requests at once well, and group commit needs no more.
    package static let threadCount = 4
    /// Calls that may wait for a thread. Reason: callers are bounded themselves, this only keeps memory bounded.
    private static let queueLimit = 65_536

    /// - Parameters:
    ///   - root: Folder of the store, made if it is missing.
    ///   - threads: For blocking calls; 0 blocks the caller, for the simulation.
    /// - Throws: ``StoreError/system(errno:operation:path:)`` if it cannot be made or written.
    package init(root: String, fileSystem: any FileSystem = PosixFileSystem(), threads: Int = LocalObjectStore.threadCount) throws(StoreError) {
        let absolute = root.hasPrefix("/") ? root : FileManager.default.currentDirectoryPath + "/" + root
        self.root = absolute.count > 1 && absolute.hasSuffix("/") ? String(absolute.dropLast()) : absolute
        files = fileSystem
        self.threads = WorkerThreads(name: "store", count: threads, limit: Self.queueLimit)
        do throws(SystemError) {
            try Self.makeRoot(self.root, files)
            scratch = try fileSystem.makeScratchFolder(in: self.root)
        } catch { throw StoreError(error) }
    }

    /// Makes the root and what is missing above it.
    private static func makeRoot(_ root: String, _ files: any FileSystem) throws(SystemError) {
        var missing: [String] = []
        var folder = root
        while folder.count > 1 {
            do {
                _ = try files.list(folder)
                break
            } catch {
                guard error.code == ENOENT else { throw error }
                missing.append(folder)
                folder = parent(of: folder)
            }
        }
        for folder in missing.reversed() {
            do { try files.makeFolder(folder) } catch { if error.code != EEXIST { throw error } }
            try files.synchronize(parent(of: folder), .folder)
        }
    }

    package func get(_ key: String) async throws(StoreError) -> [UInt8] {
        try await perform(key) { store, path throws(SystemError) in try store.files.read(path, range: nil) }
    }

    package func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8] {
        let bytes = try await perform(key) { store, path throws(SystemError) in try store.files.read(path, range: range) }
        guard bytes.count == range.count else {
            throw .outOfRange(key: key, requested: range, size: try await size(key))
        }
        return bytes
    }

    package func size(_ key: String) async throws(StoreError) -> Int {
        try await perform(key) { store, path throws(SystemError) in try store.files.size(path) }
    }

    package func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError) {
        try await perform(key) { store, path throws(SystemError) in
            let temporary = store.nextScratchPath()
            defer { try? store.files.remove(temporary) }  // after a rename it is gone already
            try store.files.write(bytes, to: temporary)
            try store.files.synchronize(temporary, .contents)
            try store.place(temporary, at: path, ifAbsent: ifAbsent)
        }
    }

    package func scratchPath() async throws(StoreError) -> String { nextScratchPath() }

    package func putFile(_ key: String, from temporary: String) async throws(StoreError) {
        try await perform(key) { store, path throws(SystemError) in
            try store.files.adopt(temporary)
            try store.files.synchronize(temporary, .contents)
            try store.place(temporary, at: path, ifAbsent: true)
            try? store.files.remove(temporary)
        }
    }

    package func localFile(_ key: String) async throws(StoreError) -> LocalFile {
        LocalFile(path: try await perform(key) { store, path throws(SystemError) in try store.files.mappablePath(path) })
    }

    package func delete(_ keys: [String]) async throws(StoreError) {
        for key in keys { try StoreKey.validate(key) }
        try await run { store throws(SystemError) in
            var changed: Set<String> = []
            for key in keys {
                let path = store.path(of: key)
                do throws(SystemError) {
                    try store.files.remove(path)
                    changed.insert(parent(of: path))
                } catch {
                    if error.code != ENOENT && error.code != ENOTDIR { throw error }
                }
            }
            for folder in changed { try store.synchronizeRemoval(from: folder) }
            for folder in changed { store.removeEmptyFolders(from: folder) }
        }
    }

    package func list(prefix: String, after: String?, limit: Int) async throws(StoreError) -> [String] {
        try await run { store throws(SystemError) in
            var walk = Walk(prefix: Array(prefix.utf8), after: after.map { Array($0.utf8) }, limit: limit)
            // Everything before the prefix's last slash is a folder that all results share.
            let folder = prefix.lastIndex(of: "/").map { String(prefix[..<$0]) } ?? ""
            try store.collect(folder: folder, into: &walk)
            if walk.found.isEmpty { try store.requireRoot() }
            return walk.found
        }
    }
}

extension LocalObjectStore {
    /// Paths below the root of files that are no objects: nobody's, as files in the making lie in `.tmp`, and what nodes note for themselves in `.quarantine`.
    package func strays() async throws(StoreError) -> [String] {
        try await run { store throws(SystemError) in
            var (found, folders): ([String], [String]) = ([], [""])
            while let folder = folders.popLast() {
                for entry in try store.files.list(store.root + "/" + folder) {
                    let path = folder.isEmpty ? entry.name : folder + "/" + entry.name
                    if entry.isFolder { if path != ".tmp", path != ".quarantine" { folders.append(path) } } else if !entry.name.hasSuffix("~") { found.append(path) }
                }
            }
            return found.sorted()
        }
    }
}

// MARK: - Files and folders

extension LocalObjectStore {
    private func path(of key: String) -> String { root + "/" + key + "~" }

    /// Where the whole store is away, as a disk that was unmounted, nothing is known to be missing.
    private func requireRoot() throws(SystemError) { _ = try files.list(scratch) }

    private func nextScratchPath() -> String {
        let number = state.withLock {
            $0.scratchCount += 1
            return $0.scratchCount
        }
        return scratch + "/\(number)"
    }

    /// Gives a synchronized file its name.
    private func place(_ temporary: String, at path: String, ifAbsent: Bool) throws(SystemError) {
        let folder = parent(of: path)
        var attempts = 0
        while true {
            do {
                try makeDurable(folder)
                if ifAbsent { try files.link(temporary, to: path) } else { try files.rename(temporary, to: path) }
                break
            } catch {
                if error.code == EEXIST && ifAbsent {
                    try files.synchronize(folder, .existing)
                    throw error
                }
                // A folder that was just emptied may have been removed in between: make it again.
                attempts += 1
                guard error.code == ENOENT, attempts < 10 else { throw error }
                state.withLock { state in
                    state.durableFolders = state.durableFolders.filter { $0 != folder && !folder.hasPrefix($0 + "/") }
                }
            }
        }
        try files.synchronize(folder, .name)
    }

    /// Makes `folder` and those above it, unless this process knows that they are durable. Finding one there is not
    /// enough: another process may have made it and not synchronized it yet.
    private func makeDurable(_ folder: String) throws(SystemError) {
        guard folder != root, !state.withLock({ $0.durableFolders.contains(folder) }) else { return }
        let above = parent(of: folder)
        let removals = state.withLock { $0.removals }
        try makeDurable(above)
        do { try files.makeFolder(folder) } catch { if error.code != EEXIST { throw error } }
        try files.synchronize(above, .folder)
        state.withLock { state in
            guard state.removals == removals else { return }
            if state.durableFolders.count >= Self.rememberedFolders { state.durableFolders = [] }
            state.durableFolders.insert(folder)
        }
    }

    /// Makes it durable that objects are gone. Where another call has removed the emptied folder itself, the one above says so.
    private func synchronizeRemoval(from folder: String) throws(SystemError) {
        var folder = folder
        while true {
            do throws(SystemError) { return try files.synchronize(folder, .removal) } catch {
                guard error.code == ENOENT, folder != root else { throw error }
                folder = parent(of: folder)
            }
        }
    }

    private func removeEmptyFolders(from folder: String) {
        var folder = folder
        while folder != root {
            // Before and after: whoever finds the folder in between must not remember it as durable.
            forget(folder)
            guard (try? files.removeFolder(folder)) != nil else { return }
            forget(folder)
            folder = parent(of: folder)
        }
    }

    private func forget(_ folder: String) {
        state.withLock { state in
            state.removals += 1
            state.durableFolders.remove(folder)
        }
    }

    /// What ``list(prefix:after:limit:)`` looks for and has found.
    private struct Walk {
        let prefix: [UInt8]
        let after: [UInt8]?
        let limit: Int
        var found: [String] = []

        /// Whether some key that begins with `start` can be a result.
        func mayContain(_ start: [UInt8]) -> Bool {
            let shared = min(start.count, prefix.count)
            guard start[..<shared] == prefix[..<shared] else { return false }
            guard let after else { return true }
            return after.starts(with: start) || after.lexicographicallyPrecedes(start)
        }
        func isResult(_ key: [UInt8]) -> Bool {
            key.starts(with: prefix) && (after.map { $0.lexicographicallyPrecedes(key) } ?? true)
        }
    }

    /// Adds the folder's objects in the order of their keys. O(entries of the folders visited).
    private func collect(folder: String, into walk: inout Walk) throws(SystemError) {
        let path = folder.isEmpty ? root : root + "/" + folder
        let start = folder.isEmpty ? "" : folder + "/"
        var parts: [[UInt8]] = []
        do {
            for entry in try files.list(path) {
                if entry.isFolder {
                    // A slash in its place sorts a folder among keys as its contents sort.
                    if !entry.name.hasPrefix(".") { parts.append(Array((start + entry.name + "/").utf8)) }
                } else if entry.name.hasSuffix("~") {
                    parts.append(Array((start + entry.name.dropLast()).utf8))
                }
            }
        } catch {
            if error.code == ENOENT || error.code == ENOTDIR { return }
            throw error
        }
        parts.sort { $0.lexicographicallyPrecedes($1) }
        for part in parts where walk.found.count < walk.limit {
            if part.last == UInt8(ascii: "/") {
                if walk.mayContain(part) { try collect(folder: String(decoding: part.dropLast(), as: UTF8.self), into: &walk) }
            } else if walk.isResult(part) {
                walk.found.append(String(decoding: part, as: UTF8.self))
            }
        }
    }

    private func perform<Value: Sendable>(
        _ key: String, _ job: @escaping @Sendable (LocalObjectStore, String) throws(SystemError) -> Value
    ) async throws(StoreError) -> Value {
        try StoreKey.validate(key)
        do {
            return try await run { store throws(SystemError) in
                do throws(SystemError) { return try job(store, store.path(of: key)) } catch {
                    if error.code == ENOENT || error.code == ENOTDIR { try store.requireRoot() }
                    throw error
                }
            }
        } catch {
            switch error {
            // Where another file is missing, one in the making say, the object is not to blame.
            case .system(ENOENT, _, path(of: key)), .system(ENOTDIR, _, path(of: key)): throw .notFound(key: key)
            case .system(EEXIST, _, _): throw .alreadyExists(key: key)
            default: throw error
            }
        }
    }

    /// Runs blocking calls on one of the store's threads.
    private func run<Value: Sendable>(
        _ job: @escaping @Sendable (LocalObjectStore) throws(SystemError) -> Value
    ) async throws(StoreError) -> Value {
        try await threads.onDisk { [self] () throws(SystemError) in try job(self) }
    }
}

private func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
    return String(path[..<slash])
}

import Foundation
import Synchronization

/// A file system in memory that can crash: then it forgets, or keeps, what was not synchronized, as a seed decides.
///
/// It stands under ``LocalObjectStore`` in tests. Each write, synchronization, link, rename, removal is a step; ``crash(beforeStep:)``
/// makes one fail, and every later one, until ``restart(seed:)``. ``ignored`` leaves out one kind of synchronization,
/// to show that its test turns red.
package final class SimulatedFileSystem: FileSystem {
    private let state = Mutex(State())

    package init(ignoring ignored: SyncPurpose? = nil) { state.withLock { $0.ignored = ignored } }

    private final class File: @unchecked Sendable {  // guarded by `state`
        var bytes: [UInt8]
        var durableBytes: [UInt8] = []
        init(_ bytes: [UInt8]) { self.bytes = bytes }
    }

    private final class Folder: @unchecked Sendable {  // guarded by `state`
        var entries: [String: Node] = [:]
        var durableEntries: [String: Node] = [:]
    }

    private enum Node {
        case file(File)
        case folder(Folder)
    }

    private struct State {
        let root = Folder()
        var ignored: SyncPurpose?
        var steps = 0
        var crashStep: Int?
        var failingSync: SyncPurpose?
        /// Real files and folders to be removed at the end.
        var outside: [String] = []
    }

    // MARK: - Faults

    /// Steps taken so far.
    package var steps: Int { state.withLock { $0.steps } }
    package var hasCrashed: Bool { state.withLock { state in state.crashStep.map { state.steps >= $0 } ?? false } }
    /// The `step`-th step from the start, and all after it, do not happen.
    package func crash(beforeStep step: Int) { state.withLock { $0.crashStep = step } }
    /// The next synchronization for this purpose fails without effect, once.
    package func failNextSync(_ purpose: SyncPurpose) { state.withLock { $0.failingSync = purpose } }

    /// The machine comes back. With a seed, each thing that was not synchronized is lost or kept by chance; without, all is lost.
    package func restart(seed: UInt64?) {
        state.withLock { state in
            var random = seed.map(Coin.init)
            Self.restore(state.root, &random)
            state.crashStep = nil
        }
    }

    private struct Coin {
        var state: UInt64
        init(seed: UInt64) { state = seed }
        mutating func toss() -> Bool {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 63 == 1
        }
    }

    private static func restore(_ folder: Folder, _ random: inout Coin?) {
        var survivors = folder.durableEntries
        for name in Set(folder.entries.keys).union(folder.durableEntries.keys).sorted() where random?.toss() == true {
            survivors[name] = folder.entries[name]
        }
        folder.entries = survivors
        folder.durableEntries = survivors
        for (_, node) in survivors.sorted(by: { $0.key < $1.key }) {
            switch node {
            case .file(let file):
                if random?.toss() != true { file.bytes = file.durableBytes }
                file.durableBytes = file.bytes
            case .folder(let folder): restore(folder, &random)
            }
        }
    }

    // MARK: - File system

    package func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
        try change("create", path) { _, folder, name in
            guard folder.entries[name] == nil else { return EEXIST }
            folder.entries[name] = .file(File(bytes))
            return 0
        }
    }

    package func read(_ path: String, range: Range<Int>?) throws(SystemError) -> [UInt8] {
        let bytes = try bytes(of: path, "open")
        guard let range else { return bytes }
        return Array(bytes[min(range.lowerBound, bytes.count)..<min(range.upperBound, bytes.count)])
    }

    package func size(_ path: String) throws(SystemError) -> Int { try bytes(of: path, "stat").count }

    package func link(_ path: String, to newPath: String) throws(SystemError) {
        try change("link", newPath) { state, folder, name in
            guard folder.entries[name] == nil else { return EEXIST }
            guard let node = Self.find(path, in: state) else { return ENOENT }
            folder.entries[name] = node
            return 0
        }
    }

    package func rename(_ path: String, to newPath: String) throws(SystemError) {
        try change("rename", newPath) { state, folder, name in
            guard case .folder(let source) = Self.find(Self.split(path).folder, in: state),
                let node = source.entries.removeValue(forKey: Self.split(path).name)
            else { return ENOENT }
            folder.entries[name] = node
            return 0
        }
    }

    package func remove(_ path: String) throws(SystemError) {
        try change("unlink", path) { _, folder, name in
            guard case .file = folder.entries[name] else { return ENOENT }
            folder.entries[name] = nil
            return 0
        }
    }

    package func makeFolder(_ path: String) throws(SystemError) {
        try change("mkdir", path) { _, folder, name in
            guard folder.entries[name] == nil else { return EEXIST }
            folder.entries[name] = .folder(Folder())
            return 0
        }
    }

    package func removeFolder(_ path: String) throws(SystemError) {
        try change("rmdir", path) { _, folder, name in
            guard case .folder(let removed) = folder.entries[name] else { return ENOENT }
            guard removed.entries.isEmpty else { return ENOTEMPTY }
            folder.entries[name] = nil
            return 0
        }
    }

    package func list(_ folder: String) throws(SystemError) -> [FolderEntry] {
        let entries: [FolderEntry]? = state.withLock { state in
            guard case .folder(let found) = Self.find(folder, in: state) else { return nil }
            return found.entries.map { name, node in
                if case .folder = node { FolderEntry(name: name, isFolder: true) } else { FolderEntry(name: name, isFolder: false) }
            }
        }
        guard let entries else { throw SystemError(code: ENOENT, operation: "open folder", path: folder) }
        return entries
    }

    package func synchronize(_ path: String, _ purpose: SyncPurpose) throws(SystemError) {
        try step("fsync", path) { state in
            if state.failingSync == purpose {
                state.failingSync = nil
                return EIO
            }
            guard let node = Self.find(path, in: state) else { return ENOENT }
            guard state.ignored != purpose else { return 0 }
            switch node {
            case .file(let file): file.durableBytes = file.bytes
            case .folder(let folder): folder.durableEntries = folder.entries
            }
            return 0
        }
    }

    /// The folder is in the simulation and, for builders that write to real files, beside it.
    package func makeScratchFolder(in root: String) throws(SystemError) -> String {
        let parent = root + "/.tmp"
        let folder = parent + "/\(steps)"
        for path in [parent, folder] {
            do { try makeFolder(path) } catch { if error.code != EEXIST { throw error } }
        }
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        state.withLock { $0.outside.append(folder) }
        return folder
    }

    /// Writes the file's bytes out for mapping.
    package func mappablePath(_ path: String) throws(SystemError) -> String {
        let copy = FileManager.default.temporaryDirectory.path + "/covey-simulated-" + String(UInt64.random(in: .min ... .max), radix: 16)
        guard FileManager.default.createFile(atPath: copy, contents: Data(try bytes(of: path, "map"))) else {
            throw SystemError(code: EIO, operation: "create", path: copy)
        }
        state.withLock { $0.outside.append(copy) }
        return copy
    }

    /// Takes in the file that a builder wrote beside the simulation.
    package func adopt(_ path: String) throws(SystemError) {
        guard let data = FileManager.default.contents(atPath: path) else { throw SystemError(code: ENOENT, operation: "read", path: path) }
        try? FileManager.default.removeItem(atPath: path)
        try write(Array(data), to: path)
    }

    /// Removes what was written out. Reason: a simulated cluster that was cut off in the middle of a call may live as long as the process.
    package func removeOutside() {
        state.withLock { state in
            for path in state.outside { try? FileManager.default.removeItem(atPath: path) }
            state.outside = []
        }
    }

    deinit { removeOutside() }

    // MARK: - Steps and look-up

    /// Takes a step unless the machine has crashed. `body` returns an error number or 0.
    private func step(_ operation: String, _ path: String, _ body: (inout State) -> CInt) throws(SystemError) {
        let code = state.withLock { state in
            if let crashStep = state.crashStep, state.steps >= crashStep { return EIO }
            state.steps += 1
            return body(&state)
        }
        guard code == 0 else { throw SystemError(code: code, operation: operation, path: path) }
    }

    private func change(_ operation: String, _ path: String, _ body: (inout State, Folder, String) -> CInt) throws(SystemError) {
        try step(operation, path) { state in
            let (folder, name) = Self.split(path)
            guard case .folder(let found) = Self.find(folder, in: state) else { return ENOENT }
            return body(&state, found, name)
        }
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        let slash = path.lastIndex(of: "/")!
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    private static func find(_ path: String, in state: State) -> Node? {
        var node = Node.folder(state.root)
        for part in path.split(separator: "/") {
            guard case .folder(let folder) = node, let next = folder.entries[String(part)] else { return nil }
            node = next
        }
        return node
    }

    private func bytes(of path: String, _ operation: String) throws(SystemError) -> [UInt8] {
        let bytes: [UInt8]? = state.withLock { state in
            if case .file(let file) = Self.find(path, in: state) { file.bytes } else { nil }
        }
        guard let bytes else { throw SystemError(code: ENOENT, operation: operation, path: path) }
        return bytes
    }
}

import Foundation
import Synchronization

/// An object store in memory: for tests, and the reference that ``LocalObjectStore`` is compared with.
package final class MemoryObjectStore: ObjectStore {
    private let objects = Mutex<[String: [UInt8]]>([:])
    /// Files for mapping; removed with the store.
    private let folder: String

    package init() {
        folder = FileManager.default.temporaryDirectory.path + "/covey-memory-" + String(UInt64.random(in: .min ... .max), radix: 16)
    }

    deinit { removeFiles() }

    /// Removes the files for mapping; what has mapped them keeps them.
    package func removeFiles() { try? FileManager.default.removeItem(atPath: folder) }

    /// Everything in the store: an image that ``init(objects:)`` can start from.
    package var contents: [String: [UInt8]] { objects.withLock { $0 } }

    package convenience init(objects: [String: [UInt8]]) {
        self.init()
        self.objects.withLock { $0 = objects }
    }

    package func get(_ key: String) async throws(StoreError) -> [UInt8] {
        try StoreKey.validate(key)
        guard let bytes = objects.withLock({ $0[key] }) else { throw .notFound(key: key) }
        return bytes
    }

    package func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8] {
        let bytes = try await get(key)
        guard range.upperBound <= bytes.count else { throw .outOfRange(key: key, requested: range, size: bytes.count) }
        return Array(bytes[range])
    }

    package func size(_ key: String) async throws(StoreError) -> Int { try await get(key).count }

    package func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError) {
        try StoreKey.validate(key)
        let isNew = objects.withLock { objects in
            guard !ifAbsent || objects[key] == nil else { return false }
            objects[key] = bytes
            return true
        }
        guard isNew else { throw .alreadyExists(key: key) }
    }

    package func list(prefix: String, after: String?, limit: Int) async throws(StoreError) -> [String] {
        let keys = objects.withLock { Array($0.keys) }
        return Array(keys.filter { key in key.hasPrefix(prefix) && (after.map { $0 < key } ?? true) }.sorted().prefix(limit))
    }

    package func delete(_ keys: [String]) async throws(StoreError) {
        for key in keys { try StoreKey.validate(key) }
        objects.withLock { objects in for key in keys { objects[key] = nil } }
    }

    package func scratchPath() async throws(StoreError) -> String { try freshPath() }

    package func putFile(_ key: String, from path: String) async throws(StoreError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .system(errno: ENOENT, operation: "read", path: path)
        }
        try await put(key, Array(data), ifAbsent: true)
        try? FileManager.default.removeItem(atPath: path)
    }

    package func localFile(_ key: String) async throws(StoreError) -> LocalFile {
        let bytes = try await get(key)
        let path = try freshPath()
        guard FileManager.default.createFile(atPath: path, contents: Data(bytes)) else {
            throw .system(errno: EIO, operation: "create", path: path)
        }
        return LocalFile(path: path)
    }

    private func freshPath() throws(StoreError) -> String {
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch { throw .system(errno: EIO, operation: "mkdir", path: folder) }
        return folder + "/" + String(UInt64.random(in: .min ... .max), radix: 16)
    }
}

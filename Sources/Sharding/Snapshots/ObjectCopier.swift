import Foundation
import Model
import Storage

/// Copies objects from one store to another, each with its checksum.
struct ObjectCopier: Sendable {
    let source: any ObjectStore
    let target: any ObjectStore
    private let threads: WorkerThreads

    /// - Parameter threads: That copy files; 0 for the caller's.
    init(from source: any ObjectStore, to target: any ObjectStore, threads: Int = 1) {
        self.threads = WorkerThreads(name: "copy", count: threads, limit: 1_024)
        self.source = source
        self.target = target
    }

    /// - Parameters:
    ///   - isFile: Whether it is a segment, which goes through a file and not through memory.
    ///   - expected: What the copy must have; anything else is `dataLoss`.
    /// - Returns: The copy; `nil` if there is no such object.
    func copy(
        _ key: String, to newKey: String? = nil, isFile: Bool = false, expecting expected: SnapshotRecord.Object? = nil
    ) async throws(ClusterError) -> SnapshotRecord.Object? {
        let newKey = newKey ?? key
        guard isFile else {
            guard let bytes = try await present({ () throws(StoreError) in try await source.get(key) }) else { return nil }
            let copy = SnapshotRecord.Object(key: newKey, byteCount: bytes.count, checksum: crc32c(bytes))
            try require(copy, expected)
            try await stored { () throws(StoreError) in try await target.put(newKey, bytes, ifAbsent: false) }
            return copy
        }
        guard let file = try await present({ () throws(StoreError) in try await source.localFile(key) }) else { return nil }
        let scratch = try await stored { () throws(StoreError) in try await target.scratchPath() }
        defer { try? FileManager.default.removeItem(atPath: scratch) }  // after a put it is gone already
        // A seal may delete it while it is copied: open, it stays readable.
        let copied = try await stored { () throws(StoreError) in
            try await threads.onDisk { () throws(SystemError) in try copyFile(file.path, to: scratch) }
        }
        guard let (byteCount, checksum) = copied else { return nil }
        let copy = SnapshotRecord.Object(key: newKey, byteCount: byteCount, checksum: checksum)
        try require(copy, expected)
        try await stored { () throws(StoreError) in
            do throws(StoreError) { try await target.putFile(newKey, from: scratch) } catch {
                // A segment's name has one content, so an earlier attempt has brought it.
                guard case .alreadyExists = error else { throw error }
            }
        }
        return copy
    }

    private func require(_ copy: SnapshotRecord.Object, _ expected: SnapshotRecord.Object?) throws(ClusterError) {
        guard let expected, (copy.byteCount, copy.checksum) != (expected.byteCount, expected.checksum) else { return }
        throw ClusterError(
            .dataLoss,
            "\(expected.key) has \(copy.byteCount) bytes with checksum \(String(copy.checksum, radix: 16)), expected \(expected.byteCount) with \(String(expected.checksum, radix: 16))")
    }
}

/// `nil` if the object that is read is not there.
private func present<Value>(_ body: () async throws(StoreError) -> Value) async throws(ClusterError) -> Value? {
    do throws(StoreError) { return try await body() } catch {
        if case .notFound = error { return nil }
        throw ClusterError(error)
    }
}

/// Copies a file's bytes to a path where nothing is; returns their number and CRC-32C, `nil` if there is no such file.
private func copyFile(_ path: String, to newPath: String) throws(SystemError) -> (byteCount: Int, checksum: UInt32)? {
    guard let input = unsafe fopen(path, "r") else {
        if errno == ENOENT { return nil }
        throw SystemError(code: errno, operation: "open", path: path)
    }
    defer { unsafe fclose(input) }
    guard let output = unsafe fopen(newPath, "wx") else { throw SystemError(code: errno, operation: "create", path: newPath) }
    var (byteCount, checksum, isWritten) = (0, UInt32(0), true)
    var bytes = [UInt8](repeating: 0, count: 4 << 20)
    while isWritten {
        let count = unsafe fread(&bytes, 1, bytes.count, input)
        guard count > 0 else { break }
        checksum = unsafe bytes.withUnsafeBytes { unsafe crc32c(UnsafeRawBufferPointer(rebasing: $0[..<count]), seed: checksum) }
        isWritten = unsafe fwrite(bytes, 1, count, output) == count
        byteCount += count
    }
    let readError = unsafe ferror(input) == 0 ? 0 : EIO
    guard unsafe fclose(output) == 0, isWritten else { throw SystemError(code: errno, operation: "write", path: newPath) }
    guard readError == 0 else { throw SystemError(code: readError, operation: "read", path: path) }
    return (byteCount, checksum)
}

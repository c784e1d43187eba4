import Model

/// Where durable state lives: bytes under "/"-separated keys, in a local directory or an S3-compatible service.
///
/// Create-only ``put(_:_:ifAbsent:)`` is linearizable and is the only agreement that the cluster needs. A call that throws
/// ``StoreError/unavailable(_:)`` or ``StoreError/system(errno:operation:path:)`` may have taken effect: "unknown" is never
/// "failed" (protocol, H5).
///
/// Keys: 1–1,024 bytes of parts joined by "/"; a part has 1–254 characters of `a–z A–Z 0–9 _ . -` and does not start with a dot.
/// No key should be another's folder, as `a` is of `a/b`: SeaweedFS refuses to create the first when the second exists.
package protocol ObjectStore: Sendable {
    /// - Throws: ``StoreError/notFound(key:)``.
    func get(_ key: String) async throws(StoreError) -> [UInt8]
    /// Bytes `range` of the object.
    /// - Throws: ``StoreError/outOfRange(key:requested:size:)`` if the object is shorter.
    func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8]
    /// Bytes of the object, without reading it.
    func size(_ key: String) async throws(StoreError) -> Int
    /// Stores the object whole; it is durable on return.
    ///
    /// A store that repeats a create-only put by itself takes an object with the same bytes for its own: if it matters which of two writers
    /// was first, their bytes must differ, say by a nonce.
    ///
    /// - Throws: ``StoreError/alreadyExists(key:)`` if `ifAbsent` and there is one; that object is durable too, then.
    func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError)
    /// Keys that begin with `prefix` and come after `after`, at most `limit`, in the store's order. That is the order of their bytes among
    /// keys that differ in their last part only; where one folder's name begins another's, services differ (SeaweedFS lists `a/c` before `a-b`).
    func list(prefix: String, after: String?, limit: Int) async throws(StoreError) -> [String]
    /// Deletes the objects, any number of them; it is durable on return. Deleting what is absent succeeds.
    func delete(_ keys: [String]) async throws(StoreError)

    /// A path where a large object may be written before ``putFile(_:from:)`` takes it; nothing is there yet.
    func scratchPath() async throws(StoreError) -> String
    /// Stores the file at a ``scratchPath()`` as an object, create-only, and removes it from there; durable on return.
    func putFile(_ key: String, from path: String) async throws(StoreError)
    /// A local file with the object's bytes, for mapping into memory. It stays as long as both the object and the returned value do; a mapping
    /// outlives both.
    func localFile(_ key: String) async throws(StoreError) -> LocalFile
}

/// A file that a store keeps for whoever holds this.
package final class LocalFile: Sendable {
    package let path: String
    private let release: @Sendable () -> Void

    package init(path: String, release: @escaping @Sendable () -> Void = {}) {
        self.path = path
        self.release = release
    }
    deinit { release() }
}

extension ObjectStore {
    package func delete(_ key: String) async throws(StoreError) { try await delete([key]) }

    /// Puts an object that nobody has put before: the next version of a chain, say.
    ///
    /// - Returns: False if somebody else was first.
    /// - Throws: `unavailable` if whether it is there is not known.
    func create(_ key: String, _ bytes: [UInt8]) async throws(ClusterError) -> Bool {
        do throws(StoreError) {
            try await put(key, bytes, ifAbsent: true)
            return true
        } catch {
            if case .alreadyExists = error { return false }
            // Without an outcome the object itself decides, if it is there.
            do throws(StoreError) { return try await get(key) == bytes } catch { throw ClusterError(.unavailable, "whether \(key) was stored is not known: \(error)") }
        }
    }

    /// Keys that begin with `prefix`, all of them, in the store's order; one request for each 1,000.
    package func listAll(prefix: String, after: String? = nil) async throws(StoreError) -> [String] {
        var keys: [String] = []
        var last = after
        while true {
            let page = try await list(prefix: prefix, after: last, limit: 1_000)
            keys += page
            guard page.count == 1_000 else { return keys }
            last = page.last
        }
    }
}

package enum StoreError: Error, Hashable, Sendable {
    case notFound(key: String)
    case alreadyExists(key: String)
    case invalidKey(String, reason: String)
    case outOfRange(key: String, requested: Range<Int>, size: Int)
    /// The store did not answer; whether a write took effect is not known.
    case unavailable(String)
    /// The file system refused; whether a write took effect is not known.
    case system(errno: CInt, operation: String, path: String)
}

extension StoreError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notFound(let key): "object \(key) is not in the store"
        case .alreadyExists(let key): "object \(key) exists"
        case .invalidKey(let key, let reason): "object key \"\(key)\" \(reason)"
        case .outOfRange(let key, let requested, let size):
            "object \(key) has \(size) bytes, bytes \(requested.lowerBound)..<\(requested.upperBound) were asked"
        case .unavailable(let reason): "object store unavailable: \(reason)"
        case .system(let errno, let operation, let path): "\(operation) \(path) failed: \(describeErrno(errno))"
        }
    }
}

extension ClusterError {
    package init(_ error: StoreError) {
        switch error {
        case .notFound: self.init(.notFound, error.description)
        case .alreadyExists: self.init(.alreadyExists, error.description)
        case .invalidKey: self.init(.invalidArgument, error.description)
        case .outOfRange: self.init(.dataLoss, error.description)
        case .unavailable, .system: self.init(.unavailable, error.description)
        }
    }
}

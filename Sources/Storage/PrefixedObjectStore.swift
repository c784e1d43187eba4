/// The part of a store whose keys begin with a prefix, as a store of its own.
package struct PrefixedObjectStore: ObjectStore {
    private let store: any ObjectStore
    private let prefix: String

    /// - Parameter prefix: Ends with "/", or is empty.
    package init(_ store: any ObjectStore, prefix: String) {
        precondition(prefix.isEmpty || prefix.hasSuffix("/"), "prefix \(prefix)")
        self.store = store
        self.prefix = prefix
    }

    package func get(_ key: String) async throws(StoreError) -> [UInt8] { try await store.get(prefix + key) }
    package func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8] { try await store.get(prefix + key, range: range) }
    package func size(_ key: String) async throws(StoreError) -> Int { try await store.size(prefix + key) }
    package func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError) { try await store.put(prefix + key, bytes, ifAbsent: ifAbsent) }
    package func list(prefix inner: String, after: String?, limit: Int) async throws(StoreError) -> [String] {
        try await store.list(prefix: prefix + inner, after: after.map { prefix + $0 }, limit: limit).map { String($0.dropFirst(prefix.count)) }
    }
    package func delete(_ keys: [String]) async throws(StoreError) { try await store.delete(keys.map { prefix + $0 }) }
    package func scratchPath() async throws(StoreError) -> String { try await store.scratchPath() }
    package func putFile(_ key: String, from path: String) async throws(StoreError) { try await store.putFile(prefix + key, from: path) }
    package func localFile(_ key: String) async throws(StoreError) -> LocalFile { try await store.localFile(prefix + key) }
}

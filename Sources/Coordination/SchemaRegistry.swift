import Model
import Storage

/// Which collections a tenant has: one create-only chain of records for each name, the highest version counts.
///
/// Creating and dropping both put the next version, so of several who try at once exactly one succeeds, and the others look
/// again. Versions are never deleted: a writer that paused since it looked could otherwise put one that was there before,
/// and believe that it counts (protocol, H18). A few hundred bytes for each life of a name are the price.
struct SchemaRegistry: Sendable {
    let store: any ObjectStore

    struct Record: Sendable {
        var version: UInt64
        var isDropped: Bool
        var schema: CollectionSchema
    }

    /// What an object under `names/` holds, as JSON in a ``Frame`` with magic `CVNM`.
    private struct StoredRecord: Codable {
        var dropped: Bool
        var schema: CollectionSchema
    }
    private static let frame = Frame(kind: "name record", magic: 0x4d4e_5643, version: 1)
    /// Races lost in a row before giving up: each means that somebody else made progress.
    private static let attempts = 8

    /// - Throws: `alreadyExists` if the name stands for a collection; `aborted` after too many lost races.
    func create(_ schema: CollectionSchema, named name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Record {
        let schemaKey = StoreKey.schema(schema.incarnation, of: tenant)
        // First what the name will point to: whoever finds the name can open the shards.
        try await put(schemaKey, try encoded(CollectionSchema.frame, schema))
        do throws(ClusterError) {
            for _ in 0..<Self.attempts {
                let newest = try await newest(name, tenant: tenant)
                if let newest, !newest.isDropped { throw ClusterError(.alreadyExists, "collection \"\(name)\" exists") }
                let record = Record(version: (newest?.version ?? 0) + 1, isDropped: false, schema: schema)
                if try await publish(record, named: name, tenant: tenant) { return record }
            }
            throw ClusterError(.aborted, "collection \"\(name)\" is being created and dropped by others, try again")
        } catch {
            // A record whose put has no outcome may appear later: it must not point to nothing (protocol, H5).
            if error.code == .alreadyExists { try? await store.delete(schemaKey) }
            throw error
        }
    }

    /// Ends the name's collection; `nil` if there is none.
    func drop(_ name: CollectionName, tenant: TenantID) async throws(ClusterError) -> CollectionSchema? {
        for _ in 0..<Self.attempts {
            guard let newest = try await newest(name, tenant: tenant), !newest.isDropped else { return nil }
            let tombstone = Record(version: newest.version + 1, isDropped: true, schema: newest.schema)
            if try await publish(tombstone, named: name, tenant: tenant) { return newest.schema }
        }
        throw ClusterError(.aborted, "collection \"\(name)\" is being created and dropped by others, try again")
    }

    /// The record that counts; `nil` if the name was never used.
    func newest(_ name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Record? {
        guard let key = try await list(StoreKey.names(of: tenant, collection: name)).last else { return nil }
        return try await read(key)
    }

    /// Whether no version after this one exists; one listing.
    func isNewest(_ version: UInt64, of name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Bool {
        do {
            let after = StoreKey.name(of: tenant, collection: name, version: version)
            return try await store.list(prefix: StoreKey.names(of: tenant, collection: name), after: after, limit: 1).isEmpty
        } catch { throw ClusterError(error) }
    }

    /// The newest record of every name, dropped ones too, in the order of names; of one that cannot be read, the error that names it.
    func all(of tenant: TenantID) async throws(ClusterError) -> (found: [(name: CollectionName, record: Record)], damaged: [ClusterError]) {
        let prefix = StoreKey.names(of: tenant)
        var newest: [String: String] = [:]
        for key in try await list(prefix) {
            // Keys ascend, so the last one of a name is its newest.
            if let slash = key.lastIndex(of: "/"), slash > prefix.endIndex { newest[String(key[prefix.endIndex..<slash])] = key }
        }
        var (found, damaged): ([(name: CollectionName, record: Record)], [ClusterError]) = ([], [])
        for (text, key) in newest.sorted(by: { $0.key < $1.key }) {
            do throws(ClusterError) { found.append((try CollectionName(text), try await read(key))) } catch {
                guard error.code == .dataLoss || error.code == .failedPrecondition else { throw error }
                damaged.append(error)
            }
        }
        return (found, damaged)
    }

    /// Removes what marks a dropped collection as not yet erased.
    func forget(_ incarnation: Incarnation, tenant: TenantID) async throws(ClusterError) {
        do { try await store.delete(StoreKey.schema(incarnation, of: tenant)) } catch { throw ClusterError(error) }
    }

    /// Whether objects of a dropped collection may be left.
    func isErased(_ incarnation: Incarnation, tenant: TenantID) async throws(ClusterError) -> Bool {
        do throws(StoreError) {
            _ = try await store.size(StoreKey.schema(incarnation, of: tenant))
            return false
        } catch {
            if case .notFound = error { return true }
            throw ClusterError(error)
        }
    }

    /// Puts the record's version; `false` if somebody else was first.
    private func publish(_ record: Record, named name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Bool {
        let bytes = try encoded(Self.frame, StoredRecord(dropped: record.isDropped, schema: record.schema))
        let key = StoreKey.name(of: tenant, collection: name, version: record.version)
        do throws(StoreError) {
            try await store.put(key, bytes, ifAbsent: true)
            return true
        } catch {
            if case .alreadyExists = error { return false }
            // Without an outcome the object itself decides, if it is there.
            do throws(StoreError) { return try await store.get(key) == bytes } catch { throw ClusterError(.unavailable, "whether \(key) was stored is not known: \(error)") }
        }
    }

    private func read(_ key: String) async throws(ClusterError) -> Record {
        let bytes: [UInt8]
        do { bytes = try await store.get(key) } catch { throw ClusterError(error) }
        guard let version = StoreKey.number(at: key) else { throw ClusterError(.dataLoss, "object \(key) is not a version of a name") }
        let stored: StoredRecord
        do throws(FormatError) { stored = try Self.frame.openJSON(bytes) } catch { throw ClusterError(error, in: key) }
        try stored.schema.validate()
        return Record(version: version, isDropped: stored.dropped, schema: stored.schema)
    }

    private func put(_ key: String, _ bytes: [UInt8]) async throws(ClusterError) {
        do { try await store.put(key, bytes, ifAbsent: true) } catch { throw ClusterError(error) }
    }

    private func list(_ prefix: String) async throws(ClusterError) -> [String] {
        do { return try await store.listAll(prefix: prefix) } catch { throw ClusterError(error) }
    }

    private func encoded(_ frame: Frame, _ value: some Encodable) throws(ClusterError) -> [UInt8] {
        do throws(FormatError) { return try frame.wrap(json: value) } catch { throw ClusterError(.internal, "\(error)") }
    }
}

import Model

/// Which collections a tenant has: one create-only chain of records for each name, the highest version counts.
///
/// Creating and dropping both put the next version, so of several who try at once exactly one succeeds, and the others look
/// again. A record that a newer one superseded stays until what it stood for is erased: it is the list of what is to be erased. A writer
/// that paused since it looked may put such a version again (protocol, H18): it is as if its collection had been made, or dropped, and superseded at once.
package struct SchemaRegistry: Sendable {
    let store: any ObjectStore

    package init(store: any ObjectStore) { self.store = store }

    package struct Record: Sendable {
        package var version: UInt64
        package var isDropped: Bool
        package var schema: CollectionSchema

        package init(version: UInt64, isDropped: Bool, schema: CollectionSchema) {
            self.version = version
            self.isDropped = isDropped
            self.schema = schema
        }
    }

    /// What an object under `names/` holds, as JSON in a ``Frame`` with magic `CVNM`.
    private struct StoredRecord: Codable {
        var dropped: Bool
        var schema: CollectionSchema
    }
    private static let frame = Frame(kind: "name record", magic: 0x4d4e_5643, version: 1)
    /// Races lost in a row before giving up: each means that somebody else made progress.
    private static let attempts = 8

    /// - Parameter fill: Makes what the collection is to hold from the start, before anybody finds it.
    /// - Throws: `alreadyExists` if the name stands for a collection; `aborted` after too many lost races.
    package func create(
        _ schema: CollectionSchema, named name: CollectionName, tenant: TenantID, filledBy fill: () async throws(ClusterError) -> Void = {}
    ) async throws(ClusterError) -> Record {
        if let newest = try await newest(name, tenant: tenant), !newest.isDropped { throw ClusterError(.alreadyExists, "collection \"\(name)\" exists") }
        let schemaKey = StoreKey.schema(schema.incarnation, of: tenant)
        // First what the name will point to: whoever finds the name can open the shards.
        try await put(schemaKey, try encoded(CollectionSchema.frame, schema))
        do throws(ClusterError) {
            try await fill()
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

    /// Gives a name to a collection whose schema is there, in a store that nobody else writes.
    package func publish(_ schema: CollectionSchema, named name: CollectionName, tenant: TenantID) async throws(ClusterError) {
        guard try await publish(Record(version: 1, isDropped: false, schema: schema), named: name, tenant: tenant) else {
            throw ClusterError(.alreadyExists, "collection \"\(name)\" exists")
        }
    }

    /// Ends the name's collection; `nil` if there is none.
    package func drop(_ name: CollectionName, tenant: TenantID) async throws(ClusterError) -> CollectionSchema? {
        for _ in 0..<Self.attempts {
            guard let newest = try await newest(name, tenant: tenant), !newest.isDropped else { return nil }
            // It stays for good, and nothing that a user wrote should.
            var schema = newest.schema
            (schema.metadata, schema.embeddingModel) = ([:], nil)
            let tombstone = Record(version: newest.version + 1, isDropped: true, schema: schema)
            if try await publish(tombstone, named: name, tenant: tenant) { return newest.schema }
        }
        throw ClusterError(.aborted, "collection \"\(name)\" is being created and dropped by others, try again")
    }

    /// The record that counts; `nil` if the name was never used.
    package func newest(_ name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Record? {
        for _ in 0..<Self.attempts {
            guard let key = try await list(StoreKey.names(of: tenant, collection: name)).max() else { return nil }
            // One that was superseded since, and erased, is looked up again.
            if let record = try await read(key) { return record }
        }
        throw ClusterError(.aborted, "collection \"\(name)\" is being created and dropped by others, try again")
    }

    /// Whether no version after this one exists; one listing.
    package func isNewest(_ version: UInt64, of name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Bool {
        do {
            let after = StoreKey.name(of: tenant, collection: name, version: version)
            return try await store.list(prefix: StoreKey.names(of: tenant, collection: name), after: after, limit: 1).isEmpty
        } catch { throw ClusterError(error) }
    }

    /// The newest record of every name, dropped ones too, in the order of names; of one that cannot be read, the error that names it.
    package func all(of tenant: TenantID) async throws(ClusterError) -> (found: [(name: CollectionName, record: Record)], damaged: [ClusterError]) {
        var (found, damaged): ([(name: CollectionName, record: Record)], [ClusterError]) = ([], [])
        for (text, keys) in try await keys(of: tenant).sorted(by: { $0.key < $1.key }) {
            do throws(ClusterError) {
                let name = try CollectionName(text)
                if let record = try await read(keys[keys.count - 1]) { found.append((name, record)) } else if let record = try await newest(name, tenant: tenant) {
                    found.append((name, record))
                }
            } catch {
                guard error.code == .dataLoss || error.code == .failedPrecondition else { throw error }
                damaged.append(error)
            }
        }
        return (found, damaged)
    }

    /// Lives of collections that ended and are not known to be erased: what the superseded records stand for.
    package func ended(of tenant: TenantID, limit: Int) async throws(ClusterError) -> [(name: CollectionName, schema: CollectionSchema)] {
        var lives: [Incarnation: (name: CollectionName, schema: CollectionSchema)] = [:]
        for (text, keys) in try await keys(of: tenant) {
            for key in keys.dropLast() where lives.count < limit {
                guard let name = try? CollectionName(text) else { continue }
                do throws(ClusterError) {
                    if let schema = try await read(key)?.schema { lives[schema.incarnation] = (name, schema) }
                } catch {
                    // `all(of:)` and `covey verify` name it.
                    guard error.code == .dataLoss || error.code == .failedPrecondition else { throw error }
                }
            }
        }
        return lives.values.sorted { $0.schema.incarnationText < $1.schema.incarnationText }
    }

    /// Removes what marks an ended life of a collection as not yet erased.
    package func forget(_ incarnation: Incarnation, named name: CollectionName, tenant: TenantID) async throws(ClusterError) {
        var superseded: [String] = []
        for key in try await list(StoreKey.names(of: tenant, collection: name)).sorted().dropLast() {
            if try await read(key)?.schema.incarnation == incarnation { superseded.append(key) }
        }
        do {
            try await store.delete(StoreKey.schema(incarnation, of: tenant))
            try await store.delete(superseded)
        } catch { throw ClusterError(error) }
    }

    /// Versions of every name, ascending.
    private func keys(of tenant: TenantID) async throws(ClusterError) -> [String: [String]] {
        let prefix = StoreKey.names(of: tenant)
        var keys: [String: [String]] = [:]
        for key in try await list(prefix) {
            if let slash = key.lastIndex(of: "/"), slash > prefix.endIndex { keys[String(key[prefix.endIndex..<slash]), default: []].append(key) }
        }
        return keys.mapValues { $0.sorted() }
    }

    /// Puts the record's version; `false` if somebody else was first.
    private func publish(_ record: Record, named name: CollectionName, tenant: TenantID) async throws(ClusterError) -> Bool {
        let bytes = try encoded(Self.frame, StoredRecord(dropped: record.isDropped, schema: record.schema))
        return try await store.create(StoreKey.name(of: tenant, collection: name, version: record.version), bytes)
    }

    /// `nil` if there is no such object.
    private func read(_ key: String) async throws(ClusterError) -> Record? {
        let bytes: [UInt8]
        do throws(StoreError) { bytes = try await store.get(key) } catch {
            if case .notFound = error { return nil }
            throw ClusterError(error)
        }
        return try Self.record(at: key, bytes)
    }

    /// What the object at a key under `names/` says.
    ///
    /// - Throws: `dataLoss` naming the key if it is damaged, `failedPrecondition` if a newer release wrote it.
    package static func record(at key: String, _ bytes: [UInt8]) throws(ClusterError) -> Record {
        guard let version = StoreKey.number(at: key) else { throw ClusterError(.dataLoss, "object \(key) is not a version of a name") }
        let stored: StoredRecord
        do throws(FormatError) { stored = try frame.openJSON(bytes) } catch { throw ClusterError(error, in: key) }
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

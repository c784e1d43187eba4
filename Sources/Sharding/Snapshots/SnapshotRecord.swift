import Foundation
import Model
import Storage

/// What a snapshot holds: the object ``key`` at its root, written last, so that a snapshot with a record is whole.
///
/// A snapshot is a store of its own: the collections' objects under their usual keys, their records of names, the uploaded files that are
/// attached to them, and this. In the collection's own store it lies below ``StoreKey/snapshots(of:)``; elsewhere it is a folder or a bucket's prefix.
package struct SnapshotRecord: Hashable, Sendable, Codable {
    package struct Collection: Hashable, Sendable, Codable {
        package var schema: CollectionSchema
        /// Live points, counted by opening the copy.
        package var points: Int
        /// Indexes of the shards that keep points, and for each the position in its log up to which the copy holds everything.
        package var shards: [Int]
        package var positions: [UInt64]
    }
    package struct Object: Hashable, Sendable, Codable {
        package var key: String
        package var byteCount: Int
        /// CRC-32C.
        package var checksum: UInt32
    }
    package var id: String
    package var tenant: String
    /// Seconds since 1970, UTC.
    package var createdAt: Int64
    package var collections: [Collection]
    package var objects: [Object]
    /// The ``Cut`` that it is of, if it is of one moment of all shards.
    package var cut: String?

    package static let key = "covey-snapshot"
    private static let frame = Frame(kind: "snapshot record", magic: 0x4e53_5643, version: 1)

    package var byteCount: Int { objects.reduce(0) { $0 + $1.byteCount } }

    /// The record of a snapshot.
    ///
    /// - Throws: `notFound` if there is none, or none that is whole.
    package static func read(_ snapshot: any ObjectStore) async throws(ClusterError) -> SnapshotRecord {
        let bytes: [UInt8]
        do throws(StoreError) { bytes = try await snapshot.get(key) } catch {
            if case .notFound(let key) = error { throw ClusterError(.notFound, "no snapshot: \(key) is not there") }
            throw ClusterError(error)
        }
        do throws(FormatError) { return try SnapshotRecord(stored: bytes) } catch { throw ClusterError(error, in: key) }
    }
}

extension SnapshotRecord {
    func stored() throws(FormatError) -> [UInt8] { try Self.frame.wrap(json: self) }
    init(stored object: [UInt8]) throws(FormatError) { self = try Self.frame.openJSON(object) }
}

/// The snapshots that lie in a tenant's own prefix.
package struct SnapshotShelf: Sendable {
    let store: any ObjectStore
    let tenant: TenantID

    package init(store: any ObjectStore, tenant: TenantID) {
        self.store = store
        self.tenant = tenant
    }

    /// A name for a new snapshot: the time, for people, and 32 random bits.
    package static func newID(at date: Date = Date()) -> String {
        let time = date.formatted(.iso8601.dateSeparator(.omitted).timeSeparator(.omitted))
        return "\(time)-\(fixedHex(.random(in: 0...UInt64.max)).prefix(8))"
    }

    /// - Throws: `invalidArgument` for a name that no snapshot can have.
    package func snapshot(_ id: String) throws(ClusterError) -> any ObjectStore {
        do throws(StoreError) { try StoreKey.validate(id) } catch { throw ClusterError(error) }
        guard !id.contains("/") else { throw ClusterError(.invalidArgument, "snapshot \"\(id)\" may not hold a slash") }
        return PrefixedObjectStore(store, prefix: StoreKey.snapshot(id, of: tenant))
    }

    /// Makes a snapshot; what is there of one that fails is deleted.
    ///
    /// - Throws: as ``SnapshotWriter/write(_:id:causal:)``.
    package func make(_ names: [CollectionName]?, causal: Bool = false) async throws(ClusterError) -> SnapshotRecord {
        let id = Self.newID()
        do throws(ClusterError) { return try await SnapshotWriter(source: store, tenant: tenant, target: try snapshot(id)).write(names, id: id, causal: causal) } catch {
            try? await delete(id)
            throw error
        }
    }

    /// Oldest first; of one that is not whole only the name.
    package func list() async throws(ClusterError) -> [(id: String, record: SnapshotRecord?)] {
        let prefix = StoreKey.snapshots(of: tenant)
        var ids: Set<String> = []
        for key in try await stored({ () throws(StoreError) in try await store.listAll(prefix: prefix) }) {
            if let id = key.dropFirst(prefix.count).split(separator: "/").first { ids.insert(String(id)) }
        }
        var found: [(id: String, record: SnapshotRecord?)] = []
        for id in ids.sorted() {
            do throws(ClusterError) { found.append((id, try await SnapshotRecord.read(try snapshot(id)))) } catch {
                guard error.code == .notFound else { throw error }
                found.append((id, nil))
            }
        }
        return found
    }

    /// Deletes a snapshot, whole or not; its record first, so that nobody takes what is left for one.
    ///
    /// - Throws: `notFound` if there is nothing of that name.
    package func delete(_ id: String) async throws(ClusterError) {
        _ = try snapshot(id)
        let prefix = StoreKey.snapshot(id, of: tenant)
        let keys = try await stored { () throws(StoreError) in try await store.listAll(prefix: prefix) }
        guard !keys.isEmpty else { throw ClusterError(.notFound, "tenant \(tenant) has no snapshot \"\(id)\"") }
        try await stored { () throws(StoreError) in
            try await store.delete(prefix + SnapshotRecord.key)
            try await store.delete(keys)
        }
    }
}

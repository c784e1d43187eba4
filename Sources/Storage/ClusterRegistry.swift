import Model

/// The cluster's record: one create-only chain of versions, the highest counts. It changes when an operator says so, never by itself.
///
/// Nothing durable depends on it: any node can serve any shard from the store, and the log alone says who owns one. It decides which
/// nodes are asked, so two processes that know different versions for a while cost time, not correctness.
package struct ClusterRegistry: Sendable {
    private let store: any ObjectStore

    package init(store: any ObjectStore) { self.store = store }

    /// As JSON in a ``Frame`` with magic `CVCL`.
    private struct Stored: Codable {
        var replicas: Int
        var members: [Member]

        struct Member: Codable {
            var name: String
            var address: String
            var weight: Double
            var zone: String?
        }
    }
    private static let frame = Frame(kind: "cluster record", magic: 0x4c43_5643, version: 1)

    /// The newest record if its version is above `known`; one listing, and one read if there is one.
    ///
    /// - Throws: `dataLoss` naming the object if it is damaged, `failedPrecondition` if a newer release wrote it.
    package func newest(after known: UInt64 = 0) async throws(ClusterError) -> ClusterRecord? {
        let keys: [String]
        do { keys = try await store.list(prefix: StoreKey.clusterRecords, after: nil, limit: 1) } catch { throw ClusterError(error) }
        guard let key = keys.first, let version = StoreKey.manifestVersion(at: key), version > known else { return nil }
        let bytes: [UInt8]
        do { bytes = try await store.get(key) } catch { throw ClusterError(error) }
        return try Self.record(at: key, bytes)
    }

    /// The newest record, which is `first` if there was none.
    package func newest(orFirst first: ClusterRecord) async throws(ClusterError) -> ClusterRecord {
        if let newest = try await newest() { return newest }
        var first = first
        first.version = 1
        if try await publish(first) { return first }
        guard let newest = try await newest() else { throw ClusterError(.unavailable, "\(StoreKey.clusterRecords) shows no record, though one is there") }
        return newest
    }

    /// Puts a record's version; `false` if somebody else was first.
    package func publish(_ record: ClusterRecord) async throws(ClusterError) -> Bool {
        let stored = Stored(
            replicas: record.replicas,
            members: record.members.map { Stored.Member(name: $0.node.rawValue, address: $0.address, weight: $0.weight, zone: $0.zone) })
        let bytes: [UInt8]
        do throws(FormatError) { bytes = try Self.frame.wrap(json: stored) } catch { throw ClusterError(.internal, "\(error)") }
        return try await store.create(StoreKey.clusterRecord(record.version), bytes)
    }

    /// What the object at a key of the chain says.
    package static func record(at key: String, _ bytes: [UInt8]) throws(ClusterError) -> ClusterRecord {
        guard let version = StoreKey.manifestVersion(at: key) else { throw ClusterError(.dataLoss, "object \(key) is not a version of the cluster") }
        let stored: Stored
        do throws(FormatError) { stored = try frame.openJSON(bytes) } catch { throw ClusterError(error, in: key) }
        return ClusterRecord(
            version: version, replicas: stored.replicas,
            members: stored.members.map { ClusterMember(node: NodeID($0.name), address: $0.address, weight: $0.weight, zone: $0.zone) })
    }
}

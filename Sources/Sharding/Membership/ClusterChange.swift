import Model
import Placement
import Storage

/// A change of the cluster's members: what it moves, and how it is carried out while the cluster serves.
///
/// First the nodes that gain shards fetch those which are in use, from the store, at a bounded rate; meanwhile the old members serve them.
/// Then the new record is put, and everybody follows it within the time that nodes poll. Nothing is lost if any of that is interrupted: what
/// was fetched is in the nodes' caches, and carrying the change out again goes on there.
package struct ClusterChange: Sendable {
    /// A shard that gets another set of nodes.
    package struct Move: Sendable {
        package let shard: ShardID
        package let collection: CollectionName
        /// Nodes that keep it before and not after, and the other way round.
        package let losing: [NodeID]
        package let gaining: [NodeID]
        /// Bytes that each gaining node fetches when it first serves the shard: those of its segments.
        package let bytes: Int
    }

    package struct Moves: Sendable {
        package var moves: [Move] = []
        /// Replicas of all shards, those that stay included.
        package var replicaCount = 0
        /// Replicas that some node gains.
        package var gained: Int { moves.reduce(0) { $0 + $1.gaining.count } }
        package var gainedBytes: Int { moves.reduce(0) { $0 + $1.gaining.count * $1.bytes } }
    }

    private let store: any ObjectStore
    package let before: ClusterRecord
    package let after: ClusterRecord
    private let tenants: [TenantID]

    /// - Parameter tenants: Whose shards are looked at: all that the cluster has.
    package init(store: any ObjectStore, from before: ClusterRecord, to after: ClusterRecord, tenants: [TenantID]) {
        self.store = store
        self.before = before
        self.after = after
        self.tenants = tenants
    }

    /// What would move. Costs one listing for each tenant, and a few listings and reads for each shard.
    ///
    /// - Throws: `invalidArgument` for a record that no placement can be made of; what the store said.
    package func moves() async throws(ClusterError) -> Moves {
        let (old, new) = (try Placement(members: before.members), try Placement(members: after.members))
        var result = Moves()
        for tenant in tenants {
            for (name, record) in try await SchemaRegistry(store: store).all(of: tenant).found where !record.isDropped {
                let schema = record.schema
                for shard in try await ShardTree(store, schema, tenant).leaves {
                    let had = old.replicas(of: shard, firstCount: schema.shardCount, count: before.replicas)
                    let has = new.replicas(of: shard, firstCount: schema.shardCount, count: after.replicas)
                    result.replicaCount += has.count
                    let (losing, gaining) = (had.filter { !has.contains($0) }, has.filter { !had.contains($0) })
                    guard !losing.isEmpty || !gaining.isEmpty else { continue }
                    let log = LogStore(shard: shard, store: store, retryDelay: .milliseconds(100))
                    let bytes = try await log.newestManifest()?.segments.reduce(0) { $0 + $1.byteCount } ?? 0
                    result.moves.append(Move(shard: shard, collection: name, losing: losing, gaining: gaining, bytes: bytes))
                }
            }
        }
        return result
    }

    /// Has the gaining nodes fetch what is in use.
    ///
    /// - Parameters:
    ///   - services: How to call the members before and after.
    ///   - bytesPerSecond: Mean rate of all fetching together. One shard is fetched at a time, as fast as its node can.
    ///   - pause: Waits; told for how long.
    ///   - report: Told of each shard: whether it is in use, and the error if it could not be fetched: then its node fetches it when it is first asked.
    /// - Returns: Bytes of the segments that were fetched, or were there already.
    package func warm(
        _ moves: Moves, services: [NodeID: any ShardService], bytesPerSecond: Int, pause: (Duration) async -> Void,
        report: (Move, _ isInUse: Bool, ClusterError?) -> Void
    ) async -> Int {
        var fetched = 0
        for (tenant, moves) in Dictionary(grouping: moves.moves, by: \.shard.tenant).sorted(by: { $0.key < $1.key }) {
            let inUse = await shardsInUse(of: tenant, services)
            for move in moves {
                guard inUse.contains(move.shard), !move.gaining.isEmpty else {
                    report(move, false, nil)
                    continue
                }
                var failure: ClusterError?
                for node in move.gaining {
                    do throws(ClusterError) {
                        guard let service = services[node] else { throw ClusterError(.unavailable, "node \(node) cannot be called from here") }
                        _ = try await service.status(StatusRequest(shards: [move.shard]), context: CallContext(requestID: .random(), tenant: tenant))
                        fetched += move.bytes
                        await pause(.seconds(Double(move.bytes) / Double(bytesPerSecond)))
                    } catch { failure = error }
                }
                report(move, true, failure)
            }
        }
        return fetched
    }

    /// The tenant's shards that some member has open.
    private func shardsInUse(of tenant: TenantID, _ services: [NodeID: any ShardService]) async -> Set<ShardID> {
        var open: Set<ShardID> = []
        for member in before.members {
            guard let service = services[member.node] else { continue }
            let context = CallContext(requestID: .random(), tenant: tenant, deadline: .now + .seconds(10))
            // A node that is away serves nothing that would have to be kept warm.
            if let reply = try? await service.status(StatusRequest(), context: context) { open.formUnion(reply.shards.map(\.shard)) }
        }
        return open
    }

    /// Puts the new record: from here on the new members count.
    ///
    /// - Returns: The record as it was put.
    /// - Throws: `aborted` if somebody else changed the members meanwhile.
    package func commit() async throws(ClusterError) -> ClusterRecord {
        var record = after
        record.version = before.version + 1
        guard try await ClusterRegistry(store: store).publish(record) else {
            throw ClusterError(.aborted, "the cluster's members changed meanwhile: version \(record.version) is there already")
        }
        return record
    }
}

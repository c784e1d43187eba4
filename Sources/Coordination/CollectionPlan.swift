import Model
import Synchronization

/// Where the shards of one collection are: computed once from its schema and the members, then kept.
final class CollectionPlan: Sendable {
    let name: CollectionName
    let tenant: TenantID
    let schema: CollectionSchema
    /// Version of the name's record that the schema came from.
    let version: UInt64
    /// Version of the members that ``targets`` are placed on.
    let membersVersion: UInt64
    /// By shard index.
    let targets: [ShardTarget]
    private let known: Mutex<[Known]>

    /// What a shard last told.
    private struct Known {
        var points: Int?
        var owner: NodeID?
    }

    init(name: CollectionName, tenant: TenantID, schema: CollectionSchema, version: UInt64, replicas: [[ShardTarget.Replica]], membersVersion: UInt64) {
        self.name = name
        self.tenant = tenant
        self.schema = schema
        self.version = version
        self.membersVersion = membersVersion
        targets = zip(replicas, HashRange.tiling(schema.shardCount)).enumerated().map { index, part in
            ShardTarget(shard: schema.shard(index, of: tenant), replicas: part.0, range: part.1)
        }
        known = Mutex(Array(repeating: Known(), count: schema.shardCount))
    }

    /// The same collection placed on other members; what its shards told stays.
    convenience init(_ plan: CollectionPlan, replicas: [[ShardTarget.Replica]], membersVersion: UInt64) {
        self.init(
            name: plan.name, tenant: plan.tenant, schema: plan.schema, version: plan.version, replicas: replicas, membersVersion: membersVersion)
        let told = plan.known.withLock { $0 }
        known.withLock { $0 = told }
    }

    func note(points: Int, in shard: ShardID) { known.withLock { $0[shard.index].points = points } }
    func pointsLastKnown(in shard: ShardID) -> Int? { known.withLock { $0[shard.index].points } }

    func note(owner: NodeID, of shard: ShardID) { known.withLock { $0[shard.index].owner = owner } }
    /// Who carried out the last write, if there was one.
    func owner(of shard: ShardID) -> NodeID? { known.withLock { $0[shard.index].owner } }

    func gap(_ target: ShardTarget, _ reason: ClusterError) -> Coverage.Gap {
        Coverage.Gap(shard: target.shard, node: target.node, reason: reason, pointsLastKnown: pointsLastKnown(in: target.shard))
    }
}

import Model
import Synchronization

/// Where the shards of one collection are: computed once from its schema and the members, then kept.
final class CollectionPlan: Sendable {
    let name: CollectionName
    let tenant: TenantID
    let schema: CollectionSchema
    /// Version of the name's record that the schema came from.
    let version: UInt64
    /// By shard index.
    let targets: [ShardTarget]
    /// Points each shard held when it last told, by shard index.
    private let lastKnown: Mutex<[Int?]>

    init(name: CollectionName, tenant: TenantID, schema: CollectionSchema, version: UInt64, owners: [NodeID], nodes: [NodeID: any ShardService]) {
        self.name = name
        self.tenant = tenant
        self.schema = schema
        self.version = version
        targets = zip(owners, HashRange.tiling(schema.shardCount)).enumerated().map { index, part in
            ShardTarget(shard: schema.shard(index, of: tenant), node: part.0, service: nodes[part.0]!, range: part.1)
        }
        lastKnown = Mutex(Array(repeating: nil, count: schema.shardCount))
    }

    func note(points: Int, in shard: ShardID) { lastKnown.withLock { $0[shard.index] = points } }
    func pointsLastKnown(in shard: ShardID) -> Int? { lastKnown.withLock { $0[shard.index] } }

    func gap(_ target: ShardTarget, _ reason: ClusterError) -> Coverage.Gap {
        Coverage.Gap(shard: target.shard, node: target.node, reason: reason, pointsLastKnown: pointsLastKnown(in: target.shard))
    }
}

/// One shard, and whom to ask for it.
struct ShardTarget: Sendable {
    let shard: ShardID
    let node: NodeID
    let service: any ShardService
    /// The part of the hash space that the collection's layout gives to this shard.
    let range: HashRange
}

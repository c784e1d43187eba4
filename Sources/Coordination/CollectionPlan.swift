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
    let layout: ShardLayout
    /// In the order of ``layout``.
    let targets: [ShardTarget]
    /// By shard index.
    private let known = Mutex<[Int: Known]>([:])

    /// What a shard last told.
    private struct Known {
        var points: Int?
        var owner: NodeID?
    }

    init(name: CollectionName, tenant: TenantID, schema: CollectionSchema, version: UInt64, layout: ShardLayout, replicas: [[ShardTarget.Replica]], membersVersion: UInt64) {
        self.name = name
        self.tenant = tenant
        self.schema = schema
        self.version = version
        self.membersVersion = membersVersion
        self.layout = layout
        targets = zip(replicas, layout.shards).enumerated().map { place, part in
            ShardTarget(shard: schema.shard(part.1.index, of: tenant), place: place, replicas: part.0, range: part.1.range)
        }
    }

    /// The same collection placed on other members, or with shards that were split or merged; what its shards told stays.
    convenience init(_ plan: CollectionPlan, layout: ShardLayout, replicas: [[ShardTarget.Replica]], membersVersion: UInt64) {
        self.init(
            name: plan.name, tenant: plan.tenant, schema: plan.schema, version: plan.version, layout: layout, replicas: replicas, membersVersion: membersVersion)
        let told = plan.known.withLock { $0 }
        known.withLock { $0 = told }
    }

    /// Whether it knows the members, splits and merges that another plan of the same record knows.
    func isAsNew(as other: CollectionPlan) -> Bool { membersVersion >= other.membersVersion && layout.isAsNew(as: other.layout) }

    /// Place of the shard that keeps a point.
    func place(of id: PointID) -> Int { layout.place(of: id.hash) }

    func note(points: Int, in shard: ShardID) { known.withLock { $0[shard.index, default: Known()].points = points } }
    func pointsLastKnown(in shard: ShardID) -> Int? { known.withLock { $0[shard.index]?.points } }

    func note(owner: NodeID, of shard: ShardID) { known.withLock { $0[shard.index, default: Known()].owner = owner } }
    /// Who carried out the last write, if there was one.
    func owner(of shard: ShardID) -> NodeID? { known.withLock { $0[shard.index]?.owner } }

    func gap(_ target: ShardTarget, _ reason: ClusterError) -> Coverage.Gap {
        Coverage.Gap(shard: target.shard, node: target.node, reason: reason, pointsLastKnown: pointsLastKnown(in: target.shard))
    }
}

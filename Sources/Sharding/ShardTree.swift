import Model
import Storage

/// A collection's shards as their logs say: those that keep points, and those that were split.
struct ShardTree: Sendable {
    /// In the order of their ranges.
    private(set) var leaves: [ShardID] = []
    /// Parents before their halves.
    private(set) var split: [ShardID] = []

    /// Costs one listing and one read for each shard.
    init(_ store: any ObjectStore, _ schema: CollectionSchema, _ tenant: TenantID) async throws(ClusterError) {
        var waiting = Array(schema.firstShards(of: tenant).reversed())
        while let shard = waiting.popLast() {
            if try await LogStore(shard: shard, store: store, retryDelay: .milliseconds(20)).halves() != nil {
                split.append(shard)
                let halves = shard.halves(in: schema)
                waiting += [halves.upper, halves.lower]
            } else {
                leaves.append(shard)
            }
        }
    }
}

extension LogStore {
    /// What this shard begins with, as its parent's log says; `nil` for one of the first shards.
    ///
    /// - Throws: `notFound` if the parent was not split.
    func beginning(in schema: CollectionSchema) async throws(ClusterError) -> Manifest? {
        guard let parent = shard.parent(in: schema) else { return nil }
        guard let halves = try await LogStore(shard: parent, store: store, retryDelay: retryDelay, clock: clock).halves() else {
            throw ClusterError(.notFound, "collection \(schema.name) has no shard \(shard.index): shard \(parent.index) was not split")
        }
        return shard == parent.halves(in: schema).lower ? halves.lower : halves.upper
    }
}

extension ShardID {
    func halves(in schema: CollectionSchema) -> (lower: ShardID, upper: ShardID) {
        let halves = ShardLayout.children(of: index, firstCount: schema.shardCount)
        return (schema.shard(halves.lower, of: tenant), schema.shard(halves.upper, of: tenant))
    }

    /// The shard that this one is a half of; `nil` for one of the first.
    func parent(in schema: CollectionSchema) -> ShardID? {
        ShardLayout.parent(of: index, firstCount: schema.shardCount).map { schema.shard($0, of: tenant) }
    }
}

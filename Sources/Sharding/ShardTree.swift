import Model
import Storage

/// A collection's shards that keep points, as their logs say.
struct ShardTree: Sendable {
    /// In the order of their ranges. A half whose merge is not complete is among them.
    private(set) var leaves: [ShardID] = []

    /// Costs one listing and one read for each shard that there is or was.
    init(_ store: any ObjectStore, _ schema: CollectionSchema, _ tenant: TenantID) async throws(ClusterError) {
        func log(_ shard: ShardID) -> LogStore { LogStore(shard: shard, store: store, retryDelay: .milliseconds(20)) }
        var waiting = Array(schema.firstShards(of: tenant).reversed())
        var seen = Set(waiting)
        while let shard = waiting.popLast() {
            switch try await log(shard).end() {
            case .split?:
                let halves = shard.halves(in: schema)
                waiting += [halves.upper, halves.lower]
            case .merged(let other)?:
                guard let merge = ShardMerge(of: shard, with: other, in: schema), try await log(merge.upper).end() == .merged(with: merge.lower.index) else {
                    leaves.append(shard)
                    continue
                }
                // Both halves lead here.
                if seen.insert(merge.merged).inserted { waiting.append(merge.merged) }
                leaves.removeAll { $0 == merge.lower }
            case .dropped?, nil: leaves.append(shard)
            }
        }
        let ranges = Dictionary(leaves.map { ($0, ShardLayout.range(of: $0.index, firstCount: schema.shardCount)?.first ?? 0) }) { first, _ in first }
        leaves.sort { ranges[$0]! < ranges[$1]! }
    }
}

/// Two halves, and the shard that they are merged into.
struct ShardMerge: Hashable, Sendable {
    let lower: ShardID
    let upper: ShardID
    let merged: ShardID

    /// `nil` if the two cannot be merged.
    init?(of shard: ShardID, with other: Int, in schema: CollectionSchema) {
        let isUpper = ShardLayout.isUpper(shard.index, firstCount: schema.shardCount)
        let (first, second) = isUpper ? (other, shard.index) : (shard.index, other)
        guard let index = ShardLayout.merged(first, second, firstCount: schema.shardCount) else { return nil }
        lower = schema.shard(first, of: shard.tenant)
        upper = schema.shard(second, of: shard.tenant)
        merged = schema.shard(index, of: shard.tenant)
    }
}

/// Where a shard comes from.
enum ShardOrigin: Sendable {
    /// One of the collection's first.
    case first
    /// A split: it begins with this.
    case half(Manifest)
    /// A merge that is complete: it begins with what both held at their ends.
    case merged(ShardMerge)
}

extension LogStore {
    /// How the shard ended, if it did: that is the log's last entry then, as nobody writes after it.
    func end() async throws(ClusterError) -> LogCursor.End? { try await lastEntry().flatMap { LogCursor.End($0.content) } }

    /// Whether nobody needs anything of this shard but how it ended: it was split, or what it was merged into has been sealed since.
    func isOnlyEnd(_ end: LogCursor.End?, in schema: CollectionSchema) async throws(ClusterError) -> Bool {
        switch end {
        case .split?: return true
        case .merged(let other)?:
            guard let merged = ShardMerge(of: shard, with: other, in: schema)?.merged else { return false }
            let manifests = try await stored { () throws(StoreError) in try await store.list(prefix: StoreKey.manifests(merged), after: nil, limit: 1) }
            // It ends by a split or a merge only when it is sealed; then its manifests go.
            return try await !manifests.isEmpty ? true : log(of: merged).end() != nil
        case .dropped?, nil: return false
        }
    }

    /// What the halves of this shard begin with, if it was split.
    func halves() async throws(ClusterError) -> (lower: Manifest, upper: Manifest)? {
        if case .split(let lower, let upper) = try await lastEntry()?.content { (lower, upper) } else { nil }
    }

    /// Where this shard comes from, as other logs say. Costs a listing and a read of up to four shards, one each of those that were split only.
    ///
    /// - Throws: `notFound` if nothing led to it; `unavailable` if the merge is not complete that makes it.
    func origin(in schema: CollectionSchema) async throws(ClusterError) -> ShardOrigin {
        if let parent = shard.parent(in: schema) {
            if let halves = try await log(of: parent).halves() { return .half(shard == parent.halves(in: schema).lower ? halves.lower : halves.upper) }
        } else if ShardLayout.generation(of: shard.index) == 0 {
            return .first
        }
        guard let merge = try await merge(in: schema) else {
            throw ClusterError(.notFound, "collection \(schema.name) has no shard \(shard.index): nothing was split or merged into it")
        }
        guard try await log(of: merge.upper).end() == .merged(with: merge.lower.index) else {
            throw ClusterError(.unavailable, "shard \(shard) is not there yet: shard \(merge.lower.index) has ended, shard \(merge.upper.index) is about to")
        }
        return .merged(merge)
    }

    /// The merge that makes this shard, if one of the halves says so. One of them is of the generation before this shard's.
    private func merge(in schema: CollectionSchema) async throws(ClusterError) -> ShardMerge? {
        let generation = ShardLayout.generation(of: shard.index)
        guard generation > 0 else { return nil }
        let halves = ShardLayout.children(of: ShardLayout.base(of: shard.index), firstCount: schema.shardCount)
        for half in [halves.lower, halves.upper] {
            let half = schema.shard(ShardLayout.index(half, generation: generation - 1), of: shard.tenant)
            guard case .merged(let other) = try await log(of: half).end(), let merge = ShardMerge(of: half, with: other, in: schema) else { continue }
            if merge.merged == shard { return merge }
        }
        return nil
    }

    func log(of shard: ShardID) -> LogStore { LogStore(shard: shard, store: store, retryDelay: retryDelay, clock: clock) }

    /// `nil` for an empty log.
    func lastEntry() async throws(ClusterError) -> LogEntry? {
        // Deleted between the listing and the reading, it is not the last any more: list again.
        for _ in 0..<8 {
            guard let last = try await positions(from: 0).last else { return nil }
            switch try await bareResult(at: last).get() {
            case .entry(let entry, _): return entry
            case .missing: continue
            case .damaged(let key, let reason): throw ClusterError(.dataLoss, "\(key): \(reason)")
            }
        }
        throw ClusterError(.unavailable, "the log of shard \(shard) keeps changing")
    }
}

extension ShardID {
    func halves(in schema: CollectionSchema) -> (lower: ShardID, upper: ShardID) {
        let halves = ShardLayout.children(of: index, firstCount: schema.shardCount)
        return (schema.shard(halves.lower, of: tenant), schema.shard(halves.upper, of: tenant))
    }

    /// The shard that this one is a half of, if it came of a split; `nil` for one of the first shards' ranges.
    func parent(in schema: CollectionSchema) -> ShardID? {
        ShardLayout.parent(of: index, firstCount: schema.shardCount).map { schema.shard($0, of: tenant) }
    }
}

extension Manifest {
    /// A place in the log where nothing is known to be: what a shard that two were merged into begins with lies in their logs.
    init(beginningAt position: UInt64, epoch: UInt64 = 0) {
        self.init(
            version: 0, position: position, epoch: epoch, writer: LogWriterID(node: NodeID("nobody"), incarnation: 0), fences: [], segments: [], requests: [])
    }
}

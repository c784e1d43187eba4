import Model
import Storage

extension Coordinator {
    /// What a merge makes of two shards.
    package struct Merge: Sendable {
        /// The halves, and the shard that takes their place.
        package let lower: Int
        package let upper: Int
        package let merged: Int
        /// The nodes that keep that.
        package let nodes: [NodeID]
        /// Points of both together.
        package let points: Int
    }

    /// Unites a shard with the other half of the shard that both come from, while they are read; writes to them wait meanwhile for a few calls to
    /// the store, and one of them for the opening of what takes their place (protocol, H14).
    ///
    /// - Parameters:
    ///   - index: One of the two.
    ///   - isDry: Only say what would become of them.
    /// - Throws: `notFound` if there is no such collection or shard; `failedPrecondition` for one of the first shards, or one whose other half
    ///   was split.
    package func merge(_ index: Int, of name: CollectionName, isDry: Bool = false, context: CallContext) async throws(ClusterError) -> Merge {
        // Asking every shard brings the layout up to date.
        let status = try await status(of: name, context: context)
        let plan = try await plan(of: name, context: context)
        guard let pair = try pair(index, plan) else { throw ClusterError(.notFound, "collection \"\(name)\" has no shard \(index)") }
        var points = 0
        for shard in [pair.lower, pair.upper] {
            if let gap = status.gaps.first(where: { $0.shard == shard }) { throw gap.reason }
            points += status.shards.first { $0.status.shard == shard }?.status.points ?? 0
        }
        let nodes = members.view.replicas(of: pair.merged, firstCount: plan.schema.shardCount)
        let merge = Merge(lower: pair.lower.index, upper: pair.upper.index, merged: pair.merged.index, nodes: nodes, points: points)
        if !isDry { try await carryOut(pair, plan, context) }
        return merge
    }

    /// Merges shards that became small: two halves that together keep fewer points than ``CoordinatorConfiguration/mergePoints``, and at most half
    /// of those with which they began, so that what was split by command stays. Looks at the collections in use here, and costs nothing while
    /// none of those was split.
    ///
    /// - Returns: How many pairs were merged.
    package func mergeSmallShards() async -> Int {
        guard configuration.mergePoints > 0 else { return 0 }
        var count = 0
        for plan in plans.all where !plan.layout.splits.isEmpty {
            for shard in plan.layout.shards where !Task.isCancelled {
                guard let pair = try? pair(shard.index, plan), pair.lower.index == shard.index, let lower = plan.pointsLastKnown(in: pair.lower),
                    let upper = plan.pointsLastKnown(in: pair.upper), lower + upper < configuration.mergePoints
                else { continue }
                let context = CallContext(requestID: .random(), tenant: plan.tenant, deadline: clock.now() + configuration.writeTimeout)
                do throws(ClusterError) {
                    // Two small reads, before every shard of the collection is asked.
                    let most = min(configuration.mergePoints - 1, try await pointsAtSplit(pair, plan) / 2)
                    guard lower + upper <= most, try await merge(shard.index, of: plan.name, isDry: true, context: context).points <= most else { continue }
                    try await carryOut(pair, plan, context)
                    count += 1
                } catch { log(.info, "small shards could not be merged yet", ["collection": "\(plan.name)", "shard": "\(shard.index)", "error": "\(error)"], context) }
            }
        }
        return count
    }

    private typealias Pair = (lower: ShardID, upper: ShardID, merged: ShardID)

    /// A shard of the layout and the other half; `nil` if the layout has no such shard.
    private func pair(_ index: Int, _ plan: CollectionPlan) throws(ClusterError) -> Pair? {
        let (firstCount, shards) = (plan.schema.shardCount, plan.layout.shards)
        guard let place = shards.firstIndex(where: { $0.index == index }) else { return nil }
        guard ShardLayout.parent(of: index, firstCount: firstCount) != nil else {
            throw ClusterError(.failedPrecondition, "shard \(index) has the range of one of the \(firstCount) first, which are not merged")
        }
        let isUpper = ShardLayout.isUpper(index, firstCount: firstCount)
        let (lower, upper) = isUpper ? (shards[place - 1], shards[place]) : (shards[place], shards[place + 1])
        guard let merged = ShardLayout.merged(lower.index, upper.index, firstCount: firstCount) else {
            let other = isUpper ? lower.index : upper.index
            throw ClusterError(.failedPrecondition, "shard \(index) cannot be merged with its neighbour \(other): the two are not the halves of one range, merged \(ShardLayout.highestGeneration) times at most")
        }
        func id(_ index: Int) -> ShardID { plan.schema.shard(index, of: plan.tenant) }
        return (id(lower.index), id(upper.index), id(merged))
    }

    private func carryOut(_ pair: Pair, _ plan: CollectionPlan, _ context: CallContext) async throws(ClusterError) {
        let fanOut = fanOut("merge", context, deadline: deadline(context, configuration.sealTimeout), mode: .chosen)
        // The upper half promises, the lower ends, the upper ends. Whoever meets the two in between goes on.
        for (half, other) in [(pair.upper, pair.lower), (pair.lower, pair.upper), (pair.upper, pair.lower)] {
            // A step that is left out must not be followed by the next.
            guard let target = target(of: half, plan.schema) else { throw ClusterError(.notFound, "collection \"\(plan.name)\" has no shard \(half.index)") }
            _ = try await fanOut.ask([target]) { (target, context) throws(ClusterError) -> SealReply in
                try await self.atOwner(of: target, plan, context) { (service, takeover, context) throws(ClusterError) in
                    try await service.seal(SealRequest(shard: half, takeover: takeover, mergeWith: other.index), context: context)
                }
            }[0].get()
        }
        log(.info, "shards merged", ["collection": "\(plan.name)", "shards": "\(pair.lower.index),\(pair.upper.index)", "into": "\(pair.merged.index)"], context)
    }

    /// Points that two halves began with, as the log of the shard says that was split.
    private func pointsAtSplit(_ pair: Pair, _ plan: CollectionPlan) async throws(ClusterError) -> Int {
        let base = ShardLayout.base(of: pair.merged.index)
        guard let parent = plan.layout.splits.filter({ ShardLayout.base(of: $0) == base && $0 < pair.merged.index }).max() else { return 0 }
        let log = StoreKey.log(plan.schema.shard(parent, of: plan.tenant))
        do {
            guard let last = try await store.listAll(prefix: log).last, case .split(let lower, let upper) = try LogEntry(decoding: try await store.get(last)).content else { return 0 }
            return (lower.segments + upper.segments).reduce(0) { $0 + $1.rowCount - $1.deletedRows.count }
        } catch { throw ClusterError(.unavailable, "how many points shard \(parent) was split with cannot be read: \(error)") }
    }
}

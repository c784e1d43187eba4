import Model
import VectorMath

/// What shards that do not answer could have changed.
extension Coordinator {
    /// Notes how far shards are that answered a search, and asks some of them for their outlines, beside it.
    ///
    /// A shard is asked when it answers a search and has changed since, at most once in ``CoordinatorConfiguration/outlineInterval``: one that nobody
    /// searches costs nothing, and one that nobody writes is asked once.
    func noteOutlines(_ answers: [(target: ShardTarget, reply: SearchReply)], _ plan: CollectionPlan) {
        let now = clock.now()
        for (target, reply) in answers {
            guard let turn = outlines.note(reply, of: target.shard, now: now) else { continue }
            outlines.run(target.shard) { [self] in await fetchOutline(of: target, turn, plan) }
        }
    }

    private func fetchOutline(of target: ShardTarget, _ turn: UInt64, _ plan: CollectionPlan) async {
        // It says which position it is of: nobody has to ask the store for that.
        let context = CallContext(requestID: .random(), tenant: plan.tenant, consistency: .eventual)
        let replica = target.order(now: clock.now(), leaseHolder: plan.owner(of: target.shard))[0]
        let fanOut = fanOut("outline", of: plan, context, deadline: clock.now() + configuration.readTimeout, mode: .chosen)
        let replies = await fanOut.ask([target.asking(replica)]) { [limit = configuration.outlineBytes] (target, context) throws(ClusterError) in
            try await target.service.outline(OutlineRequest(shard: target.shard, maximumBytes: limit), context: context)
        }
        guard case .success(let reply) = replies[0], reply.range == target.range,
            reply.outline?.balls.allSatisfy({ $0.mean.count == plan.schema.dimension }) ?? true
        else { return }
        outlines.keep(reply, of: target.shard, turn: turn)
    }

    /// Waits for the outlines that are on their way.
    package func outlinesSettled() async { await outlines.settle() }

    /// Lets go of what is too old.
    package func forgetOldOutlines() { outlines.removeOld(now: clock.now()) }

    /// The gaps, each with whether what is missing could have changed the hits.
    func judged(_ gaps: [Coverage.Gap], _ query: SearchQuery, _ vector: [Float], _ hits: [ScoredPoint], _ plan: CollectionPlan) -> [Coverage.Gap] {
        guard !gaps.isEmpty else { return gaps }
        let (metric, now) = (plan.schema.metric, clock.now())
        let ranges = Dictionary(uniqueKeysWithValues: plan.targets.map { ($0.shard, $0.range) })
        let worst = hits.map(\.score).max { metric.isBetter($0, than: $1) }
        return gaps.map { gap in
            guard let (reply, isCurrent) = outlines.outline(of: gap.shard, now: now), let outline = reply.outline, reply.range == ranges[gap.shard] else { return gap }
            var gap = gap
            gap.outlinePosition = reply.position
            guard isCurrent else { return gap }
            let best = outline.bestScore(for: vector, under: metric)
            if outline.isEmpty || query.scoreThreshold.map({ metric.isBetter($0, than: best) }) ?? false {
                gap.couldChange = false
            } else if hits.count < query.limit {
                gap.couldChange = true
            } else {
                gap.couldChange = worst.map { !metric.isBetter($0, than: best) } ?? true
            }
            return gap
        }
    }
}

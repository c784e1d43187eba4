import Model

/// What became of one point in a search of a collection.
package struct PointExplanation: Sendable {
    package var explanation: Explanation
    /// Which shard the point belongs to, and which node was asked.
    package var shard: ShardID
    package var node: NodeID
    /// Its place among the hits, from 1, the query's offset included; `nil` if it is none of them.
    package var place: Int?
    /// Why its shard did not answer, if the step is ``SearchStep/shard``.
    package var reason: ClusterError?
}

extension Coordinator {
    /// Asks the shards that own the query's ids what became of them, and follows those that are among a shard's hits into the result.
    ///
    /// A shard runs the search again; what was written in between shows as ``SearchStep/changed``.
    func explain(
        _ query: SearchQuery, _ plan: CollectionPlan, _ found: Found, _ hits: [ScoredPoint], fanOut: FanOut
    ) async -> [PointExplanation] {
        guard !query.explain.isEmpty else { return [] }
        let byShard = Dictionary(grouping: query.explain, by: plan.place(of:))
        let targets = byShard.keys.sorted().map { plan.targets[$0] }
        let replies = await fanOut.ask(targets) { (target, context) throws(ClusterError) -> ExplainReply in
            let ids = byShard[target.place]!
            let reply = try await target.service.explain(ExplainRequest(shard: target.shard, search: found.search, ids: ids), context: context)
            guard reply.explanations.map(\.id) == ids else { throw ClusterError(.internal, "explained other points than those asked") }
            return reply
        }
        let silent = Set(found.gaps.map(\.shard))
        var explained: [PointID: PointExplanation] = [:]
        for (target, result) in zip(targets, replies) {
            for (index, id) in byShard[target.place]!.enumerated() {
                var point = PointExplanation(explanation: Explanation(id: id, step: .shard), shard: target.shard, node: target.node)
                switch result {
                case .success(let reply): point.explanation = reply.explanations[index]
                case .failure(let error): point.reason = error
                }
                if point.reason == nil, silent.contains(target.shard) {
                    point.explanation.step = .shard  // it answers now, but the hits are without it
                    point.reason = found.gaps.first { $0.shard == target.shard }?.reason
                }
                follow(&point, query, found, hits)
                explained[id] = point
            }
        }
        return query.explain.map { explained[$0]! }
    }

    /// From the hits of a shard into the result.
    private func follow(_ point: inout PointExplanation, _ query: SearchQuery, _ found: Found, _ hits: [ScoredPoint]) {
        guard point.explanation.step == .hit else { return }
        let explanation = point.explanation
        guard let place = found.hits.firstIndex(where: { $0.hit.id == explanation.id }) else {
            let hasTwin = explanation.contentHash != 0 && found.hits.contains { $0.hit.contentHash == explanation.contentHash }
            point.explanation.step = query.collapseDuplicates && hasTwin ? .duplicate : .merge
            return
        }
        if hits.contains(where: { $0.point.id == explanation.id }) {
            point.place = place + 1
        } else if place < query.offset {
            point.explanation.step = .offset
            point.place = place + 1
        } else {
            point.explanation.step = place < query.offset + query.limit ? .changed : .merge
        }
    }
}

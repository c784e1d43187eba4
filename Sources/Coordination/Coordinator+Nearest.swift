import Model

/// What the shards found for one search.
struct Found {
    /// What every shard was asked, in the last round.
    var search: ShardSearch
    /// Of all shards, best first.
    var hits: [RankedHit] = []
    /// What each shard found, by place.
    var byShard: [[Hit]] = []
    /// By place; `nil` for the shards in `gaps`.
    var work: [SearchWork?] = []
    var gaps: [Coverage.Gap] = []
    var unverified: [Coverage.Unverified] = []

    /// Leaves in ``byShard`` what was not a candidate yet: a shard's candidates are its first hits.
    mutating func take(_ candidates: ArraySlice<RankedHit>) {
        let last = Dictionary(candidates.map { ($0.place, $0.hit) }) { $1 }
        for (place, hit) in last { byShard[place] = Array(byShard[place].drop { $0 != hit }.dropFirst()) }
    }

    /// What is left of the shards that are not silent, the best first; nothing of it is left afterwards.
    mutating func rest(without silent: Set<ShardID>, _ plan: CollectionPlan) -> [RankedHit] {
        var ranked = RankedHits(capacity: .max, metric: plan.schema.metric)
        for target in plan.targets where !silent.contains(target.shard) { ranked.merge(byShard[target.place], from: target.place) }
        byShard = byShard.map { _ in [] }
        return ranked.hits
    }
}

extension Coordinator {
    /// The hits of each query, ranked over all shards, its offset included, and spare ones that take the places of those that change meanwhile.
    ///
    /// - Parameter vectors: Of the queries, as shards want them.
    func nearest(_ queries: [SearchQuery], _ vectors: [[Float]], _ plan: CollectionPlan, _ fanOut: FanOut) async -> [Found] {
        var found = zip(queries, vectors).map { query, vector in
            // Chunks that say the same usually come in twos; where that is not enough, deeper rounds follow.
            let depth = (query.offset + query.limit) * (query.collapseDuplicates ? 2 : 1)
            let filter = query.filter.flatMap { $0.isEmpty ? nil : $0 }
            return Found(search: ShardSearch(vector: vector, limit: depth, filter: filter, scoreThreshold: query.scoreThreshold, effort: query.effort))
        }
        var spent = [SearchWork](repeating: SearchWork(), count: queries.count)
        var open = Array(queries.indices)
        while !open.isEmpty {
            // As many as may be asked for at once.
            var hits = 0
            let asked = open.prefix { number in
                hits += found[number].search.limit
                return hits <= SearchRequest.maximumHits || hits == found[number].search.limit
            }
            let round = await ask(asked.map { found[$0].search }, plan, fanOut)
            var deeper: [Int] = []
            for (index, number) in asked.enumerated() {
                let isExhausted = rank(index, of: round, plan, collapses: queries[number].collapseDuplicates, into: &found[number])
                let (wanted, depth) = (queries[number].offset + queries[number].limit, found[number].search.limit)
                if !queries[number].collapseDuplicates || found[number].hits.count >= wanted || isExhausted || depth >= configuration.maximumLimit * 4 || Task.isCancelled {
                    found[number].add(spent[number])
                } else {
                    for work in found[number].work { if let work { spent[number] += work } }
                    found[number].search.limit = min(depth * 4, configuration.maximumLimit * 4)
                    deeper.append(number)
                }
            }
            open = deeper + open.dropFirst(asked.count)
        }
        return found
    }

    /// What the shards replied to some searches.
    private struct Round {
        var replies: [(target: ShardTarget, reply: SearchReply)] = []
        var gaps: [Coverage.Gap] = []
        var unverified: [Coverage.Unverified] = []
    }

    private func ask(_ searches: [ShardSearch], _ plan: CollectionPlan, _ fanOut: FanOut) async -> Round {
        let replies = await fanOut.ask(plan.targets) { (target, context) throws(ClusterError) -> SearchReply in
            try await target.service.search(SearchRequest(shard: target.shard, searches), context: context)
        }
        let reasons = fanOut.unverified.all
        var round = Round()
        for (target, result) in zip(plan.targets, replies) {
            switch result.flatMap({ checked($0, target, searches.count) }) {
            case .success(let reply):
                plan.note(points: reply.results[0].work.pointsHeld, in: target.shard)
                round.replies.append((target, reply))
                if let reason = reasons[target.shard] {
                    round.unverified.append(Coverage.Unverified(shard: target.shard, reason: reason, position: reply.position, age: reply.age))
                }
            case .failure(let error): round.gaps.append(plan.gap(target, error))
            }
        }
        noteOutlines(round.replies, plan)
        return round
    }

    /// A reply counts only for exactly the range that the layout gives its shard: then the answered ranges can neither overlap
    /// nor leave out a part that no gap names (protocol, H13).
    private func checked(_ reply: SearchReply, _ target: ShardTarget, _ count: Int) -> Result<SearchReply, ClusterError> {
        guard reply.range == target.range else {
            return .failure(ClusterError(
                .failedPrecondition, "searched hashes \(fixedHex(reply.range.first))…\(fixedHex(reply.range.last)), "
                    + "the layout says \(fixedHex(target.range.first))…\(fixedHex(target.range.last))"))
        }
        guard reply.results.count == count else {
            return .failure(ClusterError(.internal, "answered \(reply.results.count) searches instead of \(count)"))
        }
        return .success(reply)
    }

    /// Puts together what the shards found for one of a round's searches.
    ///
    /// - Returns: Whether no shard has more.
    private func rank(_ index: Int, of round: Round, _ plan: CollectionPlan, collapses: Bool, into found: inout Found) -> Bool {
        let depth = found.search.limit
        var ranked = RankedHits(capacity: collapses ? .max : depth * 2, metric: plan.schema.metric)
        found.work = [SearchWork?](repeating: nil, count: plan.targets.count)
        found.byShard = [[Hit]](repeating: [], count: plan.targets.count)
        (found.gaps, found.unverified) = (round.gaps, round.unverified)
        var isExhausted = true
        for (target, reply) in round.replies {
            let result = reply.results[index]
            ranked.merge(result.hits, from: target.place)
            found.work[target.place] = result.work
            found.byShard[target.place] = result.hits
            if result.hits.count >= depth { isExhausted = false }
        }
        // Of what lies beyond the first `depth`, a shard may have left out better ones.
        found.hits = collapses ? RankedHits.collapsed(isExhausted ? ranked.hits : Array(ranked.hits.prefix(depth))) : ranked.hits
        return isExhausted
    }
}

extension Found {
    /// Rounds before the last one cost work too, but saw no other points.
    fileprivate mutating func add(_ spent: SearchWork) {
        guard let first = work.firstIndex(where: { $0 != nil }) else { return }
        work[first]!.codesScanned += spent.codesScanned
        work[first]!.candidatesRescored += spent.candidatesRescored
        work[first]!.listsScanned += spent.listsScanned
    }
}

import Model
import Observability

extension Coordinator {
    /// The points nearest to the query's vector in a whole collection.
    ///
    /// All shards are asked at once; the best hits of all are merged, and payloads and vectors are fetched for those that
    /// are handed out. A shard that does not answer in time is a gap in the coverage, unless the query says
    /// ``PartialPolicy/fail``.
    ///
    /// - Throws: `notFound` if there is no such collection; `invalidArgument` naming field, limit and value; `unavailable`
    ///   naming the shards if none answered, or if one did not and the policy is to fail; `cancelled`.
    package func search(_ query: SearchQuery, in name: CollectionName, context: CallContext) async throws(ClusterError) -> SearchAnswer {
        let started = clock.now()
        let tenant = ("tenant", metrics.tenantLabel(context.tenant.rawValue))
        do throws(ClusterError) {
            let answer = try await search(query, in: name, started: started, context: context)
            let outcome = ("outcome", answer.coverage.isComplete ? "complete" : "partial")
            metrics.counter("covey_searches_total", help: "Searches of collections, by outcome.", labels: [tenant, outcome]).add()
            metrics.histogram("covey_search_seconds", help: "Time of searches of collections.", labels: [tenant]).observe(answer.took)
            if !answer.coverage.isComplete { log(answer.coverage, of: name, context) }
            return answer
        } catch {
            metrics.counter("covey_searches_total", help: "Searches of collections, by outcome.", labels: [tenant, ("outcome", "failed")]).add()
            throw error
        }
    }

    private func search(
        _ query: SearchQuery, in name: CollectionName, started: ContinuousClock.Instant, context: CallContext
    ) async throws(ClusterError) -> SearchAnswer {
        try checkBounds(query)
        var plan = try await plan(of: name, context: context)
        let end = deadline(context, configuration.readTimeout)
        let margin = min(configuration.mergeMargin, started.duration(to: end) / 4)
        let fanOut = fanOut("search", of: plan, context, deadline: end - margin, partial: query.partial)

        for _ in 0..<Self.splitRounds {
            let found = await nearest(query, try prepared(query.vector, for: plan.schema), plan, fanOut)
            if let fresh = try await renewed(plan, found.gaps, context) {
                plan = fresh
                continue
            }
            try requireUsable(found.gaps, of: plan, partial: query.partial)

            let page = found.hits.dropFirst(query.offset)
            var answer = await fetchWinners(page, of: found, query, plan, fanOut: self.fanOut("fetch", of: plan, context, deadline: end, partial: query.partial))
            if let divided = divided(plan, after: answer.gaps.map { ($0.shard, $0.reason) }) {
                plan = divided
                continue
            }
            // A shard that found hits and then could not hand them out has not answered.
            answer.gaps.removeAll { gap in found.gaps.contains { $0.shard == gap.shard } }
            try requireUsable(found.gaps + answer.gaps, of: plan, partial: query.partial)
            let gaps = judged(found.gaps + answer.gaps, query, found.request.vector, answer.hits, plan)
            let coverage = coverage(of: plan, work: found.work, gaps: gaps, unverified: found.unverified)
            let explanations = await explain(query, plan, found, answer.hits, fanOut: self.fanOut("explain", of: plan, context, deadline: end))
            return SearchAnswer(
                hits: answer.hits, coverage: coverage, superseded: answer.superseded, took: started.duration(to: clock.now()), explanations: explanations)
        }
        throw ClusterError(.aborted, "the shards of \"\(name)\" keep splitting")
    }

    /// Another plan, if the gaps show that this one is out of date: shards were split, or the collection was dropped and made anew.
    private func renewed(_ plan: CollectionPlan, _ gaps: [Coverage.Gap], _ context: CallContext) async throws(ClusterError) -> CollectionPlan? {
        if let divided = divided(plan, after: gaps.map { ($0.shard, $0.reason) }) { return divided }
        guard gaps.contains(where: { $0.reason.code == .notFound }) else { return nil }
        return try await replan(plan, context: context)
    }

    // MARK: - Finding

    struct Found {
        /// What every shard was asked, in the last round.
        var request: SearchRequest
        var hits: [RankedHit]
        /// What each shard found, by place.
        var byShard: [[Hit]]
        /// By place; `nil` for the shards in `gaps`.
        var work: [SearchWork?]
        var gaps: [Coverage.Gap]
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

    /// Hits ranked over all shards, the query's offset included, and spare ones that take the places of those that change meanwhile.
    private func nearest(_ query: SearchQuery, _ vector: [Float], _ plan: CollectionPlan, _ fanOut: FanOut) async -> Found {
        let wanted = query.offset + query.limit
        // Chunks that say the same usually come in twos; where that is not enough, deeper rounds follow.
        var depth = query.collapseDuplicates ? wanted * 2 : wanted
        var spent = SearchWork()
        while true {
            var request = SearchRequest(
                shard: plan.targets[0].shard, vector: vector, limit: depth, filter: query.filter, scoreThreshold: query.scoreThreshold,
                effort: query.effort)
            if request.filter?.isEmpty == true { request.filter = nil }
            let template = request
            let replies = await fanOut.ask(plan.targets) { (target, context) throws(ClusterError) -> SearchReply in
                var request = template
                request.shard = target.shard
                return try await target.service.search(request, context: context)
            }
            var ranked = RankedHits(capacity: query.collapseDuplicates ? .max : depth * 2, metric: plan.schema.metric)
            var work = [SearchWork?](repeating: nil, count: plan.targets.count)
            var byShard = [[Hit]](repeating: [], count: plan.targets.count)
            var gaps: [Coverage.Gap] = []
            var isExhausted = true
            let reasons = fanOut.unverified.all
            var unverified: [Coverage.Unverified] = []
            var answers: [(target: ShardTarget, reply: SearchReply)] = []
            for (target, result) in zip(plan.targets, replies) {
                switch result.flatMap({ checked($0, target) }) {
                case .success(let reply):
                    ranked.merge(reply.hits, from: target.place)
                    work[target.place] = reply.work
                    byShard[target.place] = reply.hits
                    plan.note(points: reply.work.pointsHeld, in: target.shard)
                    answers.append((target, reply))
                    if reply.hits.count >= depth { isExhausted = false }
                    if let reason = reasons[target.shard] {
                        unverified.append(Coverage.Unverified(shard: target.shard, reason: reason, position: reply.position, age: reply.age))
                    }
                case .failure(let error): gaps.append(plan.gap(target, error))
                }
            }
            noteOutlines(answers, plan)
            var hits = ranked.hits
            if query.collapseDuplicates {
                // Of what lies beyond the first `depth`, a shard may have left out better ones.
                hits = RankedHits.collapsed(isExhausted ? hits : Array(hits.prefix(depth)))
            }
            if !query.collapseDuplicates || hits.count >= wanted || isExhausted || depth >= configuration.maximumLimit * 4 || Task.isCancelled {
                // Rounds before the last one cost work too, but saw no other points.
                if let first = work.firstIndex(where: { $0 != nil }) {
                    work[first]!.codesScanned += spent.codesScanned
                    work[first]!.candidatesRescored += spent.candidatesRescored
                    work[first]!.listsScanned += spent.listsScanned
                }
                return Found(request: template, hits: hits, byShard: byShard, work: work, gaps: gaps, unverified: unverified)
            }
            for work in work { if let work { spent += work } }
            depth = min(depth * 4, configuration.maximumLimit * 4)
        }
    }

    /// A reply counts only for exactly the range that the layout gives its shard: then the answered ranges can neither overlap
    /// nor leave out a part that no gap names (protocol, H13).
    private func checked(_ reply: SearchReply, _ target: ShardTarget) -> Result<SearchReply, ClusterError> {
        guard reply.range == target.range else {
            return .failure(ClusterError(
                .failedPrecondition, "searched hashes \(fixedHex(reply.range.first))…\(fixedHex(reply.range.last)), "
                    + "the layout says \(fixedHex(target.range.first))…\(fixedHex(target.range.last))"))
        }
        return .success(reply)
    }

    // MARK: - Fetching

    private struct Winners {
        var hits: [ScoredPoint]
        var superseded: Int
        var gaps: [Coverage.Gap]
    }

    /// Hands out the first of `candidates` up to the query's limit, each in the version that was scored.
    ///
    /// Those that were overwritten or deleted meanwhile are left out, and the next candidates take their places.
    private func fetchWinners(
        _ candidates: ArraySlice<RankedHit>, of found: Found, _ query: SearchQuery, _ plan: CollectionPlan, fanOut: FanOut
    ) async -> Winners {
        guard query.withPayload != .none || query.withVector else {
            let hits = candidates.prefix(query.limit).map {
                ScoredPoint(point: StoredPoint(id: $0.hit.id, version: $0.hit.version), score: $0.hit.score)
            }
            return Winners(hits: hits, superseded: 0, gaps: [])
        }
        var winners = Winners(hits: [], superseded: 0, gaps: [])
        var rest = candidates
        var found = found
        found.take(found.hits[...])
        // Each round uses candidates up, and those of a shard that fails are used up at once.
        while winners.hits.count < query.limit, !Task.isCancelled {
            if rest.isEmpty, !winners.gaps.isEmpty, !query.collapseDuplicates {
                // The spare ones were not enough for the places of whole shards.
                rest = found.rest(without: Set(winners.gaps.map(\.shard)), plan)[...]
            }
            guard !rest.isEmpty else { break }
            let wanted = rest.prefix(query.limit - winners.hits.count)
            rest = rest.dropFirst(wanted.count)
            let byShard = Dictionary(grouping: wanted, by: \.place)
            let targets = byShard.keys.sorted().map { plan.targets[$0] }
            let replies = await fanOut.ask(targets) { (target, context) throws(ClusterError) -> FetchReply in
                let versions = byShard[target.place]!.map { PointVersion(id: $0.hit.id, version: $0.hit.version) }
                let request = FetchRequest(
                    shard: target.shard, selection: .versions(versions), withPayload: query.withPayload, withVector: query.withVector)
                return try await target.service.fetch(request, context: context)
            }
            var points: [PointID: StoredPoint] = [:]
            for (target, result) in zip(targets, replies) {
                switch result {
                case .success(let reply):
                    for point in reply.points { points[point.id] = point }
                case .failure(let error):
                    winners.gaps.append(plan.gap(target, ClusterError(error.code, "fetching payloads: \(error.message)", successor: error.successor)))
                    rest = rest.filter { $0.place != target.place }[...]
                }
            }
            let silent = Set(winners.gaps.map(\.shard))
            for candidate in wanted {
                if let point = points[candidate.hit.id] {
                    winners.hits.append(ScoredPoint(point: point, score: candidate.hit.score))
                } else if !silent.contains(plan.targets[candidate.place].shard) {
                    winners.superseded += 1
                }
            }
        }
        return winners
    }

    // MARK: - Bounds and coverage

    private func checkBounds(_ query: SearchQuery) throws(ClusterError) {
        guard (1...configuration.maximumLimit).contains(query.limit) else {
            throw ClusterError(.invalidArgument, "limit must be 1…\(configuration.maximumLimit), found \(query.limit)")
        }
        guard (0...configuration.maximumLimit).contains(query.offset) else {
            throw ClusterError(.invalidArgument, "offset must be 0…\(configuration.maximumLimit), found \(query.offset)")
        }
        guard query.explain.count <= ExplainRequest.maximumCount else {
            throw ClusterError(.invalidArgument, "explain may name \(ExplainRequest.maximumCount) points, found \(query.explain.count)")
        }
        if let threshold = query.scoreThreshold, threshold.isNaN { throw ClusterError(.invalidArgument, "score_threshold is not a number") }
        if let recall = query.effort.targetRecall, !(recall > 0 && recall <= 1) {
            throw ClusterError(.invalidArgument, "target_recall must be above 0 and at most 1, found \(recall)")
        }
        if let probes = query.effort.probes, query.effort.targetRecall != nil {
            throw ClusterError(.invalidArgument, "target_recall decides how many lists are probed: give it or probes, found probes \(probes), too")
        }
        for (name, value) in [("probes", query.effort.probes), ("candidates", query.effort.candidates)] {
            if let value, value < 1 { throw ClusterError(.invalidArgument, "\(name) must be at least 1, found \(value)") }
        }
    }

    private func prepared(_ vector: [Float], for schema: CollectionSchema) throws(ClusterError) -> [Float] {
        do throws(ClusterError) { return try preparedVector(vector, for: schema) } catch { throw ClusterError(error.code, "query vector: \(error.message)") }
    }

    /// Whether gaps are to be borne: an error of the request itself is the request's, whoever noticed it.
    func requireUsable(_ gaps: [Coverage.Gap], of plan: CollectionPlan, partial: PartialPolicy) throws(ClusterError) {
        if let error = unusable(gaps, of: plan, partial: partial) { throw error }
    }

    /// Why gaps cannot be borne; `nil` if they can.
    func unusable(_ gaps: [Coverage.Gap], of plan: CollectionPlan, partial: PartialPolicy) -> ClusterError? {
        guard !gaps.isEmpty else { return nil }
        if Task.isCancelled { return ClusterError(.cancelled, "the caller went away") }
        if let gap = gaps.first(where: { [.invalidArgument, .unimplemented].contains($0.reason.code) }) { return gap.reason }
        guard partial == .fail || gaps.count == plan.targets.count else { return nil }
        let named = gaps.prefix(8).map { "shard \($0.shard.index) on node \($0.node): \($0.reason)" }
        let more = gaps.count > named.count ? "; and \(gaps.count - named.count) more" : ""
        return ClusterError(
            .unavailable, "\(plan.targets.count - gaps.count) of \(plan.targets.count) shards of \"\(plan.name)\" answered; "
                + named.joined(separator: "; ") + more)
    }

    /// - Parameter work: By place; that of shards with a gap is left out.
    func coverage(of plan: CollectionPlan, work: [SearchWork?], gaps: [Coverage.Gap], unverified: [Coverage.Unverified] = []) -> Coverage {
        var sum = SearchWork()
        let silent = Set(gaps.map(\.shard))
        for (target, work) in zip(plan.targets, work) where !silent.contains(target.shard) { if let work { sum += work } }
        for gap in gaps { sum.pointsHeld += gap.pointsLastKnown ?? 0 }
        return Coverage(
            shardsAsked: plan.targets.count, shardsAnswered: plan.targets.count - gaps.count, work: sum,
            gaps: gaps.sorted { $0.shard.index < $1.shard.index },
            unverified: unverified.filter { !silent.contains($0.shard) }.sorted { $0.shard.index < $1.shard.index })
    }

    func log(_ coverage: Coverage, of name: CollectionName, _ context: CallContext) {
        let reasons = coverage.gaps.prefix(8).map { "\($0.shard.index)@\($0.node): \($0.reason)" }.joined(separator: "; ")
        log(
            .warning, "answer is partial",
            [
                "collection": "\(name)", "shards": "\(coverage.shardsAnswered)/\(coverage.shardsAsked)", "gaps": "\(reasons)",
                "unreadable": "\(coverage.work.pointsUnreadable)",
            ], context)
    }
}

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
        try await search([query], in: name, context: context)[0]
    }

    /// The same for several queries: each gets the answer that it would get alone, but one that fails fails all.
    ///
    /// They go to the shards in groups, each with one call a shard for the hits and one for what is handed out of them.
    package func search(_ queries: [SearchQuery], in name: CollectionName, context: CallContext) async throws(ClusterError) -> [SearchAnswer] {
        let started = clock.now()
        let tenant = ("tenant", metrics.tenantLabel(context.tenant.rawValue))
        do throws(ClusterError) {
            for (number, query) in queries.enumerated() { try naming(number, of: queries) { () throws(ClusterError) in try checkBounds(query) } }
            let answers = try await search(groups(queries), of: queries, in: name, started: started, context: context)
            let seconds = metrics.histogram("covey_search_seconds", help: "Time of searches of collections.", labels: [tenant])
            for answer in answers { seconds.observe(answer.took) }
            let partial = answers.filter { !$0.coverage.isComplete }
            for (outcome, count) in [("complete", answers.count - partial.count), ("partial", partial.count)] where count > 0 {
                metrics.counter("covey_searches_total", help: "Searches of collections, by outcome.", labels: [tenant, ("outcome", outcome)]).add(count)
            }
            // One line a request: the answers of a batch lack the same shards.
            if let first = partial.first { log(first.coverage, of: name, context) }
            return answers
        } catch {
            metrics.counter("covey_searches_total", help: "Searches of collections, by outcome.", labels: [tenant, ("outcome", "failed")]).add(queries.count)
            throw error
        }
    }

    // MARK: - Groups

    /// Hits that shards return to the searches of one group, at most, unless it is one search: they are held in memory from each shard.
    private static let groupHits = 10_000
    /// Bytes of the vectors of a group. Reason: a shard computes for milliseconds on what arrives in one.
    private static let groupBytes = 512 << 10
    private static let groupSearches = 64
    /// Groups of one request at work at a time. Reason: so many cores of a shard are busy with it, and it has one request's place.
    private static let groupsAtOnce = 4

    /// Numbers of queries that travel together: they want the same of their points, under the same policy.
    private func groups(_ queries: [SearchQuery]) -> [[Int]] {
        struct Kind: Hashable {
            var payload: PayloadSelection
            var withVector: Bool
            var partial: PartialPolicy
        }
        var groups: [[Int]] = []
        var open: [Kind: (group: Int, hits: Int, bytes: Int)] = [:]
        for (number, query) in queries.enumerated() {
            let kind = Kind(payload: query.withPayload, withVector: query.withVector, partial: query.partial)
            // Of duplicates, deeper rounds ask for more.
            let (hits, bytes) = ((query.offset + query.limit) * (query.collapseDuplicates ? 8 : 1), query.vector.count * 4)
            if let last = open[kind], last.hits + hits <= Self.groupHits, last.bytes + bytes <= Self.groupBytes, groups[last.group].count < Self.groupSearches {
                groups[last.group].append(number)
                open[kind] = (last.group, last.hits + hits, last.bytes + bytes)
            } else {
                open[kind] = (groups.count, hits, bytes)
                groups.append([number])
            }
        }
        return groups
    }

    private func search(
        _ groups: [[Int]], of queries: [SearchQuery], in name: CollectionName, started: ContinuousClock.Instant, context: CallContext
    ) async throws(ClusterError) -> [SearchAnswer] {
        if groups.count == 1 { return try await search(groups[0], of: queries, in: name, started: started, context: context) }
        var answers = [SearchAnswer?](repeating: nil, count: queries.count)
        let failure = await withTaskGroup(of: (Int, Result<[SearchAnswer], ClusterError>).self) { tasks -> ClusterError? in
            for number in 0..<groups.count + Self.groupsAtOnce {
                if number >= Self.groupsAtOnce, let (done, result) = await tasks.next() {
                    switch result {
                    case .success(let found): for (query, answer) in zip(groups[done], found) { answers[query] = answer }
                    case .failure(let error):
                        tasks.cancelAll()
                        return error
                    }
                }
                guard number < groups.count else { continue }
                tasks.addTask {
                    let result: Result<[SearchAnswer], ClusterError>
                    do throws(ClusterError) {
                        result = .success(try await self.search(groups[number], of: queries, in: name, started: started, context: context))
                    } catch { result = .failure(error) }
                    return (number, result)
                }
            }
            return nil
        }
        if let failure { throw failure }
        return answers.map { $0! }
    }

    private func search(
        _ group: [Int], of all: [SearchQuery], in name: CollectionName, started: ContinuousClock.Instant, context: CallContext
    ) async throws(ClusterError) -> [SearchAnswer] {
        let queries = group.map { all[$0] }
        let partial = queries[0].partial
        var plan = try await plan(of: name, context: context)
        let end = deadline(context, configuration.readTimeout)
        let margin = min(configuration.mergeMargin, started.duration(to: end) / 4)
        // Many take longer than one: they are late by what many take.
        let fanOut = fanOut(queries.count == 1 ? "search" : "search_many", of: plan, context, deadline: end - margin, partial: partial)

        for _ in 0..<Self.splitRounds {
            var vectors: [[Float]] = []
            for number in group {
                vectors.append(try naming(number, of: all) { () throws(ClusterError) in try prepared(all[number].vector, for: plan.schema) })
            }
            let found = await nearest(queries, vectors, plan, fanOut)
            // Gaps are those of whole shards: in the last round, of all searches that were in it.
            if let fresh = try await renewed(plan, found.flatMap(\.gaps), context) {
                plan = fresh
                continue
            }
            for found in found { try requireUsable(found.gaps, of: plan, partial: partial) }

            let winners = await fetchWinners(
                found, queries, plan, fanOut: self.fanOut("fetch", of: plan, context, deadline: end, partial: partial))
            if let divided = divided(plan, after: winners.flatMap(\.gaps).map { ($0.shard, $0.reason) }) {
                plan = divided
                continue
            }
            var answers: [SearchAnswer] = []
            for (query, (found, winners)) in zip(queries, zip(found, winners)) {
                // A shard that found hits and then could not hand them out has not answered.
                let missing = found.gaps + winners.gaps.filter { gap in !found.gaps.contains { $0.shard == gap.shard } }
                try requireUsable(missing, of: plan, partial: partial)
                let gaps = judged(missing, query, found.search.vector, winners.hits, plan)
                let coverage = coverage(of: plan, work: found.work, gaps: gaps, unverified: found.unverified)
                let explanations = await explain(query, plan, found, winners.hits, fanOut: self.fanOut("explain", of: plan, context, deadline: end))
                answers.append(SearchAnswer(
                    hits: winners.hits, coverage: coverage, superseded: winners.superseded, took: started.duration(to: clock.now()), explanations: explanations))
            }
            return answers
        }
        throw ClusterError(.aborted, "the shards of \"\(name)\" keep splitting")
    }

    /// Another plan, if the gaps show that this one is out of date: shards were split, or the collection was dropped and made anew.
    private func renewed(_ plan: CollectionPlan, _ gaps: [Coverage.Gap], _ context: CallContext) async throws(ClusterError) -> CollectionPlan? {
        if let divided = divided(plan, after: gaps.map { ($0.shard, $0.reason) }) { return divided }
        guard gaps.contains(where: { $0.reason.code == .notFound }) else { return nil }
        return try await replan(plan, context: context)
    }

    // MARK: - Bounds and coverage

    /// Says which one of several queries an error is of.
    private func naming<Value>(_ number: Int, of queries: [SearchQuery], _ body: () throws(ClusterError) -> Value) throws(ClusterError) -> Value {
        do throws(ClusterError) { return try body() } catch {
            guard queries.count > 1 else { throw error }
            throw ClusterError(error.code, "searches[\(number)]: \(error.message)")
        }
    }

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
            unverified: unverified.sorted { $0.shard.index < $1.shard.index })
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

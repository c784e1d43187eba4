import Model

extension Coordinator {
    /// The points with these ids that exist, in the order asked.
    ///
    /// - Throws: `notFound` if there is no such collection; `unavailable` if a shard that keeps some of them did not answer,
    ///   since then a missing point would look like one that does not exist.
    package func retrieve(
        _ ids: [PointID], from name: CollectionName, withPayload: PayloadSelection = .all, withVector: Bool = false, context: CallContext
    ) async throws(ClusterError) -> [StoredPoint] {
        guard ids.count <= configuration.maximumBatchPoints else {
            throw ClusterError(.invalidArgument, "a batch may have \(configuration.maximumBatchPoints) ids, found \(ids.count)")
        }
        return try await onCurrentPlan(of: name, context: context) { (plan) throws(ClusterError) -> (Result<[StoredPoint], ClusterError>, [Coverage.Gap]) in
            let byShard = Dictionary(grouping: ids, by: plan.place(of:))
            let targets = byShard.keys.sorted().map { plan.targets[$0] }
            let fanOut = fanOut("fetch", of: plan, context, deadline: deadline(context, configuration.readTimeout))
            let replies = await fanOut.ask(targets) { (target, context) throws(ClusterError) -> FetchReply in
                let selection = FetchRequest.Selection.ids(byShard[target.place]!)
                let request = FetchRequest(shard: target.shard, selection: selection, withPayload: withPayload, withVector: withVector)
                return try await target.service.fetch(request, context: context)
            }
            let gaps = self.gaps(targets, replies, plan)
            if let error = unusable(gaps, of: plan, partial: .fail) { return (.failure(error), gaps) }
            var points: [PointID: StoredPoint] = [:]
            for case .success(let reply) in replies {
                for point in reply.points { points[point.id] = point }
            }
            return (.success(ids.compactMap { points[$0] }), gaps)
        }
    }

    /// The points of all shards in the order of ids, from `from` on (inclusive).
    ///
    /// - Parameter limit: 1…``CoordinatorConfiguration/maximumLimit``.
    /// - Throws: as ``search(_:in:context:)``.
    package func scroll(
        _ name: CollectionName, from: PointID? = nil, limit: Int, filter: Filter? = nil, withPayload: PayloadSelection = .all,
        withVector: Bool = false, partial: PartialPolicy = .degrade, context: CallContext
    ) async throws(ClusterError) -> ScrollPage {
        guard (1...configuration.maximumLimit).contains(limit) else {
            throw ClusterError(.invalidArgument, "limit must be 1…\(configuration.maximumLimit), found \(limit)")
        }
        let page = try await onCurrentPlan(of: name, context: context) { (plan) throws(ClusterError) -> (Result<ScrollPage, ClusterError>, [Coverage.Gap]) in
            let fanOut = fanOut("fetch", of: plan, context, deadline: deadline(context, configuration.readTimeout), partial: partial)
            var merge = ScrollMerge(shardCount: plan.targets.count, from: from, limit: limit)
            while case .fetch(let wanted) = merge.next() {
                let replies = await fanOut.ask(wanted.map { plan.targets[$0.place] }) { (target, context) throws(ClusterError) -> FetchReply in
                    let part = wanted.first { $0.place == target.place }!
                    let selection = FetchRequest.Selection.page(from: part.from, limit: part.limit, filter: filter)
                    let request = FetchRequest(shard: target.shard, selection: selection, withPayload: withPayload, withVector: withVector)
                    return try await target.service.fetch(request, context: context)
                }
                for (part, result) in zip(wanted, replies) { merge.take(result.map(\.points), for: part) }
            }
            let gaps = merge.failures.map { plan.gap(plan.targets[$0.key], $0.value) }
            if let error = unusable(gaps, of: plan, partial: partial) { return (.failure(error), gaps) }
            let coverage = coverage(of: plan, work: [], gaps: gaps, unverified: unverified(fanOut))
            return (.success(ScrollPage(points: merge.page, next: merge.following, coverage: coverage)), gaps)
        }
        if !page.coverage.isComplete { log(page.coverage, of: name, context) }
        return page
    }

    /// How many points pass the filter, exactly, in the shards that answered.
    ///
    /// - Throws: as ``search(_:in:context:)``.
    package func count(
        _ name: CollectionName, filter: Filter? = nil, partial: PartialPolicy = .degrade, context: CallContext
    ) async throws(ClusterError) -> (count: Int, coverage: Coverage) {
        try await onCurrentPlan(of: name, context: context) { (plan) throws(ClusterError) -> (Result<(count: Int, coverage: Coverage), ClusterError>, [Coverage.Gap]) in
            let filter = filter?.isEmpty == true ? nil : filter
            let fanOut = fanOut("count", of: plan, context, deadline: deadline(context, configuration.readTimeout), partial: partial)
            let replies = await fanOut.ask(plan.targets) { (target, context) throws(ClusterError) -> CountReply in
                try await target.service.count(CountRequest(shard: target.shard, filter: filter), context: context)
            }
            let gaps = self.gaps(plan.targets, replies, plan)
            if let error = unusable(gaps, of: plan, partial: partial) { return (.failure(error), gaps) }
            var total = 0
            var work = [SearchWork?](repeating: nil, count: plan.targets.count)
            for (target, result) in zip(plan.targets, replies) {
                guard case .success(let reply) = result else { continue }
                total += reply.count
                if filter == nil { plan.note(points: reply.count, in: target.shard) }
                work[target.place] = SearchWork(pointsHeld: plan.pointsLastKnown(in: target.shard) ?? 0)
            }
            let coverage = coverage(of: plan, work: work, gaps: gaps, unverified: unverified(fanOut))
            if !coverage.isComplete { log(coverage, of: name, context) }
            return (.success((total, coverage)), gaps)
        }
    }

    // MARK: -

    /// Runs a read, and again if its shards are gone because they were split, or the collection was dropped and made anew meanwhile.
    ///
    /// - Parameter read: Throws only once it has told of its gaps, so that those that were split are found.
    private func onCurrentPlan<Answer>(
        of name: CollectionName, context: CallContext,
        _ read: (CollectionPlan) async throws(ClusterError) -> (Result<Answer, ClusterError>, [Coverage.Gap])
    ) async throws(ClusterError) -> Answer {
        var plan = try await plan(of: name, context: context)
        for _ in 0..<Self.splitRounds {
            let (result, gaps) = try await read(plan)
            if let divided = divided(plan, after: gaps.map { ($0.shard, $0.reason) }) {
                plan = divided
                continue
            }
            if gaps.contains(where: { $0.reason.code == .notFound }), let fresh = try await replan(plan, context: context) {
                plan = fresh
                continue
            }
            return try result.get()
        }
        throw ClusterError(.aborted, "the shards of \"\(name)\" keep splitting")
    }

    private func unverified(_ fanOut: FanOut) -> [Coverage.Unverified] {
        fanOut.unverified.all.map { Coverage.Unverified(shard: $0.key, reason: $0.value, position: nil, age: nil) }
    }

    private func gaps<Reply>(_ targets: [ShardTarget], _ replies: [Result<Reply, ClusterError>], _ plan: CollectionPlan) -> [Coverage.Gap] {
        zip(targets, replies).compactMap { target, result in
            if case .failure(let error) = result { plan.gap(target, error) } else { nil }
        }
    }
}

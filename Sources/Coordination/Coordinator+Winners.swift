import Model

/// The hits of one search that are handed out.
struct Winners {
    var hits: [ScoredPoint] = []
    var superseded = 0
    var gaps: [Coverage.Gap] = []
    /// Candidates for the places that are left.
    fileprivate var rest: ArraySlice<RankedHit>
    /// Of the last round.
    fileprivate var wanted: [RankedHit] = []
}

extension Coordinator {
    /// Hands out the first candidates of each query up to its limit, each in the version that was scored.
    ///
    /// Those that were overwritten or deleted meanwhile are left out, and the next candidates take their places.
    ///
    /// - Parameter queries: All want the same of their points.
    func fetchWinners(_ found: [Found], _ queries: [SearchQuery], _ plan: CollectionPlan, fanOut: FanOut) async -> [Winners] {
        let (payload, withVector) = (queries[0].withPayload, queries[0].withVector)
        var winners = zip(found, queries).map { Winners(rest: $0.hits.dropFirst($1.offset)) }
        guard payload != .none || withVector else {
            for (index, query) in queries.enumerated() {
                winners[index].hits = winners[index].rest.prefix(query.limit).map {
                    ScoredPoint(point: StoredPoint(id: $0.hit.id, version: $0.hit.version), score: $0.hit.score)
                }
            }
            return winners
        }
        var found = found
        for index in found.indices { found[index].take(found[index].hits[...]) }
        // By place: shards that did not hand out what some of the searches wanted are not asked again.
        var silent: [Int: Coverage.Gap] = [:]
        // Each round uses candidates up.
        while !Task.isCancelled {
            var byShard: [Int: [PointVersion]] = [:]
            var seen: Set<PointVersion> = []
            for (index, query) in queries.enumerated() {
                winners[index].choose(query, from: &found[index], plan, without: silent)
                for candidate in winners[index].wanted {
                    let point = PointVersion(candidate.hit)
                    if seen.insert(point).inserted { byShard[candidate.place, default: []].append(point) }
                }
            }
            guard !byShard.isEmpty else { break }
            let targets = byShard.keys.sorted().map { plan.targets[$0] }
            let replies = await fanOut.ask(targets) { [byShard] (target, context) throws(ClusterError) -> FetchReply in
                let request = FetchRequest(
                    shard: target.shard, selection: .versions(byShard[target.place]!), withPayload: payload, withVector: withVector)
                return try await target.service.fetch(request, context: context)
            }
            var points: [PointVersion: StoredPoint] = [:]
            for (target, result) in zip(targets, replies) {
                switch result {
                case .success(let reply):
                    for point in reply.points { points[PointVersion(id: point.id, version: point.version)] = point }
                case .failure(let error):
                    silent[target.place] = plan.gap(target, ClusterError(error.code, "fetching payloads: \(error.message)", successor: error.successor))
                }
            }
            for index in winners.indices { winners[index].take(points, silent) }
        }
        return winners
    }
}

extension Winners {
    /// Puts into ``wanted`` as many candidates as there are places left.
    ///
    /// - Parameter silent: Shards that are not asked: one that has a candidate for one of the places is a gap.
    fileprivate mutating func choose(_ query: SearchQuery, from found: inout Found, _ plan: CollectionPlan, without silent: [Int: Coverage.Gap]) {
        let places = query.limit - hits.count
        wanted = []
        while wanted.count < places {
            if rest.isEmpty, wanted.isEmpty, !gaps.isEmpty, !query.collapseDuplicates {
                // The spare ones were not enough for the places of whole shards.
                rest = found.rest(without: Set(gaps.map(\.shard)), plan)[...]
            }
            guard let candidate = rest.popFirst() else { break }
            if let gap = silent[candidate.place] { add(gap) } else { wanted.append(candidate) }
        }
    }

    private mutating func add(_ gap: Coverage.Gap) {
        if !gaps.contains(where: { $0.shard == gap.shard }) { gaps.append(gap) }
    }

    /// - Parameter silent: Of the shards that were asked and said nothing, by place.
    fileprivate mutating func take(_ points: [PointVersion: StoredPoint], _ silent: [Int: Coverage.Gap]) {
        for candidate in wanted {
            if let point = points[PointVersion(candidate.hit)] {
                hits.append(ScoredPoint(point: point, score: candidate.hit.score))
            } else if let gap = silent[candidate.place] {
                add(gap)
            } else {
                superseded += 1
            }
        }
    }
}

extension PointVersion {
    fileprivate init(_ hit: Hit) { self.init(id: hit.id, version: hit.version) }
}

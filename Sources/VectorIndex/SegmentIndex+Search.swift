import Model
import VectorMath

extension SegmentIndex {
    /// Admitted rows up to which a search scores all of them exactly: about the cost of a search by code.
    package static let defaultExactThreshold = 2_000

    /// The best rows: codes choose candidates in the lists nearest to the query, bytes choose among those, full vectors
    /// decide.
    ///
    /// - Parameters:
    ///   - query: `[dimension]`, finite; of unit length if the metric is cosine.
    ///   - limit: Hits wanted.
    ///   - effort: The recall to aim at, or lists probed and candidates by code; what is `nil` is chosen by the segment's
    ///     calibration. A filter that admits little makes the search probe more lists than asked.
    ///   - exactBelow: Up to this many admitted rows are all scored exactly.
    ///   - admits: Rows that may be hits; `nil` for all.
    ///   - precedes: Which of two rows with equal scores ranks first. Default: the smaller row.
    ///   - shouldStop: Asked every few tens of microseconds of work.
    package func search(
        _ query: Span<Float>, limit: Int, effort: SearchEffort = SearchEffort(), exactBelow: Int = SegmentIndex.defaultExactThreshold,
        admits: RowBitmap? = nil, scratch: inout SearchScratch, precedes: (Int, Int) -> Bool = { $0 < $1 }, shouldStop: () -> Bool = { false }
    ) -> SegmentSearchResult {
        let admittedCount = admits?.count ?? count
        guard limit > 0, admittedCount > 0 else { return SegmentSearchResult() }
        if effort.exact || effort.targetRecall ?? 0 >= 1 || admittedCount <= exactBelow {
            return compareAll(
                query, limit: limit, admits: admits, of: admittedCount, scratch: &scratch, precedes: precedes, shouldStop: shouldStop)
        }
        let plan = SearchPlan(effort, limit: limit, index: self, admitted: admittedCount)
        return search(query, limit: limit, plan, admits: admits, of: admittedCount, scratch: &scratch, precedes: precedes, shouldStop: shouldStop)
    }

    /// - Parameter admitted: How many rows are; `nil`: not counted yet.
    func search(
        _ query: Span<Float>, limit: Int, _ plan: SearchPlan, admits: RowBitmap?, of admitted: Int? = nil, scratch: inout SearchScratch,
        precedes: (Int, Int) -> Bool = { $0 < $1 }, shouldStop: () -> Bool = { false }
    ) -> SegmentSearchResult {
        check(query, admits)
        var result = SegmentSearchResult()
        result.byCode = true
        let prepared = prepare(query, scratch: &scratch)
        var pool = CandidatePool(keep: plan.candidates, storage: scratch.candidates, hasTwins: rows.hasTwins, kernels: kernels)
        scratch.candidates = []
        defer { scratch.candidates = pool.storage }
        result.stopped = !scanLists(prepared, limit: limit, plan, admits: admits, pool: &pool, scratch: &scratch, result: &result, shouldStop: shouldStop)
            || !chooseCandidates(prepared, limit: limit, plan, admits: admits, pool: &pool, scratch: &scratch, result: &result, shouldStop: shouldStop)
        if result.stopped { return result }
        if !result.byCode {
            var exact = compareAll(
                query, limit: limit, admits: admits, of: admitted ?? admits?.count ?? count, scratch: &scratch, precedes: precedes, shouldStop: shouldStop)
            (exact.listsScanned, exact.codesScanned) = (result.listsScanned, result.codesScanned)
            return exact
        }
        var best = Best(limit: limit, metric: metric, storage: &scratch.hits)
        result.stopped = !rescore(scratch.chosen, query, scores: &scratch.scores, into: &best, precedes: precedes, shouldStop: shouldStop)
        result.rescored = scratch.chosen.count
        best.finish(precedes, into: &scratch.hits)
        if !result.stopped {
            result.hits = scratch.hits
            result.recall = plan.recall
        }
        return result
    }

    /// What the tiers need to know of a query.
    struct PreparedQuery {
        /// w, see ``Tier``.
        var weight: Float
        var norm: Float
    }

    func prepare(_ query: Span<Float>, scratch: inout SearchScratch) -> PreparedQuery {
        if scratch.query.count != dimension { scratch.query = [Float](repeating: 0, count: dimension) }
        let origin = origin
        scratch.byteQuery.set(query, less: origin.span, difference: &scratch.query, kernels: kernels)
        let norm = kernels.dot(scratch.query.span, scratch.query.span).squareRoot()
        scratch.norm = norm
        return PreparedQuery(weight: metric == .dot ? norm : 1, norm: norm)
    }

    /// Offers the rows of the most promising lists to the pool, as far as the plan says.
    ///
    /// Lists are taken best first, each time at most as many as were before, so that what was found decides how far to go.
    ///
    /// - Returns: `false` if the caller stopped it.
    private func scanLists(
        _ query: PreparedQuery, limit: Int, _ plan: SearchPlan, admits: RowBitmap?, pool: inout CandidatePool, scratch: inout SearchScratch,
        result: inout SegmentSearchResult, shouldStop: () -> Bool
    ) -> Bool {
        var ranking = ListRanking()
        defer { scratch.ranking = ranking }
        guard rankLists(regions: plan.leastRegions, within: plan.regionMargin, query, &ranking, scratch: &scratch, shouldStop: shouldStop) else { return false }
        rankByBytes(above: -.infinity, atMost: plan.rankedLists, query, &ranking, scratch: &scratch)
        let best = scratch.listKeys[..<ranking.ranked].max().map(RankKey.floatScore) ?? 0
        rows.fill(&scratch.rowTables, for: scratch.query, weight: query.weight, reference: best, floats: &scratch.tableFloats, kernels: kernels)
        var (rowsSeen, admittedSeen) = (0, 0)
        while true {
            // What is left of the lists is near enough from this similarity on.
            var bound = -Float.infinity
            if result.listsScanned >= plan.leastLists && admittedSeen >= plan.admittedRows {
                guard let margin = plan.margin(
                    after: result.listsScanned, limit: limit, seen: rowsSeen, admitted: admits == nil ? nil : admittedSeen, index: self)
                else { return true }
                if let worst = pool.score(ofRank: limit, copy: &scratch.rowKeys, &scratch.seen) {
                    let found = scratch.rowTables.similarity(worst)
                    bound = found - margin * gapUnit(query.norm)
                    // What is worse than the candidates will be when all is scanned is none.
                    if let step = plan.step { pool.refuse(below: scratch.rowTables.key(found - step.codeMargin * gapUnit(query.norm))) }
                    if plan.isFiltered, let step = plan.step, flattery(limit, query, scratch: &scratch) > 2 * step.flattery * gapUnit(query.norm) {
                        result.byCode = false
                        return true
                    }
                }
                if bound.isNaN { bound = -.infinity }
            }
            let near = gatherLists(above: bound, &ranking, scratch: &scratch)
            // With what is near as things stand, where there is something to tell by.
            let ahead = bound > -.infinity ? near * count / listCount : 0
            if admits != nil && Self.work(lists: ranking.considered, rows: rowsSeen + ahead) > plan.allowedWork(seen: rowsSeen, admitted: admittedSeen) {
                result.byCode = false
                return true
            }
            if near == 0 {
                if rankByBytes(above: bound, atMost: max(plan.rankedLists, ranking.ranked), query, &ranking, scratch: &scratch) > 0 { continue }
                // Regions that were left out are near enough where too little was found, or only what is far: nothing nearer is admitted, or much
                // is wanted. They are a coarse ranking: where many lists are near, some may be in regions that are not.
                let isMeasured = !plan.isFiltered && limit <= Calibrator.mostHits
                let areFar = isMeasured || ranking.nextRegion < bound && 2 * ranking.ranked < ranking.considered
                if ranking.regions == regions.count || (bound > -.infinity && areFar) { return true }
                guard rankLists(regions: 4 * ranking.regions, within: plan.regionMargin, query, &ranking, scratch: &scratch, shouldStop: shouldStop)
                else { return false }
                continue
            }
            var wanted = plan.isFixed && result.listsScanned < plan.leastLists ? plan.leastLists - result.listsScanned : .max
            if bound > -.infinity {
                wanted = plan.mostLists - result.listsScanned
                if wanted <= 0 { return true }
            }
            let next = min(near, wanted, max(Self.firstLists, result.listsScanned))
            if next < near { keepLargest(next, ofNext: near, from: ranking.scanned, in: &scratch.listKeys) }
            let taken = spansOfLists(ranking.scanned..<ranking.scanned + next, admits, query, scratch: &scratch)
            rowsSeen += taken.rows
            admittedSeen += taken.admitted
            guard rows.scan(scratch.spans, scratch.rowTables, admits: admits, pool: &pool, kernels: kernels, shouldStop: shouldStop) else { return false }
            ranking.scanned += next
            result.listsScanned += next
        }
    }

    /// How far codes put the first `limit` of `scratch.rowKeys` above what their bytes give, on average. Where a filter leaves very many rows that are about
    /// equally far, those that are best by code are those that codes flatter.
    private func flattery(_ limit: Int, _ query: PreparedQuery, scratch: inout SearchScratch) -> Float {
        // Both sums are exact, whatever the order of the keys: integers, and floats of similar size in twice as many bits.
        var (scores, similarities) = (0, 0.0)
        for index in 0..<limit { scores += Int(RankKey.score(scratch.rowKeys[index])) }
        rows.score(&scratch.rowKeys, 0..<limit, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        for index in 0..<limit { similarities += Double(RankKey.floatScore(scratch.rowKeys[index])) }
        return scratch.rowTables.similarity(mean: Double(scores) / Double(limit)) - Float(similarities / Double(limit))
    }

    /// Lists that are scanned before anything is decided by what they hold.
    static let firstLists = 8

    /// What was done so far in nanoseconds, roughly.
    private static func work(lists: Int, rows: Int) -> Int { 20 * lists + 3 * rows }

    /// Candidates above which all rows are scored rather.
    private static let mostCandidates = 1 << 16

    /// Puts the rows of some of the ranked lists into `scratch.spans`, with the base that their codes are scored from.
    ///
    /// - Returns: How many rows they hold, and how many admitted ones; those that are in a second list are counted in their first.
    func spansOfLists(_ ranked: Range<Int>, _ admits: RowBitmap?, _ query: PreparedQuery, scratch: inout SearchScratch) -> (rows: Int, admitted: Int) {
        scratch.spans.removeAll(keepingCapacity: true)
        var (seen, admittedSeen) = (0, 0)
        let shift = query.weight - Tier.rowBias(metric)
        for rank in ranked {
            let key = scratch.listKeys[rank]
            let list = Int(RankKey.row(key))
            let children = rows.children(of: list)
            seen += children.count
            let admitted = admits.map { $0.count(in: children) } ?? children.count
            admittedSeen += admitted
            rows.add(list, own: admitted > 0, similarity: RankKey.floatScore(key) + shift * lists.bias(list), scratch.rowTables, to: &scratch.spans)
        }
        return (seen, admittedSeen)
    }

    /// Leaves in `scratch.chosen` the rows that may be hits: of those near enough by their codes, what their bytes say.
    ///
    /// - Parameter result: `byCode` becomes false if so many rows are about equally near that all had better be scored.
    /// - Returns: `false` if the caller stopped it.
    private func chooseCandidates(
        _ query: PreparedQuery, limit: Int, _ plan: SearchPlan, admits: RowBitmap?, pool: inout CandidatePool, scratch: inout SearchScratch,
        result: inout SegmentSearchResult, shouldStop: () -> Bool
    ) -> Bool {
        result.codesScanned = pool.scanned
        guard result.byCode, let step = plan.step, let worst = pool.score(ofRank: limit, copy: &scratch.rowKeys, &scratch.seen) else {
            pool.finish()
            scratch.candidateCount = pool.count
            _ = choose(pool, limit: limit, atMost: plan.step == nil ? plan.candidates / rows.copies : nil, query, scratch: &scratch)
            return true
        }
        let unit = gapUnit(query.norm)
        let scannedOnce = pool.scanned
        let byCode = scratch.rowTables.similarity(worst)
        var bound = scratch.rowTables.key(byCode - step.codeMargin * unit)
        for isFirst in [true, false] {
            if !isFirst || pool.lost > bound {
                // Rows that were let go may be as near. Whether any were depends on the order in which lists were scanned, which is not the same everywhere: so at least as many
                // are kept as at first, and what comes of it is the same whether there was a second scan or none.
                let most = max(pool.keep, rows.copies * limit, min(Self.mostCandidates, (admits?.count ?? count) / 8))
                pool = CandidatePool(
                    keep: most, storage: pool.storage, floor: max(RankKey.score(bound), .min + 1) - 1, hasTwins: rows.hasTwins, kernels: kernels)
                _ = spansOfLists(0..<scratch.ranking.scanned, admits, query, scratch: &scratch)
                guard rows.scan(scratch.spans, scratch.rowTables, admits: admits, pool: &pool, kernels: kernels, shouldStop: shouldStop) else { return false }
                result.codesScanned += pool.scanned
                if pool.lost > 0 {
                    result.byCode = false
                    return true
                }
            } else {
                pool.refuse(below: bound)
            }
            scratch.candidateCount = pool.count
            let byBytes = choose(pool, limit: limit, query, scratch: &scratch)
            // Of very many rows about equally near the best by code are those whose codes flatter them: then the others may be as near.
            guard isFirst, let byBytes, byCode - byBytes > 2 * step.flattery * unit else { return true }
            // Nor are bytes enough to tell them apart where a filter leaves only what is far: then a good part of that work has been done.
            if plan.isFiltered && Self.work(lists: scratch.ranking.considered, rows: scannedOnce) > plan.mostWork / 3 {
                result.byCode = false
                return true
            }
            bound = scratch.rowTables.key(byBytes - step.codeMargin * unit)
        }
        return true
    }

    /// Leaves in `scratch.chosen` the candidates that may be hits by what their bytes say.
    ///
    /// - Parameter most: Rows that are looked at, those best by code; `nil`: all.
    /// - Returns: The similarity by bytes of the `limit`-th best; `nil` if there are no more candidates than that.
    private func choose(_ pool: CandidatePool, limit: Int, atMost most: Int? = nil, _ query: PreparedQuery, scratch: inout SearchScratch) -> Float? {
        scratch.chosen.removeAll(keepingCapacity: true)
        if let most {
            let rows = pool.copyBest(most, into: &scratch.rowKeys, &scratch.seen).rows
            scratch.rowKeys.removeLast(scratch.rowKeys.count - rows)
        } else {
            scratch.rowKeys.removeAll(keepingCapacity: true)
            pool.copyOnce(into: &scratch.rowKeys, &scratch.seen)
        }
        rows.score(&scratch.rowKeys, 0..<scratch.rowKeys.count, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        guard limit < scratch.rowKeys.count else {
            for key in scratch.rowKeys { scratch.chosen.append(RankKey.row(key)) }
            return nil
        }
        let worst = keepLargest(limit, in: &scratch.rowKeys)
        // The errors of rounding query and rows are sums of many small ones, so nearly normal: three standard deviations.
        var widest: Float = 0
        for index in 0..<limit { widest = max(widest, rows.scale(Int(RankKey.row(scratch.rowKeys[index])))) }
        let deviation = ((query.norm * widest) * (query.norm * widest) + (norm * scratch.byteQuery.scale) * (norm * scratch.byteQuery.scale)) / 12
        let margin = 3 * deviation.squareRoot()
        let bound = RankKey.floatScore(worst) - margin
        for key in scratch.rowKeys where !(RankKey.floatScore(key) < bound) { scratch.chosen.append(RankKey.row(key)) }
        return RankKey.floatScore(worst)
    }
}

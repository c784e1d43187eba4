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
    ///   - effort: Lists probed and candidates by code; what is `nil` is chosen by the segment's size and `limit`.
    ///     A filter that admits little makes the search probe more lists than asked.
    ///   - exactBelow: Up to this many admitted rows are all scored exactly.
    ///   - admits: Rows that may be hits; `nil` for all.
    ///   - precedes: Which of two rows with equal scores ranks first. Default: the smaller row.
    ///   - shouldStop: Asked every few tens of microseconds of work.
    package func search(
        _ query: Span<Float>, limit: Int, effort: SearchEffort = SearchEffort(), exactBelow: Int = SegmentIndex.defaultExactThreshold,
        admits: RowBitmap? = nil, scratch: inout SearchScratch, precedes: (Int, Int) -> Bool = { $0 < $1 }, shouldStop: () -> Bool = { false }
    ) -> SegmentSearchResult {
        check(query, admits)
        let admittedCount = admits?.count ?? count
        guard limit > 0, admittedCount > 0 else { return SegmentSearchResult() }
        if effort.exact || admittedCount <= exactBelow {
            return searchExactly(query, limit: limit, admits: admits, scratch: &scratch, precedes: precedes, shouldStop: shouldStop)
        }
        let plan = SearchPlan(effort, limit: limit, index: self, admitted: admittedCount)
        var result = SegmentSearchResult()
        result.byCode = true
        let prepared = prepare(query, scratch: &scratch)
        var pool = CandidatePool(keep: plan.candidates, storage: scratch.candidates, kernels: kernels)
        scratch.candidates = []
        defer { scratch.candidates = pool.storage }

        var probes = plan.probes
        var seen = 0
        var round = 0
        while true {
            guard rankLists(probes, prepared, scratch: &scratch, result: &result, shouldStop: shouldStop) else { break }
            if round == 0 {
                let best = scratch.listKeys.max().map(RankKey.floatScore) ?? 0
                rows.fill(
                    &scratch.rowTables, for: scratch.query, weight: prepared.weight, reference: best,
                    floats: &scratch.tableFloats, kernels: kernels)
            }
            seen += spansOfLists(admits, prepared, again: round > 0, scratch: &scratch)
            guard rows.scan(
                scratch.spans, scratch.rowTables, admits: admits, pool: &pool, kernels: kernels, shouldStop: shouldStop)
            else {
                result.stopped = true
                break
            }
            if seen >= plan.admittedRows || probes == listCount { break }
            probes = min(listCount, 2 * probes)
            round += 1
        }
        result.codesScanned = pool.scanned
        if result.stopped { return result }
        pool.finish()
        choose(pool, limit: limit, prepared, scratch: &scratch)
        return withoutActuallyEscaping(precedes) { precedes in
            var best = Best(limit: limit, metric: metric, precedes: precedes)
            result.stopped = !rescore(scratch.chosen, query, scores: &scratch.scores, into: &best, shouldStop: shouldStop)
            result.rescored = scratch.chosen.count
            if !result.stopped { result.hits = best.hits() }
            return result
        }
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
        return PreparedQuery(weight: metric == .dot ? norm : 1, norm: norm)
    }

    /// Leaves the keys of the `probes` most promising lists in `scratch.listKeys`, the best few of them first.
    ///
    /// - Returns: `false` if the caller stopped it.
    private func rankLists(
        _ probes: Int, _ query: PreparedQuery, scratch: inout SearchScratch, result: inout SegmentSearchResult, shouldStop: () -> Bool
    ) -> Bool {
        regions.score(&scratch.regionKeys, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        // The regions that hold several times the lists wanted; of their lists codes choose twice as many as wanted.
        let considered = probes == listCount ? listCount : max(Self.considered * probes, Self.consideredRegions * listCount / regions.count)
        let regionCount = min(regions.count, considered * regions.count / listCount + 1)
        if regionCount < regions.count { keepLargest(regionCount, in: &scratch.regionKeys) }

        let keep = 2 * probes + 16
        let byCode = keep < considered
        scratch.spans.removeAll(keepingCapacity: true)
        scratch.listKeys.removeAll(keepingCapacity: true)
        if byCode {
            var reference = -Float.infinity
            for index in 0..<regionCount { reference = max(reference, RankKey.floatScore(scratch.regionKeys[index])) }
            lists.fill(&scratch.listTables, for: scratch.query, weight: query.weight, reference: reference, floats: &scratch.tableFloats, kernels: kernels)
            for index in 0..<regionCount {
                let key = scratch.regionKeys[index]
                lists.add(lists.children(of: Int(RankKey.row(key))), parent: RankKey.floatScore(key), scratch.listTables, to: &scratch.spans)
            }
            var pool = CandidatePool(keep: keep, storage: scratch.rowKeys, kernels: kernels)
            scratch.rowKeys = []
            defer { scratch.rowKeys = pool.storage }
            guard lists.scan(scratch.spans, scratch.listTables, admits: nil, pool: &pool, kernels: kernels, shouldStop: shouldStop) else {
                result.stopped = true
                return false
            }
            pool.finish()
            scratch.listKeys.append(contentsOf: pool.storage[..<pool.count])
        } else {
            for index in 0..<regionCount {
                for list in lists.children(of: Int(RankKey.row(scratch.regionKeys[index]))) {
                    scratch.listKeys.append(RankKey.make(Int32(0), UInt32(list)))
                }
            }
        }
        lists.score(&scratch.listKeys, count: scratch.listKeys.count, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        if scratch.listKeys.count > probes {
            keepLargest(probes, in: &scratch.listKeys)
            scratch.listKeys.removeLast(scratch.listKeys.count - probes)
        }
        // The best first, so that the bound rises early; the order of the others does not matter.
        if scratch.listKeys.count > Self.firstLists { keepLargest(Self.firstLists, in: &scratch.listKeys) }
        return true
    }

    private func keepLargest(_ keep: Int, in keys: inout [UInt64]) {
        let count = keys.count
        var span = keys.mutableSpan
        kernels.keepLargest(keep, ofFirst: count, in: &span)
    }

    /// Lists whose codes are looked at for each list probed, and regions at least.
    private static let considered = 8
    private static let consideredRegions = 4
    private static let firstLists = 16

    /// Puts the rows of the ranked lists into `scratch.spans`, with the base that their codes are scored from.
    ///
    /// - Parameter again: Lists of earlier rounds of this search are left out.
    /// - Returns: How many admitted rows they hold.
    func spansOfLists(
        _ admits: RowBitmap?, _ query: PreparedQuery, again: Bool, scratch: inout SearchScratch
    ) -> Int {
        scratch.spans.removeAll(keepingCapacity: true)
        var seen = 0
        let shift = query.weight - Tier.rowBias(metric)
        if admits != nil {
            SearchScratch.grow(&scratch.visited, to: listCount, filler: 0)
            if !again { scratch.visit &+= 1 }
        }
        for key in scratch.listKeys {
            let list = Int(RankKey.row(key))
            let children = rows.children(of: list)
            if let admits {
                guard scratch.visited[list] != scratch.visit else { continue }
                scratch.visited[list] = scratch.visit
                let admitted = admits.count(in: children)
                guard admitted > 0 else { continue }
                seen += admitted
            } else {
                seen += children.count
            }
            rows.add(children, parent: RankKey.floatScore(key) + shift * lists.bias(list), scratch.rowTables, to: &scratch.spans)
        }
        return seen
    }

    /// Leaves in `scratch.chosen` the candidates that may be hits by what their bytes say.
    private func choose(_ pool: CandidatePool, limit: Int, _ query: PreparedQuery, scratch: inout SearchScratch) {
        scratch.chosen.removeAll(keepingCapacity: true)
        scratch.rowKeys.removeAll(keepingCapacity: true)
        scratch.rowKeys.append(contentsOf: pool.storage[..<pool.count])
        rows.score(&scratch.rowKeys, count: scratch.rowKeys.count, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        guard limit < scratch.rowKeys.count else {
            for key in scratch.rowKeys { scratch.chosen.append(RankKey.row(key)) }
            return
        }
        keepLargest(limit, in: &scratch.rowKeys)
        var worst = UInt64.max
        // The errors of rounding query and rows are sums of many small ones, so nearly normal: three standard deviations.
        var widest: Float = 0
        for index in 0..<limit {
            worst = min(worst, scratch.rowKeys[index])
            widest = max(widest, rows.scale(Int(RankKey.row(scratch.rowKeys[index]))))
        }
        let deviation = ((query.norm * widest) * (query.norm * widest) + (norm * scratch.byteQuery.scale) * (norm * scratch.byteQuery.scale)) / 12
        let margin = 3 * deviation.squareRoot()
        let bound = RankKey.floatScore(worst) - margin
        for key in scratch.rowKeys where !(RankKey.floatScore(key) < bound) { scratch.chosen.append(RankKey.row(key)) }
    }
}

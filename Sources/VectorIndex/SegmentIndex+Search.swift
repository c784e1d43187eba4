import Model
import VectorMath

extension SegmentIndex {
    /// Admitted rows up to which a search scores all of them exactly: about the cost of a search by code.
    package static let defaultExactThreshold = 2_000

    /// How far above its mean, in standard deviations, a list's best row is expected along the query. Measured on
    /// `ann-glove-50` by inner product, 19 % of the rows scanned: recall@10 0.866 at 0, 0.906 at 1.5, 0.919 at 3, 0.915 at 5;
    /// it adds 0.001 by cosine on `ann-minilm-384`. By distance, the plain order of the means does better.
    private static let reach: Float = 3

    /// Codes scanned between two looks at `shouldStop`, in bytes: tens of microseconds.
    private static let stretchByteCount = 1 << 18

    /// The best rows: codes choose candidates in the lists nearest to the query, full vectors decide among those.
    ///
    /// - Parameters:
    ///   - query: `[dimension]`, finite; of unit length if the metric is cosine.
    ///   - limit: Hits wanted.
    ///   - effort: Lists probed and candidates rescored; what is `nil` is chosen by the segment's size and `limit`.
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
        var pool = CandidatePool(keep: plan.candidates, storage: scratch.candidates)
        scratch.candidates = []
        defer { scratch.candidates = pool.storage }

        var lists = rankLists(query, scratch: &scratch)
        defer { scratch.listKeys = lists.keys }
        var tables = metric == .euclid ? nil : fillTables(.dot, query, floats: &scratch.tableFloats, bytes: &scratch.tableBytes)
        var probed = 0
        var seen = 0
        while let key = lists.popLargest() {
            let list = Int(RankKey.number(key))
            let rows = rows(ofList: list)
            let admitted = admits?.count(in: rows) ?? rows.count
            guard admitted > 0 else { continue }
            var base = scratch.listScores[list]
            if metric == .euclid {
                tables = fillTables(query, list: list, residual: &scratch.residual, floats: &scratch.tableFloats, bytes: &scratch.tableBytes)
                base = 0
            }
            guard scan(
                rows, tables: scratch.tableBytes, base: base + tables!.base, step: tables!.step, admits: admits, pool: &pool,
                found: &scratch.rows, sums: &scratch.sums, shouldStop: shouldStop) else {
                result.stopped = true
                return result
            }
            result.codesScanned += rows.count
            probed += 1
            seen += admitted
            if probed >= plan.probes && seen >= plan.admittedRows { break }
        }

        pool.finish()
        scratch.chosen.removeAll(keepingCapacity: true)
        for index in 0..<pool.count { scratch.chosen.append(RankKey.number(pool.storage[index])) }
        return withoutActuallyEscaping(precedes) { precedes in
            var best = Best(limit: limit, metric: metric, precedes: precedes)
            result.stopped = !rescore(scratch.chosen, query, scores: &scratch.scores, into: &best, shouldStop: shouldStop)
            result.rescored = scratch.chosen.count
            if !result.stopped { result.hits = best.hits() }
            return result
        }
    }

    /// All lists, as a queue with the most promising first. Leaves the similarities in `scratch.listScores`.
    private func rankLists(_ query: Span<Float>, scratch: inout SearchScratch) -> KeyQueue {
        SearchScratch.grow(&scratch.listScores, to: listCount, filler: 0)
        var out = scratch.listScores.mutableSpan
        if metric == .euclid {
            kernels.squaredDistance(query, rows: centroids, into: &out)
        } else {
            kernels.dot(query, rows: centroids, into: &out)
        }
        var keys = scratch.listKeys
        scratch.listKeys = []
        keys.removeAll(keepingCapacity: true)
        // Rows of a list scatter along the query by about spread · |query| / √dimension around the mean's product.
        let reach = Self.reach * (kernels.dot(query, query) / Float(dimension)).squareRoot()
        for list in 0..<listCount {
            let score = scratch.listScores[list]
            let promise = metric == .euclid ? -score : score + spreads[list] * reach
            keys.append(RankKey.make(promise, UInt32(list)))
        }
        return KeyQueue(keys)
    }

    /// For the squared distance to a row, which is that of the row's residual to the query's.
    private func fillTables(
        _ query: Span<Float>, list: Int, residual: inout [Float], floats: inout [Float], bytes: inout [UInt8]
    ) -> (base: Float, step: Float) {
        SearchScratch.grow(&residual, to: dimension, filler: 0)
        let mean = centroids.extracting(list * dimension..<(list + 1) * dimension)
        for element in 0..<dimension { residual[element] = query[element] - mean[element] }
        return fillTables(.negatedDistance, residual.span.extracting(0..<dimension), floats: &floats, bytes: &bytes)
    }

    private func fillTables(
        _ similarity: Kernels.Similarity, _ query: Span<Float>, floats: inout [Float], bytes: inout [UInt8]
    ) -> (base: Float, step: Float) {
        SearchScratch.grow(&floats, to: subspaces * 18, filler: 0)
        SearchScratch.grow(&bytes, to: subspaces * 16, filler: 0)
        let bounds = bounds
        var floatsOut = floats.mutableSpan
        var bytesOut = bytes.mutableSpan
        return kernels.fillTables(
            similarity, query: query, centroids: codebooks, bounds: bounds.span, floats: &floatsOut, bytes: &bytesOut)
    }

    /// Scans the codes of `rows` into the pool.
    ///
    /// - Returns: `false` if the caller stopped it.
    private func scan(
        _ rows: Range<Int>, tables: [UInt8], base: Float, step: Float, admits: RowBitmap?, pool: inout CandidatePool,
        found: inout [UInt32], sums: inout [UInt16], shouldStop: () -> Bool
    ) -> Bool {
        let blockByteCount = subspaces * 16
        let stretch = max(1, Self.stretchByteCount / blockByteCount)
        let room = min(stretch, (count + 31) / 32) * 32
        SearchScratch.grow(&found, to: room, filler: 0)
        SearchScratch.grow(&sums, to: room, filler: 0)
        var block = rows.lowerBound / 32
        let end = (rows.upperBound + 31) / 32
        while block < end {
            if shouldStop() { return false }
            let blocks = block..<min(block + stretch, end)
            let floor = pool.floor(base: base, step: step)
            let foundCount = withAdmitted(admits, blocks) { admitted in
                var rowsOut = found.mutableSpan
                var sumsOut = sums.mutableSpan
                return kernels.scan(
                    codes: codes.extracting(blocks.lowerBound * blockByteCount..<blocks.upperBound * blockByteCount),
                    tables: tables.span.extracting(0..<subspaces * 16), admitted: admitted, floor: floor, rows: &rowsOut, sums: &sumsOut)
            }
            let first = UInt32(blocks.lowerBound * 32)
            for index in 0..<foundCount {
                // The first and last block hold rows of neighbouring lists, too.
                let row = found[index] + first
                guard Int(row) >= rows.lowerBound && Int(row) < rows.upperBound else { continue }
                pool.offer(base + step * Float(sums[index]), row)
            }
            pool.shrinkIfFull()
            block = blocks.upperBound
        }
        return true
    }

    /// The bitmap's bits for these blocks, a word each; an empty span if all rows are admitted.
    private func withAdmitted<Result>(_ admits: RowBitmap?, _ blocks: Range<Int>, _ body: (Span<UInt32>) -> Result) -> Result {
        guard let admits else { return body(Span<UInt32>()) }
        return unsafe admits.words.withUnsafeBytes { raw in
            let halves = unsafe raw.bindMemory(to: UInt32.self)
            return unsafe body(Span(_unsafeElements: halves.extracting(blocks)))
        }
    }
}

import Model
import VectorMath

extension SegmentIndex {
    /// Full vectors scored between two looks at `shouldStop`, in bytes: tens of microseconds.
    private static let stretchByteCount = 1 << 18

    /// The best rows: every admitted one is scored with its full vector, or its bytes show that it is none of them.
    ///
    /// - Parameters: As for ``search(_:limit:effort:exactBelow:admits:scratch:precedes:shouldStop:)``.
    ///   - bytesFrom: Bytes of admitted full vectors from which on rows' bytes are looked at first; `.max`: all full vectors are scored. It does not change the hits.
    /// - Complexity: O(admitted rows · `dimension`), at the speed of memory.
    package func searchExactly(
        _ query: Span<Float>, limit: Int, admits: RowBitmap? = nil, bytesFrom: Int = SegmentIndex.leastByteCount, scratch: inout SearchScratch,
        precedes: (Int, Int) -> Bool = { $0 < $1 }, shouldStop: () -> Bool = { false }
    ) -> SegmentSearchResult {
        compareAll(
            query, limit: limit, admits: admits, of: admits?.count ?? count, bytesFrom: bytesFrom, scratch: &scratch, precedes: precedes, shouldStop: shouldStop)
    }

    /// - Parameter admitted: How many rows are.
    func compareAll(
        _ query: Span<Float>, limit: Int, admits: RowBitmap?, of admitted: Int, bytesFrom: Int = SegmentIndex.leastByteCount, scratch: inout SearchScratch,
        precedes: (Int, Int) -> Bool, shouldStop: () -> Bool
    ) -> SegmentSearchResult {
        check(query, admits)
        var result = SegmentSearchResult()
        guard limit > 0 else { return result }
        var rows = admitted * 4 * dimension >= bytesFrom
            ? rowsToScore(query, limit: limit, admits: admits, of: admitted, scratch: &scratch, shouldStop: shouldStop) : .all
        if case .all = rows, let admits, Self.areFew(admitted, of: count) {
            scratch.chosen.removeAll(keepingCapacity: true)
            admits.forEach { scratch.chosen.append(UInt32($0)) }
            rows = .chosen
        }
        let stretch = max(1, Self.stretchByteCount / (4 * dimension))
        var best = Best(limit: limit, metric: metric, storage: &scratch.hits)
        switch rows {
        case .stopped: result.stopped = true
        case .chosen:
            result.stopped = !rescore(scratch.chosen, query, scores: &scratch.scores, into: &best, precedes: precedes, shouldStop: shouldStop)
            result.rescored = scratch.chosen.count
        case .all:
            SearchScratch.grow(&scratch.scores, to: stretch, filler: 0)
            var start = 0
            while start < count {
                if shouldStop() {
                    result.stopped = true
                    break
                }
                let rows = start..<min(start + stretch, count)
                vectors.fetch(rows)
                var out = scratch.scores.mutableSpan
                vectors.compare(query, rows, into: &out)
                for row in rows where admits?.contains(row) ?? true { best.offer(row, scratch.scores[row - start], precedes) }
                result.rescored += admits?.count(in: rows) ?? rows.count
                start = rows.upperBound
            }
        }
        best.finish(precedes, into: &scratch.hits)
        if !result.stopped {
            result.hits = scratch.hits
            result.recall = 1
        }
        return result
    }

    /// Rows in a row are read by the memory's prefetcher; below a quarter of the rows it is cheaper to skip the others.
    static func areFew(_ admitted: Int, of count: Int) -> Bool { admitted < count / 4 }

    /// Scores rows with their full vectors.
    ///
    /// - Parameter scores: Scratch.
    /// - Returns: `false` if the caller stopped it.
    func rescore(_ rows: [UInt32], _ query: Span<Float>, scores: inout [Float], into best: inout Best, precedes: Best.Order, shouldStop: () -> Bool) -> Bool {
        let stretch = max(1, Self.stretchByteCount / (4 * dimension))
        SearchScratch.grow(&scores, to: min(stretch, rows.count), filler: 0)
        var start = 0
        while start < rows.count {
            if shouldStop() { return false }
            let part = start..<min(start + stretch, rows.count)
            var out = scores.mutableSpan
            vectors.compare(query, at: rows.span.extracting(part), into: &out)
            for index in part { best.offer(Int(rows[index]), scores[index - start], precedes) }
            start = part.upperBound
        }
        return true
    }

    func check(_ query: Span<Float>, _ admits: RowBitmap?) {
        precondition(query.count == dimension, "expected \(dimension) dimensions, found \(query.count)")
        precondition(admits.map { $0.rowCount == count } ?? true, "bitmap of \(admits?.rowCount ?? 0) rows for a segment of \(count)")
    }
}

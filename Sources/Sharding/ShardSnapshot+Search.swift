import Model
import Synchronization
import VectorIndex
import VectorMath

extension ShardSnapshot {
    /// The best hits of the first searches, one at least, over everything that can be read: the tail exactly, segments by code or exactly.
    ///
    /// - Parameters:
    ///   - exactScanThreshold: Admitted rows of a segment up to which they are all scored exactly.
    ///   - codesScanned: Counts along.
    ///   - goesOn: Asked before each search but the first.
    /// - Throws: `dataLoss` for an unreadable payload that a filter needs; the reason of `stop`.
    func search(
        _ searches: ArraySlice<ShardSearch>, metric: Metric, exactScanThreshold: Int, codesScanned: borrowing Atomic<UInt64>, goesOn: () -> Bool = { false },
        stop: StopSignal
    ) throws(ClusterError) -> [SearchReply.Result] {
        var scratch = SearchScratch.borrow()
        defer { SearchScratch.giveBack(scratch) }
        var results: [SearchReply.Result] = []
        results.reserveCapacity(searches.count)
        for search in searches {
            if !results.isEmpty, !goesOn() { break }
            results.append(try self.search(
                search, metric: metric, exactScanThreshold: exactScanThreshold, codesScanned: codesScanned, scratch: &scratch, stop: stop))
        }
        return results
    }

    private func search(
        _ search: ShardSearch, metric: Metric, exactScanThreshold: Int, codesScanned: borrowing Atomic<UInt64>, scratch: inout SearchScratch,
        stop: StopSignal
    ) throws(ClusterError) -> SearchReply.Result {
        var work = SearchWork(pointsHeld: pointCount, pointsUnreadable: unreadableCount)
        var nearest = Nearest(limit: search.limit, metric: metric, threshold: search.scoreThreshold)
        for segment in segments {
            guard let part = segment.part, let content = segment.content, part.liveCount > 0 else { continue }
            let admitted = try part.admitted(by: search.filter, stop: stop)
            let admitsAll = search.filter?.isEmpty ?? true && part.liveCount == part.count
            let result = content.index.search(
                search.vector.span, limit: search.limit, effort: search.effort, exactBelow: exactScanThreshold,
                admits: admitsAll ? nil : admitted, scratch: &scratch,
                precedes: { content.rows.id($0) < content.rows.id($1) }, shouldStop: { stop.isRaised })
            codesScanned.add(UInt64(result.codesScanned), ordering: .relaxed)
            work += SearchWork(
                pointsByCode: result.byCode ? part.liveCount : 0, pointsExactly: result.byCode ? 0 : part.liveCount, codesScanned: result.codesScanned,
                candidatesRescored: result.byCode ? result.rescored : 0, listsScanned: result.listsScanned, recall: result.recall.map(Double.init))
            try stop.check()
            for hit in result.hits { nearest.offer(part.hit(hit.row, score: hit.score)) }
        }
        for part in tail where part.liveCount > 0 {
            try stop.check()
            let admitted = try part.admitted(by: search.filter, stop: stop)
            part.scan(search.vector, admitted: admitted, into: &nearest)
            work += SearchWork(pointsExactly: part.liveCount, recall: 1)
        }
        return SearchReply.Result(hits: nearest.sorted, work: work)
    }
}

extension Part {
    fileprivate func hit(_ row: Int, score: Float) -> Hit {
        Hit(id: rows.id(row), score: score, version: rows.version(row), contentHash: rows.contentHash(row))
    }

    /// Scores all rows of a block and offers the admitted ones.
    fileprivate func scan(_ query: [Float], admitted: RowBitmap, into nearest: inout Nearest) {
        guard let block = rows as? TailBlock else { preconditionFailure("only blocks are scanned here") }
        let scores = block.scores(query, 0..<count)
        admitted.visit { row in
            if nearest.admits(scores[row]) { nearest.offer(hit(row, score: scores[row])) }
            return true
        }
    }
}

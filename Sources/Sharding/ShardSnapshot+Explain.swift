import Model
import Synchronization
import VectorIndex
import VectorMath

extension ShardSnapshot {
    /// Runs the search, and for each of the ids says where it left the point.
    ///
    /// - Parameters: As for ``search(_:metric:exactScanThreshold:codesScanned:goesOn:stop:)``.
    func explain(
        _ request: ExplainRequest, metric: Metric, exactScanThreshold: Int, codesScanned: borrowing Atomic<UInt64>, stop: StopSignal
    ) throws(ClusterError) -> [Explanation] {
        let search = request.search
        let hits = try self.search([search], metric: metric, exactScanThreshold: exactScanThreshold, codesScanned: codesScanned, stop: stop)[0].hits
        var (explanations, marks): ([Explanation], [Int: Hit]) = ([], [:])
        for id in request.ids {
            guard let found = locate(id) else {
                explanations.append(Explanation(id: id, step: isKnown(id) ? .deleted : unreadableCount > 0 ? .unreadable : .unknown))
                continue
            }
            let rows = found.part.rows
            let score = score(found.row, of: found, to: search.vector, metric)
            var explanation = Explanation(
                id: id, step: .rank, score: score, version: rows.version(found.row), contentHash: rows.contentHash(found.row), segment: found.segment)
            let admitted = try found.part.admitted(by: search.filter, stop: stop)
            if !admitted.contains(found.row) { explanation.step = .filter }
            if let content = found.content {
                let admitsAll = search.filter?.isEmpty ?? true && found.part.liveCount == found.part.count
                var scratch = SearchScratch.borrow()
                defer { SearchScratch.giveBack(scratch) }
                let trace = content.index.explain(
                    found.row, search.vector.span, limit: search.limit, effort: search.effort, exactBelow: exactScanThreshold,
                    admits: admitsAll ? nil : admitted, scratch: &scratch, precedes: { content.rows.id($0) < content.rows.id($1) },
                    shouldStop: { stop.isRaised })
                try stop.check()
                (explanation.step, explanation.index) = trace.map { ($0.step == .hit ? .rank : $0.step, $0.index) } ?? (explanation.step, nil)
            }
            if explanation.step == .rank {
                if let threshold = search.scoreThreshold, metric.isBetter(threshold, than: score) { explanation.step = .scoreThreshold }
                if hits.contains(where: { $0.id == id }) { explanation.step = .hit }
            }
            if explanation.step != .filter { marks[explanations.count] = Hit(id: id, score: score, version: explanation.version) }
            explanations.append(explanation)
        }
        for (place, rank) in try exactRanks(marks, request.search, metric, stop) { explanations[place].exact = rank }
        return explanations
    }

    /// A live row.
    private struct Located {
        var part: Part
        var row: Int
        /// What holds it if a segment does.
        var segment: Int?
        var content: OpenSegment?
    }

    private func locate(_ id: PointID) -> Located? {
        for part in tail {
            for row in 0..<part.count where part.live.contains(row) && part.rows.id(row) == id { return Located(part: part, row: row) }
        }
        for (number, segment) in segments.enumerated() {
            guard let part = segment.part, let row = segment.content?.rows.row(of: id), part.live.contains(row) else { continue }
            return Located(part: part, row: row, segment: number, content: segment.content)
        }
        return nil
    }

    /// Whether a superseded version of the point is still held.
    private func isKnown(_ id: PointID) -> Bool {
        segments.contains { $0.content?.rows.row(of: id) != nil } || tail.contains { part in (0..<part.count).contains { part.rows.id($0) == id } }
    }

    private func score(_ row: Int, of located: Located, to query: [Float], _ metric: Metric) -> Float {
        if let block = located.part.rows as? TailBlock { return block.scores(query, row..<row + 1)[0] }
        guard let content = located.content else { preconditionFailure("a row of neither the tail nor a segment") }
        let score = content.index.score(of: row, to: query.span)
        return score.isNaN ? metric.worstScore : score
    }

    /// Where each of `marks` stands among all admitted points in the total order of ``Hit``.
    private func exactRanks(_ marks: [Int: Hit], _ search: ShardSearch, _ metric: Metric, _ stop: StopSignal) throws(ClusterError) -> [Int: Rank] {
        guard !marks.isEmpty else { return [:] }
        let marks = Array(marks)
        var before = [Int](repeating: 0, count: marks.count)
        var admittedCount = 0
        func count(_ score: Float, _ id: () -> PointID) {
            for index in marks.indices {
                let mark = marks[index].value
                if score == mark.score ? id() < mark.id : metric.isBetter(score, than: mark.score) { before[index] += 1 }
            }
        }
        for segment in segments {
            guard let part = segment.part, let content = segment.content else { continue }
            let admitted = try part.admitted(by: search.filter, stop: stop)
            admittedCount += admitted.count
            guard content.index.forEachScore(search.vector.span, admits: admitted, shouldStop: { stop.isRaised }, { row, score in
                count(score) { content.rows.id(row) }
            }) else { break }
        }
        for part in tail {
            try stop.check()
            let admitted = try part.admitted(by: search.filter, stop: stop)
            admittedCount += admitted.count
            admitted.forEach { row in count(score(row, of: Located(part: part, row: row), to: search.vector, metric)) { part.rows.id(row) } }
        }
        try stop.check()
        return Dictionary(uniqueKeysWithValues: zip(marks, before).map { ($0.key, Rank($1 + 1, of: admittedCount)) })
    }
}

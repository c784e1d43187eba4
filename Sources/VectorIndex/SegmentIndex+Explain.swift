import Model
import VectorMath

/// What became of a row in a search of its segment.
package struct RowTrace: Hashable, Sendable {
    /// ``SearchStep/hit``, `filter`, `list`, `code`, `bytes` or `rank`.
    package var step: SearchStep
    /// `nil` if codes did not choose the candidates.
    package var index: IndexTrace?

    package init(step: SearchStep, index: IndexTrace? = nil) {
        self.step = step
        self.index = index
    }
}

extension SegmentIndex {
    /// Runs a search and looks up in what it left where it left `row`.
    ///
    /// - Parameters: As for ``search(_:limit:effort:exactBelow:admits:scratch:precedes:shouldStop:)``.
    /// - Returns: `nil` if the caller stopped it.
    /// - Complexity: That of the search, twice, and O(rows + lists · `dimension`).
    package func explain(
        _ row: Int, _ query: Span<Float>, limit: Int, effort: SearchEffort = SearchEffort(), exactBelow: Int = SegmentIndex.defaultExactThreshold,
        admits: RowBitmap? = nil, scratch: inout SearchScratch, precedes: (Int, Int) -> Bool = { $0 < $1 }, shouldStop: () -> Bool = { false }
    ) -> RowTrace? {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        let result = search(
            query, limit: limit, effort: effort, exactBelow: exactBelow, admits: admits, scratch: &scratch, precedes: precedes, shouldStop: shouldStop)
        guard !result.stopped else { return nil }
        let isRefused = admits.map { !$0.contains(row) } ?? false
        var trace = RowTrace(step: isRefused ? .filter : result.hits.contains { $0.row == row } ? .hit : .rank)
        guard result.byCode else { return trace }

        let isChosen = scratch.chosen.contains(UInt32(row))
        let byBytes = rank(row, in: scratch.rowKeys)
        var index = listTrace(row, query, scratch: &scratch)
        index.byBytes = byBytes
        index.rescored = result.rescored
        guard let byCode = codeRanks(query, admits, scratch: &scratch, shouldStop: shouldStop).map({ rank(row, in: $0) }) else { return nil }
        index.byCode = byCode
        if trace.step == .rank && !isChosen { trace.step = byBytes != nil ? .bytes : index.isProbed ? .code : .list }
        trace.index = index
        return trace
    }

    /// Calls `body` with each admitted row, ascending, and the score that a search gives it; a score that is no number is the worst.
    ///
    /// - Returns: `false` if the caller stopped it.
    package func forEachScore(_ query: Span<Float>, admits: RowBitmap, shouldStop: () -> Bool, _ body: (Int, Float) -> Void) -> Bool {
        check(query, admits)
        var (seen, isStopped) = (0, false)
        admits.forEach { row in
            if seen % Self.rowsBetweenStops == 0 && !isStopped { isStopped = shouldStop() }
            seen += 1
            guard !isStopped else { return }
            let score = score(of: row, to: query)
            body(row, score.isNaN ? metric.worstScore : score)
        }
        return !isStopped
    }

    private static let rowsBetweenStops = 256

    /// The row's list and region among all; of its two lists the second if that alone was probed.
    private func listTrace(_ row: Int, _ query: Span<Float>, scratch: inout SearchScratch) -> IndexTrace {
        let probed = scratch.ranking.scanned
        func wasProbed(_ list: Int) -> Bool { scratch.listKeys[..<probed].contains { Int(RankKey.row($0)) == list } }
        var list = rows.parent(of: row, among: listCount)
        if let second = rows.spill(of: row, among: listCount), !wasProbed(list), wasProbed(second) { list = second }
        let isProbed = wasProbed(list)
        let region = lists.parent(of: list, among: regions.count)
        let weight = prepare(query, scratch: &scratch).weight
        var listKeys = (0..<listCount).map { RankKey.make(Int32(0), UInt32($0)) }
        lists.score(&listKeys, 0..<listCount, query: scratch.byteQuery, weight: weight, kernels: kernels)
        var regionKeys: [UInt64] = []
        regions.score(&regionKeys, query: scratch.byteQuery, weight: weight, kernels: kernels)
        return IndexTrace(
            region: region, list: list, regionRank: rank(region, in: regionKeys)!, listRank: rank(list, in: listKeys)!, listsProbed: probed,
            isProbed: isProbed)
    }

    /// The scores by code of all admitted rows in the lists that the search probed; `nil` if the caller stopped it.
    private func codeRanks(_ query: Span<Float>, _ admits: RowBitmap?, scratch: inout SearchScratch, shouldStop: () -> Bool) -> [UInt64]? {
        _ = spansOfLists(0..<scratch.ranking.scanned, admits, prepare(query, scratch: &scratch), scratch: &scratch)
        var all = CandidatePool(keep: rows.copies * count, storage: [], hasTwins: rows.hasTwins, kernels: kernels)
        guard rows.scan(scratch.spans, scratch.rowTables, admits: admits, pool: &all, kernels: kernels, shouldStop: shouldStop) else { return nil }
        var keys: [UInt64] = []
        let found = all.copyBest(count, into: &keys, &scratch.seen).rows
        return Array(keys[..<found])
    }

    /// `nil` if none of the keys is the item's.
    private func rank(_ item: Int, in keys: [UInt64]) -> Rank? {
        guard let key = keys.first(where: { Int(RankKey.row($0)) == item }) else { return nil }
        return Rank(keys.count { $0 > key } + 1, of: keys.count)
    }
}

extension Tier {
    /// The second parent of a child, if it has one. O(children)
    func spill(of child: Int, among parents: Int) -> Int? {
        guard let place = (0..<spillCount).first(where: { spilled($0) == child }) else { return nil }
        return (0..<parents).first { spills(of: $0).contains(place) }
    }

    /// The parent that a child belongs to. O(log `parents`).
    func parent(of child: Int, among parents: Int) -> Int {
        var (low, high) = (0, parents - 1)
        while low < high {
            let middle = (low + high) / 2
            if children(of: middle).upperBound <= child { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

import VectorMath

/// Measures a segment's ``Calibration`` with some of its own rows as queries. They shaped no list, and none is to be found itself.
///
/// Nearly all rows are searched for each query; where the true neighbours lie then tells what a search with less effort would have
/// missed. That leaves out what rankings by code lose, so some queries are searched with each setting and the difference is added.
struct Calibrator {
    let index: SegmentIndex
    private var scratch = SearchScratch()
    private var admits: RowBitmap
    private var listOf: [UInt32] = []
    private var similarities: [Float]
    private var trials: [[Trial]] = []

    /// Where one query's true neighbours are, for one level.
    private struct Trial {
        var row: Int
        var truth: Set<Int>
        /// Of each neighbour's list, below the worst neighbour found by code; −∞ for the lists that every search scans.
        var gaps: [Float] = []
        /// Of each neighbour among all rows by code, from 1.
        var ranks: [Int] = []
        /// Of all lists, ascending; of some queries only.
        var listGaps: [Float] = []
    }

    static let queries = 1_000
    private static let limits = [1, 10, 100]
    private static let recalls: [Float] = [0.75, 0.85, 0.9, 0.93, 0.95, 0.965, 0.98, 0.99, 0.995, 0.998]
    private static let candidates = 1_000
    private static let leastLists = 2_048
    /// Of what is missed, the share that may be missed because codes did not choose it: little, since candidates cost little and queries unlike
    /// the base need more of them.
    private static let codeShare: Float = 0.06

    init(_ index: SegmentIndex) {
        self.index = index
        admits = RowBitmap(rowCount: index.count, filled: true)
        similarities = [Float](repeating: 0, count: index.listCount)
        for list in 0..<index.listCount { listOf.append(contentsOf: repeatElement(UInt32(list), count: index.rows.children(of: list).count)) }
    }

    /// - Parameter queries: Rows.
    /// - Returns: `nil` if there are too few rows to tell.
    /// - Complexity: That of some thousand searches, and of ``queries`` that scan an eighth of the rows.
    mutating func measure(_ queries: [Int]) -> Calibration? {
        let limits = Self.limits.filter { $0 * 50 <= index.count }
        guard limits.count > 1 else { return nil }
        trials = limits.map { _ in [] }
        for (number, row) in queries.enumerated() { addTrials(row, limits, keepsGaps: number % 8 == 0) }
        var levels: [Calibration.Level] = []
        for (level, limit) in limits.enumerated() {
            var steps = Self.recalls.map { step($0, of: trials[level], limit: limit) }
            for each in steps.indices {
                steps[each].recall = min(1, max(each == 0 ? 0 : steps[each - 1].recall, steps[each].recall + surplus(steps[each], trials[level], limit: limit)))
            }
            levels.append(Calibration.Level(limit: Float(limit), steps: steps))
        }
        return Calibration(levels: levels)
    }

    private mutating func addTrials(_ row: Int, _ limits: [Int], keepsGaps: Bool) {
        let query = index.vector(row)
        admits.remove(row)
        defer { admits.insert(row) }
        let most = limits.last!
        let plan = SearchPlan(lists: min(index.listCount, max(Self.leastLists, index.listCount / 8)), candidates: max(Self.candidates, 4 * most), index: index)
        let result = index.search(query.span, limit: most, plan, admits: admits, scratch: &scratch)
        let byCode = scratch.candidates[..<scratch.candidateCount].sorted(by: >)
        guard result.hits.count == most, byCode.count >= most else { return }
        var rankOf: [Int: Int] = [:]
        for (rank, key) in byCode.enumerated() { rankOf[Int(RankKey.row(key))] = rank + 1 }

        let keys = scratch.listKeys[..<scratch.ranking.ranked].sorted(by: >)
        let unit = index.gapUnit(scratch.norm)
        for (level, limit) in limits.enumerated() {
            let worst = scratch.rowTables.similarity(RankKey.score(byCode[limit - 1]))
            var trial = Trial(row: row, truth: Set(result.hits.prefix(limit).map(\.row)))
            trial.ranks = result.hits.prefix(limit).map { rankOf[$0.row] ?? .max }
            trial.gaps = gaps(result.hits.prefix(limit), keys, worst: worst, unit: unit)
            if keepsGaps { trial.listGaps = keys.map { (worst - RankKey.floatScore($0)) / unit } }
            trials[level].append(trial)
        }
    }

    private mutating func gaps(_ hits: ArraySlice<RowHit>, _ keys: [UInt64], worst: Float, unit: Float) -> [Float] {
        for key in keys { similarities[Int(RankKey.row(key))] = RankKey.floatScore(key) }
        for key in keys.prefix(SegmentIndex.firstLists) { similarities[Int(RankKey.row(key))] = .infinity }
        return hits.map { (worst - similarities[Int(listOf[$0.row])]) / unit }
    }

    private func step(_ recall: Float, of trials: [Trial], limit: Int) -> Calibration.Step {
        func quantile<Number: Comparable>(_ numbers: [Number], _ share: Float) -> Number {
            let sorted = numbers.sorted()
            return sorted[min(sorted.count - 1, Int((Float(sorted.count) * share).rounded(.up)))]
        }
        let missed = 1 - recall
        let rank = quantile(trials.flatMap(\.ranks), 1 - missed * Self.codeShare)
        let gap = quantile(trials.flatMap(\.gaps), 1 - missed * (1 - Self.codeShare))
        let candidates = min(rank, max(Self.candidates, 4 * limit))
        // Should the first lists suffice, none is scanned for its gap.
        let lowest = trials.flatMap(\.gaps).filter { $0 > -.infinity }.min() ?? 0
        let margin = gap > -.infinity ? gap : lowest - 1e-3 * abs(lowest)
        let lists = trials.filter { !$0.listGaps.isEmpty }.map { trial in max(SegmentIndex.firstLists, trial.listGaps.count { $0 <= margin }) }
        var step = Calibration.Step(margin: margin, candidates: Float(candidates), lists: Float(quantile(lists, 0.9)), recall: 0)
        step.recall = trials.reduce(0) { $0 + expected(step, $1.gaps, $1.ranks) } / Float(trials.count)
        return step
    }

    /// Recall that a step has where rankings by code lose nothing.
    private func expected(_ step: Calibration.Step, _ gaps: [Float], _ ranks: [Int]) -> Float {
        Float(gaps.indices.count { gaps[$0] <= step.margin && Float(ranks[$0]) <= step.candidates }) / Float(gaps.count)
    }

    /// Measured less expected recall.
    private mutating func surplus(_ step: Calibration.Step, _ trials: [Trial], limit: Int) -> Float {
        var sum: Float = 0
        // Of many neighbours a few queries tell as much.
        let checked = stride(from: 0, to: trials.count, by: limit > 10 ? 8 : 2).map { trials[$0] }
        for trial in checked {
            let query = index.vector(trial.row)
            admits.remove(trial.row)
            let hits = index.search(query.span, limit: limit, SearchPlan(step, limit: limit, index: index), admits: admits, scratch: &scratch).hits
            admits.insert(trial.row)
            sum += Float(hits.count { trial.truth.contains($0.row) }) / Float(limit) - expected(step, trial.gaps, trial.ranks)
        }
        return sum / Float(checked.count)
    }
}

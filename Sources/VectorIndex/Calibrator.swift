import Storage
import VectorMath

/// Measures a segment's ``Calibration`` with some of its own rows as queries. They shaped no list, and none is to be found itself.
///
/// All rows are searched for each query; where the true neighbours lie then tells what a search with less effort would have
/// missed. That leaves out what rankings by code lose, so some queries are searched with each setting and the difference is added.
struct Calibrator: Sendable {
    private let index: SegmentIndex
    /// Numbers of hits to calibrate for.
    private let limits: [Int]
    private let listOf: [UInt32]
    /// Of each row its second list, `.max` for none.
    private let secondListOf: [UInt32]
    private let regionOf: [UInt32]

    /// Where one query's true neighbours are, for one limit.
    private struct Trial: Sendable {
        var row: Int
        var truth: Set<Int>
        /// Of each neighbour's list, below the worst neighbour found by code; −∞ for the lists that every search scans.
        var gaps: [Float] = []
        /// Of each neighbour's list among all, from 1.
        var listRanks: [Int] = []
        /// Of each neighbour's region, below the best region.
        var regionGaps: [Float] = []
        /// Of each neighbour by code, below the worst of the best rows by code; ∞ for those that codes ranked too low to tell.
        var codeGaps: [Float] = []
        /// The worst of the best rows by code above the worst neighbour.
        var flattery: Float = 0
        /// Of all lists, and of the best rows by code, ascending; of some queries only.
        var listGaps: [Float] = []
        var rowGaps: [Float] = []

        /// Where a list lies for a margin that shrinks: what the margin would have to be if it did not.
        func gap(_ index: Int, _ slope: Float) -> Float { gaps[index] + slope * Self.doublings(listRanks[index]) }

        /// Lists within a margin: the first so many.
        func lists(within margin: Float, _ slope: Float) -> Int {
            var (low, high) = (0, listGaps.count)
            while low < high {
                let middle = (low + high) / 2
                if listGaps[middle] + slope * Self.doublings(middle + 1) <= margin { low = middle + 1 } else { high = middle }
            }
            return low
        }

        /// Of the lists before one that is decided about.
        private static func doublings(_ rank: Int) -> Float { Calibration.Step.doublings(of: rank - 1) }

        var isUsable: Bool { flattery.isFinite && gaps.allSatisfy { !$0.isNaN } && regionGaps.allSatisfy { $0.isFinite } && codeGaps.allSatisfy { !$0.isNaN } }
    }

    /// What one thread searches with.
    private struct Searcher {
        var scratch = SearchScratch()
        var admits: RowBitmap
    }

    /// Rows that serve as queries: none where they would be too few to tell.
    static func queryCount(of rows: Int) -> Int { rows < 1_000 ? 0 : min(1_000, rows / 8) }

    private static let limits = [1, 10, mostHits]
    /// Number of hits up to which is measured.
    static let mostHits = 100
    private static let recalls: [Float] = [0.75, 0.85, 0.9, 0.93, 0.95, 0.965, 0.98, 0.99, 0.995, 0.998]
    private static let candidates = 1_000
    /// Of what is missed, the shares that may be missed because codes did not choose it, or because its region was left out: little, since
    /// candidates and regions cost little.
    private static let (codeShare, regionShare): (Float, Float) = (0.06, 0.06)
    /// What a slope's lists may be over those of the cheapest.
    private static let enoughCost: Float = 1.15
    /// Queries of a piece of work: some milliseconds.
    private static let piece = 8

    init(_ index: SegmentIndex) {
        self.index = index
        // Fewer rows than that have no tail to measure.
        limits = Self.limits.filter { $0 * 50 <= index.count }
        listOf = Self.parents(index.rows, index.listCount)
        var second = [UInt32](repeating: .max, count: index.count)
        for list in 0..<index.listCount { for place in index.rows.spills(of: list) { second[index.rows.spilled(place)] = UInt32(list) } }
        secondListOf = second
        regionOf = Self.parents(index.lists, index.regions.count)
    }

    /// Of each child, ascending.
    private static func parents(_ tier: Tier, _ count: Int) -> [UInt32] {
        (0..<count).flatMap { repeatElement(UInt32($0), count: tier.children(of: $0).count) }
    }

    /// - Parameter queries: Rows.
    /// - Returns: `nil` if there are too few rows to tell.
    /// - Complexity: That of 1,000 searches of all rows by code, and of some ten thousand others.
    func measure(_ queries: [Int], _ work: BuildWork) throws(SegmentError) -> Calibration? {
        guard !queries.isEmpty else {
            try work.advance(to: BuildShare.calibration)
            return nil
        }
        let pieces = BuildWork.pieces(queries.count, of: Self.piece).map { (rows: queries[$0], keepsGaps: $0.lowerBound % (8 * Self.piece) == 0) }
        var trials = [[Trial]](repeating: [], count: limits.count)
        try work.forEach(pieces, until: BuildShare.trials) { piece in
            var searcher = Searcher(admits: RowBitmap(rowCount: index.count, filled: true))
            return piece.rows.map { tried($0, keepsGaps: piece.keepsGaps, &searcher) }
        } take: { (tried: [[Trial]]) in
            for query in tried { for (level, trial) in query.enumerated() { trials[level].append(trial) } }
        }
        // Where all vectors are equal, or so large that similarities overflow, there is nothing to tell near from far by.
        guard trials.allSatisfy({ $0.allSatisfy(\.isUsable) }) else {
            try work.advance(to: BuildShare.calibration)
            return nil
        }
        var levels = limits.indices.map { level in
            Calibration.Level(limit: Float(limits[level]), steps: steps(of: trials[level]))
        }
        let checks = limits.indices.flatMap { level in levels[level].steps.indices.map { (level: level, step: $0, what: levels[level].steps[$0]) } }
        let all = trials
        let surpluses = try work.joined(checks, count: checks.count, until: BuildShare.calibration) { check in
            [surplus(check.what, all[check.level], limit: limits[check.level])]
        }
        for (check, surplus) in zip(checks, surpluses) {
            let previous = check.step == 0 ? 0 : levels[check.level].steps[check.step - 1].recall
            levels[check.level].steps[check.step].recall = min(1, max(previous, check.what.recall + surplus))
        }
        return Calibration(levels: levels)
    }

    /// One trial for each limit.
    private func tried(_ row: Int, keepsGaps: Bool, _ searcher: inout Searcher) -> [Trial] {
        let query = index.query(like: row)
        let most = limits.last!
        searcher.admits.remove(row)
        let result = index.search(
            query.span, limit: most, SearchPlan(lists: index.listCount, candidates: max(Self.candidates, 4 * most), index: index), admits: searcher.admits,
            scratch: &searcher.scratch)
        searcher.admits.insert(row)
        let scratch = searcher.scratch
        let byCode = scratch.candidates[..<scratch.candidateCount].sorted(by: >)
        var byCodeOf: [Int: Float] = [:]
        var rowsByCode: [UInt64] = []
        for key in byCode where byCodeOf[Int(RankKey.row(key))] == nil {
            rowsByCode.append(key)
            byCodeOf[Int(RankKey.row(key))] = scratch.rowTables.similarity(RankKey.score(key))
        }

        var similarityByBytes: [Int: Float] = [:]
        for key in scratch.rowKeys { similarityByBytes[Int(RankKey.row(key))] = RankKey.floatScore(key) }
        let keys = scratch.listKeys[..<scratch.ranking.ranked].sorted(by: >)
        var similarities = [Float](repeating: -.infinity, count: index.listCount)
        for key in keys { similarities[Int(RankKey.row(key))] = RankKey.floatScore(key) }
        var rankOfList = [Int](repeating: .max, count: index.listCount)
        for (rank, key) in keys.enumerated() { rankOfList[Int(RankKey.row(key))] = rank + 1 }
        for key in keys.prefix(SegmentIndex.firstLists) { similarities[Int(RankKey.row(key))] = .infinity }
        var regions = [Float](repeating: 0, count: index.regions.count)
        for key in scratch.regionKeys { regions[Int(RankKey.row(key))] = RankKey.floatScore(key) }
        let bestRegion = regions.max()!
        let unit = index.gapUnit(scratch.norm)
        return limits.map { limit in
            let worst = scratch.rowTables.similarity(RankKey.score(rowsByCode[min(limit, rowsByCode.count) - 1]))
            let hits = result.hits.prefix(limit)
            var trial = Trial(row: row, truth: Set(hits.map(\.row)))
            trial.flattery = (worst - similarityByBytes[hits.last!.row]!) / unit
            trial.codeGaps = hits.map { (worst - (byCodeOf[$0.row] ?? -.infinity)) / unit }
            // The one of its lists that a search comes to first.
            let listsOfHits = hits.map { hit in
                let (own, second) = (Int(listOf[hit.row]), secondListOf[hit.row])
                return second != .max && rankOfList[Int(second)] < rankOfList[own] ? Int(second) : own
            }
            trial.listRanks = listsOfHits.map { rankOfList[$0] }
            trial.regionGaps = listsOfHits.map { (bestRegion - regions[Int(regionOf[$0])]) / unit }
            trial.gaps = listsOfHits.map { (worst - similarities[$0]) / unit }
            if keepsGaps {
                trial.listGaps = keys.map { (worst - RankKey.floatScore($0)) / unit }
                trial.rowGaps = byCode.map { (worst - scratch.rowTables.similarity(RankKey.score($0))) / unit }
            }
            return trial
        }
    }

    private func steps(of trials: [Trial]) -> [Calibration.Step] {
        let codeGaps = trials.flatMap(\.codeGaps).sorted()
        let slopes = slopes(trials).map { slope in
            let listGaps = trials.flatMap { trial in trial.gaps.indices.map { (gap: trial.gap($0, slope), rank: trial.listRanks[$0]) } }.sorted { $0.gap < $1.gap }
            return Slope(slope: slope, listGaps: listGaps)
        }
        let regionGaps = trials.indices.flatMap { trial in trials[trial].gaps.indices.map { (gap: trials[trial].regionGaps[$0], trial: trial, neighbour: $0) } }.sorted { $0.gap > $1.gap }
        return Self.recalls.map { step($0, of: trials, codeGaps, slopes, regionGaps) }
    }

    /// All neighbours' gaps, see ``Trial/gap(_:_:)``, ascending.
    private struct Slope {
        var slope: Float
        var listGaps: [(gap: Float, rank: Int)]
    }

    /// A slope with the margin and the lists at most that reach a recall at the least cost, and that cost: lists of all queries counted.
    private struct Choice {
        var slope: Slope
        var most: Int
        var margin: Float
        var cost: Int
    }

    /// Slopes to choose from: parts of what lists' similarity falls by itself with every doubling.
    private func slopes(_ trials: [Trial]) -> [Float] {
        let falls = trials.compactMap { trial -> Float? in
            let (first, last) = (SegmentIndex.firstLists, min(64 * SegmentIndex.firstLists, trial.listGaps.count))
            guard last > 2 * first else { return nil }
            let fall = (trial.listGaps[last - 1] - trial.listGaps[first - 1]) / Calibration.Step.doublings(of: last)
            return fall.isFinite ? fall : nil
        }.sorted()
        guard !falls.isEmpty else { return [0] }
        return [0, 0.125, 0.25, 0.5, 1, 2, 4].map { $0 * max(0, falls[falls.count / 2]) }
    }

    /// - Parameters: Of all neighbours, by code ascending, of regions descending.
    private func step(
        _ recall: Float, of trials: [Trial], _ codeGaps: [Float], _ slopes: [Slope], _ regionGaps: [(gap: Float, trial: Int, neighbour: Int)]
    ) -> Calibration.Step {
        func quantile<Number: Comparable>(_ numbers: [Number], _ share: Float) -> Number {
            let sorted = numbers.sorted()
            return sorted[min(sorted.count - 1, Int((Float(sorted.count) * share).rounded(.up)))]
        }
        let missed = 1 - recall
        let codeMargin = min(max(0, codeGaps[min(codeGaps.count - 1, Int((Float(codeGaps.count) * (1 - missed * Self.codeShare)).rounded(.up)))]), codeGaps.last { $0.isFinite } ?? 0)
        let counted = trials.filter { !$0.listGaps.isEmpty }
        func lists(_ margin: Float, _ slope: Float, _ most: Int) -> [Int] {
            counted.map { trial in min(most, max(SegmentIndex.firstLists, trial.lists(within: margin, slope))) }
        }
        // The margin alone; then with lists at most, where few queries would scan very many, if that is cheaper.
        let wanted = 1 - missed * (1 - Self.codeShare - Self.regionShare)
        let choices = slopes.map { slope -> Choice in
            var (most, margin) = (index.listCount, self.margin(of: slope.listGaps, wanted, most: index.listCount) ?? 0)
            let all = lists(margin, slope.slope, most)
            var cost = all.reduce(0, +)
            let usual = quantile(all, 0.5)
            // Several times the usual number, so that queries unlike the base, which need more lists, get them.
            for limited in 12 * usual < index.listCount ? [12 * usual, 24 * usual] : [usual, 2 * usual] where limited < index.listCount {
                guard let other = self.margin(of: slope.listGaps, wanted, most: limited) else { continue }
                let less = lists(other, slope.slope, limited).reduce(0, +)
                if less < cost { (most, margin, cost) = (limited, other, less) }
            }
            return Choice(slope: slope, most: most, margin: margin, cost: cost)
        }
        // The less a margin shrinks, the more queries unlike the base get of what they need.
        let cheapest = choices.map(\.cost).min()!
        let choice = choices.first { Float($0.cost) <= Self.enoughCost * Float(cheapest) }!
        let (slope, most, margin) = (choice.slope, choice.most, choice.margin)
        let regionMargin = regionGaps.lazy.filter { trials[$0.trial].gap($0.neighbour, slope.slope) <= margin }
            .dropFirst(Int(Float(regionGaps.count) * missed * Self.regionShare)).first?.gap ?? 0
        let candidates = counted.map { trial in trial.rowGaps.count { $0 <= codeMargin } }
        var step = Calibration.Step(
            margin: margin, slope: slope.slope, mostLists: Float(most), codeMargin: codeMargin, flattery: max(0, quantile(trials.map(\.flattery), 0.99)),
            candidates: Float(quantile(candidates, 0.9)), regionMargin: regionMargin, recall: 0)
        step.recall = trials.reduce(0) { $0 + expected(step, $1) } / Float(trials.count)
        return step
    }

    /// The margin that finds a share of the neighbours in at most so many lists a query; `nil` if these do not hold it.
    private func margin(of neighbours: [(gap: Float, rank: Int)], _ share: Float, most: Int) -> Float? {
        let reached = neighbours.filter { $0.rank <= most }.map(\.gap)
        let wanted = Int((Float(neighbours.count) * share).rounded(.up))
        guard wanted < reached.count else { return most < index.listCount ? nil : reached.last { $0.isFinite } }
        // Where the first lists suffice, there is nothing to measure: lists are scanned that are expected to have better rows than those found.
        if reached[wanted] == -.infinity { return min(0, reached.first { $0.isFinite } ?? 0) }
        return min(reached[wanted], reached.last { $0.isFinite } ?? 0)
    }

    /// Recall that a step has where rankings by code lose nothing.
    private func expected(_ step: Calibration.Step, _ trial: Trial) -> Float {
        let found = trial.gaps.indices.count {
            trial.gap($0, step.slope) <= step.margin && Float(trial.listRanks[$0]) <= step.mostLists && trial.regionGaps[$0] <= step.regionMargin && trial.codeGaps[$0] <= step.codeMargin
        }
        return Float(found) / Float(trial.gaps.count)
    }

    /// Measured less expected recall.
    private func surplus(_ step: Calibration.Step, _ trials: [Trial], limit: Int) -> Float {
        var searcher = Searcher(admits: RowBitmap(rowCount: index.count, filled: true))
        var sum: Float = 0
        // Of many neighbours fewer queries tell as much.
        let checked = stride(from: 0, to: trials.count, by: limit > 10 ? 16 : 3).map { trials[$0] }
        for trial in checked {
            let query = index.query(like: trial.row)
            searcher.admits.remove(trial.row)
            let hits = index.search(
                query.span, limit: limit, SearchPlan(step, limit: limit, index: index), admits: searcher.admits, scratch: &searcher.scratch).hits
            searcher.admits.insert(trial.row)
            sum += Float(hits.count { trial.truth.contains($0.row) }) / Float(trial.truth.count) - expected(step, trial)
        }
        return sum / Float(checked.count)
    }
}

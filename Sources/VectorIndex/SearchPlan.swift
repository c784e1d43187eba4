import Model
import VectorMath

/// How much of a segment one search looks at.
struct SearchPlan {
    /// Lists that are scanned at least.
    var leastLists = 0
    /// Regions whose lists are ranked by code, at least.
    var leastRegions = 0
    /// Further regions' lists are, too, if they are at most so far below the best region, see ``Calibration``.
    var regionMargin: Float = 0
    /// Lists that are ranked by their bytes at first.
    var rankedLists: Int
    /// Whether the least lists are all.
    var isFixed = false
    /// Lists are scanned whose best rows are expected at most its margin below the rows found, see ``Calibration``; `nil`: all of a segment too small for a calibration.
    private var marginStep: Calibration.Step?
    /// Lists that are scanned at most.
    var mostLists = Int.max
    /// Whether so many rows are not admitted that calibration does not tell where the others are.
    var isFiltered = false
    /// Decides which rows codes choose; `nil`: a number of candidates alone.
    var step: Calibration.Step?
    /// Under a filter, the work in nanoseconds from which it had been better to score all admitted rows.
    private(set) var mostWork = Int.max
    /// Share of the rows that a filter admits.
    private var share: Float = 1
    /// Admitted rows that are scanned at least, if there are so many.
    var admittedRows: Int
    /// Candidates kept: rows that codes choose to be scored by their bytes, each counted twice where it may be in two lists.
    var candidates: Int
    /// Expected recall.
    var recall: Float?
    private var target: Float = 0

    init(_ effort: SearchEffort, limit: Int, index: SegmentIndex, admitted: Int) {
        if let probes = effort.probes {
            candidates = index.rows.copies * max(limit, effort.candidates ?? Self.candidates(index.metric, limit))
            isFixed = true
            leastLists = min(max(1, probes), index.listCount)
            // Codes choose twice as many lists as wanted, bytes among those.
            rankedLists = 2 * leastLists + 16
            leastRegions = 8 * leastLists * index.regions.count / index.listCount + 1
            admittedRows = min(admitted, candidates)
        } else {
            // Of the rows that a filter admits the best k are where the best k · rows / admitted of all would be.
            let depth = Double(limit) * Double(index.count) / Double(admitted)
            isFiltered = 10 * admitted < 9 * index.count
            target = Self.aim(Float(effort.targetRecall ?? SearchEffort.defaultRecall), isFiltered: isFiltered)
            let step = index.calibration?.step(recall: target, limit: limit, depth: depth)
            candidates = index.rows.copies * max(limit, effort.candidates ?? Self.candidates(index.metric, limit))
            if effort.candidates == nil, let step { candidates = Self.candidates(step, limit, index) }
            marginStep = step
            regionMargin = step?.regionMargin ?? .infinity
            // Under a filter the lists near the query may be those that hold nothing admitted.
            if let step, !isFiltered { mostLists = max(1, Int(step.mostLists)) }
            // Who gives a number of candidates gets it.
            self.step = effort.candidates == nil ? step : nil
            // A third of what scoring them takes.
            mostWork = admitted * (10 + index.dimension / 6) / 3
            share = Float(admitted) / Float(index.count)
            recall = step?.recall
            rankedLists = Self.rankedLists
            admittedRows = min(admitted, 4 * limit)
        }
    }

    init(_ step: Calibration.Step, limit: Int, index: SegmentIndex) {
        candidates = Self.candidates(step, limit, index)
        marginStep = step
        regionMargin = step.regionMargin
        mostLists = max(1, Int(step.mostLists))
        self.step = step
        rankedLists = Self.rankedLists
        admittedRows = 4 * limit
    }

    init(lists: Int, candidates: Int, index: SegmentIndex) {
        self.candidates = index.rows.copies * candidates
        isFixed = true
        leastLists = lists
        rankedLists = lists
        regionMargin = .infinity
        admittedRows = 0
    }

    /// The margin after so many lists; `nil`: they are enough.
    ///
    /// - Parameters:
    ///   - seen: Rows of these lists.
    ///   - admitted: How many of them a filter admits, if there is one: near to the query it may admit more, or less, than elsewhere.
    func margin(after lists: Int, limit: Int, seen: Int, admitted: Int?, index: SegmentIndex) -> Float? {
        if isFixed { return nil }
        guard let marginStep else { return .infinity }
        guard let admitted, admitted > 0, let calibration = index.calibration else { return marginStep.margin(after: lists) }
        return calibration.step(recall: target, limit: limit, depth: Double(limit) * Double(seen) / Double(admitted)).margin(after: lists)
    }

    /// The work in nanoseconds after which all admitted rows are scored rather.
    ///
    /// Where the lists nearest to the query hold far less of what is admitted than others do, codes seldom tell the admitted rows apart: a tenth of it is
    /// enough to find that out.
    ///
    /// - Parameters:
    ///   - seen: Rows of the lists scanned so far.
    ///   - admitted: How many of them a filter admits.
    func allowedWork(seen: Int, admitted: Int) -> Int {
        let expected = share * Float(seen)
        return expected >= 16 && 4 * Float(admitted) < expected ? mostWork / 10 : mostWork
    }

    /// What is aimed at: a little above the target, since calibrations of different segments of the same vectors differ by about that much, and a
    /// mean recall just below the target breaks the promise while one above it does not. Filters are not calibrated with.
    private static func aim(_ target: Float, isFiltered: Bool) -> Float { target + (isFiltered ? 0.2 : 0.06) * (1 - target) }

    private static let rankedLists = 64

    /// Enough for most queries; for the others more are chosen.
    private static func candidates(_ step: Calibration.Step, _ limit: Int, _ index: SegmentIndex) -> Int {
        index.rows.copies * limit + Int(step.candidates * 1.25) + 8
    }

    /// Measured for recall@10: 100 do on `ann-minilm-384` and `ann-glove-50`, 150 there by inner product, whose codes err by the query's length.
    private static func candidates(_ metric: Metric, _ limit: Int) -> Int { (metric == .dot ? 100 : 50) + 5 * limit }
}

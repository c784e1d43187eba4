import Model
import VectorMath

/// How much of a segment one search looks at.
struct SearchPlan {
    /// Lists that are scanned at least.
    var probes: Int
    /// Admitted rows that are scanned at least.
    var admittedRows: Int
    /// Rows that codes choose to be scored by their bytes, at most. Measured for recall@10: 50 do on `ann-minilm-384`, 100 on
    /// `ann-glove-50`, 150 there by inner product, whose codes err by the query's length.
    var candidates: Int

    init(_ effort: SearchEffort, limit: Int, index: SegmentIndex, admitted: Int) {
        candidates = max(limit, effort.candidates ?? (index.metric == .dot ? 100 : 50) + 5 * limit)
        if let probes = effort.probes {
            self.probes = min(max(1, probes), index.listCount)
            admittedRows = min(admitted, candidates)
        } else {
            let roots = Self.probedRoots(index.metric) * Float(index.listCount).squareRoot()
            // Lists have some 24 rows, so a large limit takes several times as many lists as would hold it.
            probes = min(index.listCount, max(Self.leastProbes, Int(roots), limit / 2))
            // A filter thins lists out, so more of them are looked at: to find s of the rows, 1/√s times as many.
            let share = Float(probes) / Float(index.listCount)
            let admittedShare = Float(admitted) / Float(index.count)
            let rows = admitted == index.count ? 0 : Int(Float(admitted) * min(1, share / admittedShare.squareRoot()))
            admittedRows = min(admitted, max(candidates, rows))
        }
    }

    /// Lists probed by default at least: in a small segment they cost little, and there recall would vary most.
    private static let leastProbes = 128

    /// Lists probed by default, in roots of the number of lists: more lists are better separated, so a smaller share of them
    /// suffices.
    ///
    /// Inner products of vectors of different lengths favour long vectors of many lists, so they need more.
    private static func probedRoots(_ metric: Metric) -> Float {
        switch metric {
        case .cosine, .euclid: 4
        case .dot: 10
        }
    }
}

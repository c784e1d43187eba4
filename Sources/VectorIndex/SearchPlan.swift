import Model

/// How much of a segment one search looks at.
struct SearchPlan {
    /// Lists with admitted rows that are scanned at least.
    var probes: Int
    /// Admitted rows that are scanned at least.
    var admittedRows: Int
    /// Rows scored with their full vectors, at most.
    var candidates: Int

    init(_ effort: SearchEffort, limit: Int, index: SegmentIndex, admitted: Int) {
        candidates = max(limit, effort.candidates ?? max(100, 10 * limit))
        if let probes = effort.probes {
            self.probes = min(max(1, probes), index.listCount)
            admittedRows = min(admitted, candidates)
        } else {
            probes = 1
            let share = min(1, Self.probedRoots(index.metric) / Float(index.listCount).squareRoot())
            let admittedShare = Float(admitted) / Float(index.count)
            admittedRows = min(admitted, max(candidates, Int(Float(admitted) * min(1, share / admittedShare.squareRoot()))))
        }
    }

    /// The rows scanned by default are those of about so many lists times the root of the number of lists: more lists
    /// are then better separated, so a smaller share of them suffices.
    ///
    /// Inner products of vectors of different lengths favour long vectors of many lists, so they need more.
    private static func probedRoots(_ metric: Metric) -> Float {
        switch metric {
        case .cosine, .euclid: 4
        case .dot: 8
        }
    }
}

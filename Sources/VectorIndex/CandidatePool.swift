import VectorMath

/// Collects candidates and keeps the best of them.
///
/// It fills up to several times what it keeps and is then cut by a selection in linear time, which costs less per candidate
/// than a heap; the cut sets the bound that further candidates have to pass.
struct CandidatePool {
    let keep: Int
    /// Whether rows may be offered twice, with different scores. Then what is kept are offers.
    private let hasTwins: Bool
    private let kernels: Kernels
    /// The first `count` are the candidates, as ``RankKey``.
    private(set) var storage: [UInt64]
    private(set) var count = 0
    /// Rows whose codes were looked at.
    private(set) var scanned = 0
    /// Scores up to it are refused: one below the worst kept, since of equals the smaller row is kept.
    private var floor: Int32
    /// Whether there were more candidates than it keeps.
    private(set) var wasCut = false

    /// - Parameter floor: Score that candidates have to exceed from the start.
    init(keep: Int, storage: [UInt64], floor: Int32 = .min, hasTwins: Bool = false, kernels: Kernels) {
        self.keep = keep
        self.hasTwins = hasTwins
        self.floor = floor
        self.kernels = kernels
        self.storage = storage
    }

    /// Rows to scan between two cuts, and between two looks at whether to stop: few at first, so that the bound rises early.
    var stretch: Int { min(floor == .min ? max(2 * keep, 256) : max(4 * keep, 1_024), 16_384) }

    /// Lets `body` add candidates of so many rows and cuts them to the best when there are many.
    ///
    /// - Parameter body: Gets where to put them and the score that they have to exceed; returns how many it put.
    mutating func scan(_ rows: Int, _ body: (inout MutableSpan<UInt64>, Int32) -> Int) {
        SearchScratch.grow(&storage, to: count + rows + Kernels.blockRows, filler: 0)
        let (taken, floor) = (count, floor)
        var all = storage.mutableSpan
        var rest = all._mutatingExtracting(taken...)
        let added = body(&rest, floor)
        count += added
        scanned += rows
        if count >= 2 * keep { finish() }
    }

    /// The score of the row of rank `rank` (1 is the best) so far.
    ///
    /// - Parameters:
    ///   - copy: Output: the keys of the best `rank` rows come first.
    ///   - seen: Scratch.
    func score(ofRank rank: Int, copy: inout [UInt64], _ seen: inout RowSet) -> Int32? {
        guard copyBest(rank, into: &copy, &seen) == rank else { return nil }
        var worst = UInt64.max
        for index in 0..<rank { worst = min(worst, copy[index]) }
        return RankKey.score(worst)
    }

    /// Sets `copy` to the candidates, those of the best `most` rows first.
    ///
    /// - Parameter seen: Scratch.
    /// - Returns: How many rows these are.
    func copyBest(_ most: Int, into copy: inout [UInt64], _ seen: inout RowSet) -> Int {
        copy.removeAll(keepingCapacity: true)
        copy.append(contentsOf: storage[..<count])
        let (taken, kernels) = (count, kernels)
        // The best 2k offers are of k rows at least.
        let offers = min(hasTwins ? 2 * most : most, count)
        do {
            var keys = copy.mutableSpan
            kernels.keepLargest(offers, ofFirst: taken, in: &keys)
        }
        guard hasTwins else { return offers }
        // In place: a slice of the array would be a copy.
        unsafe copy.withUnsafeMutableBufferPointer { unsafe $0[..<offers].sort(by: >) }
        seen.clear(for: offers)
        var rows = 0
        for index in 0..<offers where seen.insert(RankKey.row(copy[index])) {
            copy[rows] = copy[index]
            rows += 1
            if rows == most { break }
        }
        return rows
    }

    /// Appends the candidates, of a row that was offered twice the first.
    ///
    /// - Parameter seen: Scratch.
    func copyOnce(into keys: inout [UInt64], _ seen: inout RowSet) {
        guard hasTwins else { return keys.append(contentsOf: storage[..<count]) }
        seen.clear(for: count)
        for index in 0..<count where seen.insert(RankKey.row(storage[index])) { keys.append(storage[index]) }
    }

    /// Whether there may have been candidates that it did not keep.
    var isFull: Bool { count == keep }

    /// Leaves only keys of at least `bound`.
    mutating func dropBelow(_ bound: UInt64) {
        var kept = 0
        for index in 0..<count where storage[index] >= bound {
            storage[kept] = storage[index]
            kept += 1
        }
        count = kept
    }

    /// The last of the candidates.
    var worst: UInt64 { storage[..<count].min() ?? 0 }

    /// Leaves only the best `keep`.
    mutating func finish() {
        guard count > keep else { return }
        wasCut = true
        let (taken, kept, kernels) = (count, keep, kernels)
        var keys = storage.mutableSpan
        kernels.keepLargest(kept, ofFirst: taken, in: &keys)
        count = keep
        var worst = UInt64.max
        for index in 0..<keep { worst = min(worst, storage[index]) }
        floor = max(RankKey.score(worst), .min + 1) - 1
    }
}

import VectorMath

/// Collects candidates and keeps the best of them.
///
/// It fills up to several times what it keeps and is then cut by a selection in linear time, which costs less per candidate
/// than a heap; the cut sets the bound that further candidates have to pass.
package struct CandidatePool {
    let keep: Int
    /// Whether rows may be offered twice, with different scores. Then what is kept are offers.
    private let hasTwins: Bool
    private let kernels: Kernels
    /// The first `count` are the candidates, as ``RankKey``.
    package private(set) var storage: [UInt64]
    package private(set) var count = 0
    /// Rows whose codes were looked at.
    private(set) var scanned = 0
    /// Scores up to it are refused: one below the worst kept, since of equals the smaller row is kept.
    private var floor: Int32
    /// Keys below it may have been candidates and were let go, as there were more than it keeps; 0 if there never were.
    package private(set) var lost: UInt64 = 0
    /// So many offers, the last that were asked for, are at least `least`.
    private var known = (offers: 0, least: UInt64(0))

    /// - Parameter floor: Score that candidates have to exceed from the start.
    package init(keep: Int, storage: [UInt64], floor: Int32 = .min, hasTwins: Bool = false, kernels: Kernels) {
        self.keep = keep
        self.hasTwins = hasTwins
        self.floor = floor
        self.kernels = kernels
        self.storage = storage
    }

    /// So many are cut to what it keeps.
    private var most: Int { max(2 * keep, 512) }

    /// Rows to scan between two cuts, and between two looks at whether to stop: few at first, so that the bound rises early.
    var stretch: Int { min(floor == .min ? most : max(4 * keep, 1_024), 16_384) }

    /// Lets `body` add candidates of so many rows and cuts them to the best when there are many.
    ///
    /// - Parameter body: Gets where to put them and the score that they have to exceed; returns how many it put.
    package mutating func scan(_ rows: Int, _ body: (inout MutableSpan<UInt64>, Int32) -> Int) {
        SearchScratch.grow(&storage, to: count + rows + Kernels.blockRows, filler: 0)
        let (taken, floor) = (count, floor)
        var all = storage.mutableSpan
        var rest = all._mutatingExtracting(taken...)
        let added = body(&rest, floor)
        count += added
        scanned += rows
        if count >= most { finish() }
    }

    /// The score of the row of rank `rank` (1 is the best) so far.
    ///
    /// - Parameters:
    ///   - copy: Output: the keys of the best `rank` rows come first.
    ///   - seen: Scratch.
    package mutating func score(ofRank rank: Int, copy: inout [UInt64], _ seen: inout RowSet) -> Int32? {
        let offers = hasTwins ? 2 * rank : rank
        let best = copyBest(rank, atLeast: known.offers == offers ? known.least : 0, into: &copy, &seen)
        if offers <= count { known = (offers, best.leastOffer) }
        return best.rows == rank ? RankKey.score(hasTwins ? copy[rank - 1] : best.leastOffer) : nil
    }

    /// Puts the candidates of the best `most` rows at the front of `copy`; if rows may have been offered twice, best first.
    ///
    /// - Parameters:
    ///   - bound: Keys below it are not looked at.
    ///   - seen: Scratch.
    /// - Returns: How many rows these are, and the least of the offers that they were chosen from.
    func copyBest(_ most: Int, atLeast bound: UInt64 = 0, into copy: inout [UInt64], _ seen: inout RowSet) -> (rows: Int, leastOffer: UInt64) {
        SearchScratch.grow(&copy, to: count + 8, filler: 0)
        // The best 2k offers are of k rows at least.
        let offers = min(hasTwins ? 2 * most : most, count)
        let least: UInt64
        do {
            var keys = copy.mutableSpan
            let copied = kernels.copy(storage.span.extracting(..<count), atLeast: bound, into: &keys)
            least = kernels.keepLargest(offers, ofFirst: copied, in: &keys)
        }
        guard hasTwins else { return (offers, least) }
        // In place: a slice of the array would be a copy.
        unsafe copy.withUnsafeMutableBufferPointer { unsafe $0[..<offers].sort(by: >) }
        seen.clear(for: offers)
        var rows = 0
        for index in 0..<offers where seen.insert(RankKey.row(copy[index])) {
            copy[rows] = copy[index]
            rows += 1
            if rows == most { break }
        }
        return (rows, least)
    }

    /// Appends the candidates, of a row that was offered twice the first.
    ///
    /// - Parameter seen: Scratch.
    func copyOnce(into keys: inout [UInt64], _ seen: inout RowSet) {
        guard hasTwins else { return keys.append(contentsOf: storage[..<count]) }
        seen.clear(for: count)
        for index in 0..<count where seen.insert(RankKey.row(storage[index])) { keys.append(storage[index]) }
    }

    /// Leaves only keys of at least `bound`, and refuses those with a worse score from now on.
    package mutating func refuse(below bound: UInt64) {
        floor = max(floor, max(RankKey.score(bound), .min + 1) - 1)
        let (taken, kernels) = (count, kernels)
        var keys = storage.mutableSpan
        var held = keys._mutatingExtracting(..<taken)
        count = kernels.pack(&held, atLeast: bound)
    }

    /// What it holds, in its order, by the memory that it is in; `other` takes its place.
    mutating func exchange(for other: inout [UInt64]) {
        storage.removeLast(storage.count - count)
        swap(&storage, &other)
        count = 0
    }

    /// Leaves only the best `keep`.
    package mutating func finish() {
        guard count > keep else { return }
        let (taken, kept, kernels) = (count, keep, kernels)
        var keys = storage.mutableSpan
        let worst = kernels.keepLargest(kept, ofFirst: taken, in: &keys)
        count = keep
        floor = max(RankKey.score(worst), .min + 1) - 1
        lost = worst
    }
}

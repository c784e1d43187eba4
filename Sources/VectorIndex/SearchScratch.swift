import Synchronization
import VectorMath

/// Memory that searches use again: keep one per worker, or borrow one.
package struct SearchScratch: Sendable {
    /// The query less the mean, where the metric wants that.
    var query: [Float] = []
    var byteQuery = ByteQuery()
    /// Length of `query`.
    var norm: Float = 0
    var listTables = Tier.Tables()
    var rowTables = Tier.Tables()
    var tableFloats: [Float] = []
    var regionKeys: [UInt64] = []
    /// See ``ListRanking``.
    var listKeys: [UInt64] = []
    /// Memory for the next ones.
    var nextListKeys: [UInt64] = []
    var ranking = ListRanking()
    var rowKeys: [UInt64] = []
    var seen = RowSet()
    /// Of an exact search, the best of `rowKeys`.
    var bestKeys: [UInt64] = []
    /// What codes chose: the first `candidateCount`.
    var candidates: [UInt64] = []
    var candidateCount = 0
    var spans: [RowSpan] = []
    var chosen: [UInt32] = []
    /// Lists already ranked by bytes, when a search considers more of them: those with the number of that time.
    var visited: [UInt32] = []
    var visit: UInt32 = 0
    var scores: [Float] = []
    /// Those of the last search: their memory serves the next one when nobody has them any more.
    var hits: [RowHit] = []

    package init() {}

    /// Those that no search has at the moment: as many as searched at once, since memory of this size is dear to get anew for every search.
    private static let idle = Mutex<[SearchScratch]>([])
    private static let mostIdle = 64
    /// Entries of what a search of very many hits needs and others do not: one that has grown so far is not kept.
    private static let mostEntries = 1 << 18

    /// One that an earlier search gave back, or a new one.
    package static func borrow() -> SearchScratch { idle.withLock { $0.popLast() } ?? SearchScratch() }

    package static func giveBack(_ scratch: consuming SearchScratch) {
        let scratch = scratch
        guard max(scratch.candidates.count, scratch.rowKeys.capacity, scratch.bestKeys.capacity, scratch.chosen.capacity, scratch.scores.count, scratch.hits.capacity) <= mostEntries else { return }
        idle.withLock { if $0.count < mostIdle { $0.append(scratch) } }
    }

    static func grow<Element>(_ array: inout [Element], to count: Int, filler: Element) {
        if array.count < count { array.append(contentsOf: repeatElement(filler, count: count - array.count)) }
    }
}

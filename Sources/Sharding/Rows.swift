import Model
import Storage
import VectorMath

/// Points that lie together: a mapped segment, or a block of the tail. Rows never change once they can be seen.
protocol Rows: AnyObject, Sendable {
    func id(_ row: Int) -> PointID
    func version(_ row: Int) -> UInt64
    func contentHash(_ row: Int) -> UInt64
    func vector(_ row: Int) -> [Float]
    /// Writes the vector to `out`, `[dimension]`.
    func copyVector(_ row: Int, to out: inout MutableSpan<Float>)
    /// Says that all vectors are about to be read.
    func fetchVectors()
    /// JSON.
    func payloadBytes(_ row: Int) -> [UInt8]
    /// - Parameter keys: Members to decode; `nil` for all.
    func payload(_ row: Int, only keys: Set<String>?) throws(FormatError) -> Payload
    /// Remembered bitmaps of filters.
    var filters: FilterCache { get }
    /// What an index says of a filter: the rows that may pass and the conditions still to be asked of their payloads; `nil` without one.
    func narrowed(by filter: Filter) -> (candidates: RowBitmap, rest: Filter)?
}

extension Rows {
    func fetchVectors() {}
    func narrowed(by filter: Filter) -> (candidates: RowBitmap, rest: Filter)? { nil }
}

/// Some rows as of one moment: which of them are live.
struct Part: Sendable {
    let rows: any Rows
    /// Rows that can be seen: of a block, those that were there at that moment.
    let count: Int
    /// Of `count` rows, or of a block's capacity.
    let live: RowBitmap
    var liveCount: Int { live.count }
}

extension Part {
    /// The live rows whose ids hash into a range and that were written after a position.
    func narrowed(to range: HashRange, after position: UInt64 = 0) -> Part {
        var live = live
        self.live.visit { row in
            if rows.version(row) <= position || !range.contains(rows.id(row).hash) { live.remove(row) }
            return true
        }
        return Part(rows: rows, count: count, live: live)
    }
}

extension RowBitmap {
    /// The rows of the set from `first` on, ascending, until `body` returns false.
    func visit(from first: Int = 0, _ body: (Int) throws -> Bool) rethrows {
        var index = first >> 6
        guard index < words.count else { return }
        var word = words[index] & (.max << UInt64(first & 63))
        while true {
            while word != 0 {
                guard try body(index << 6 + word.trailingZeroBitCount) else { return }
                word &= word - 1
            }
            index += 1
            guard index < words.count else { return }
            word = words[index]
        }
    }
}

/// A set of rows of one segment, one bit each.
package struct RowBitmap: Hashable, Sendable {
    /// Rows the bitmap speaks of: 0..<`rowCount`.
    package let rowCount: Int
    /// Bit i of word w is row 64·w + i; bits past the last row are 0.
    package private(set) var words: [UInt64]
    /// Rows in the set: kept, as each search under a filter asks for it.
    package private(set) var count: Int

    /// - Parameter filled: Whether all rows are in the set at first.
    package init(rowCount: Int, filled: Bool = false) {
        precondition(rowCount >= 0, "\(rowCount) rows")
        self.rowCount = rowCount
        words = [UInt64](repeating: filled ? .max : 0, count: (rowCount + 63) / 64)
        count = filled ? rowCount : 0
        clearPastEnd()
    }

    package func contains(_ row: Int) -> Bool {
        precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
        return words[row >> 6] >> UInt64(row & 63) & 1 == 1
    }

    package mutating func insert(_ row: Int) {
        precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
        let (before, bit) = (words[row >> 6], 1 << UInt64(row & 63) as UInt64)
        words[row >> 6] = before | bit
        if before & bit == 0 { count += 1 }
    }

    package mutating func remove(_ row: Int) {
        precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
        let (before, bit) = (words[row >> 6], 1 << UInt64(row & 63) as UInt64)
        words[row >> 6] = before & ~bit
        if before & bit != 0 { count -= 1 }
    }

    package var isEmpty: Bool { count == 0 }

    /// Rows of `range` in the set.
    package func count(in range: Range<Int>) -> Int {
        guard !range.isEmpty else { return 0 }
        precondition(range.lowerBound >= 0 && range.upperBound <= rowCount, "rows \(range) of \(rowCount)")
        let first = range.lowerBound >> 6
        let last = (range.upperBound - 1) >> 6
        let head = UInt64.max << UInt64(range.lowerBound & 63)
        let tail = UInt64.max >> UInt64(63 - (range.upperBound - 1) & 63)
        if first == last { return (words[first] & head & tail).nonzeroBitCount }
        var total = (words[first] & head).nonzeroBitCount + (words[last] & tail).nonzeroBitCount
        for index in first + 1..<last { total += words[index].nonzeroBitCount }
        return total
    }

    package mutating func formIntersection(_ other: RowBitmap) {
        combine(other) { $0 & $1 }
    }

    package mutating func formUnion(_ other: RowBitmap) {
        combine(other) { $0 | $1 }
    }

    package mutating func subtract(_ other: RowBitmap) {
        combine(other) { $0 & ~$1 }
    }

    /// Replaces the set by the rows that are not in it.
    package mutating func invert() {
        for index in words.indices { words[index] = ~words[index] }
        count = rowCount - count
        clearPastEnd()
    }

    /// Calls `body` with each row of the set, ascending.
    package func forEach<Failure: Error>(_ body: (Int) throws(Failure) -> Void) throws(Failure) {
        for (index, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                try body(index << 6 + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
    }

    /// Calls `body` with each row of `range` in the set, ascending. O(`range` / 64 + its rows).
    package func forEach(in range: Range<Int>, _ body: (Int) -> Void) {
        guard !range.isEmpty else { return }
        precondition(range.lowerBound >= 0 && range.upperBound <= rowCount, "rows \(range) of \(rowCount)")
        for index in range.lowerBound >> 6...(range.upperBound - 1) >> 6 {
            var rest = words[index]
            if index == range.lowerBound >> 6 { rest &= .max << UInt64(range.lowerBound & 63) }
            if index == (range.upperBound - 1) >> 6 { rest &= .max >> UInt64(63 - (range.upperBound - 1) & 63) }
            while rest != 0 {
                body(index << 6 + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
    }

    @inline(__always)
    private mutating func combine(_ other: RowBitmap, _ operation: (UInt64, UInt64) -> UInt64) {
        precondition(rowCount == other.rowCount, "bitmaps of \(rowCount) and \(other.rowCount) rows")
        var sum = 0
        for index in words.indices {
            let word = operation(words[index], other.words[index])
            words[index] = word
            sum += word.nonzeroBitCount
        }
        count = sum
    }

    private mutating func clearPastEnd() {
        if rowCount & 63 != 0 { words[words.count - 1] &= .max >> UInt64(64 - rowCount & 63) }
    }
}

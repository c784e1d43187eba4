/// A set of row numbers below ``count``, one bit a row. Copies are cheap until one of them changes.
struct Bitmap: Hashable, Sendable {
    /// Bit `row % 64` of word `row / 64`; bits from ``count`` on are 0.
    private(set) var words: [UInt64]
    private(set) var count: Int

    init(count: Int, filled: Bool = false) {
        self.count = count
        words = [UInt64](repeating: filled ? .max : 0, count: (count + 63) / 64)
        if filled, count % 64 != 0 { words[words.count - 1] = (1 << UInt64(count % 64)) - 1 }
    }

    subscript(row: Int) -> Bool {
        get { words[row >> 6] >> UInt64(row & 63) & 1 == 1 }
        set {
            if newValue { words[row >> 6] |= 1 << UInt64(row & 63) } else { words[row >> 6] &= ~(1 << UInt64(row & 63)) }
        }
    }

    mutating func append(_ isSet: Bool) {
        if count & 63 == 0 { words.append(0) }
        count += 1
        if isSet { self[count - 1] = true }
    }

    /// Rows in the set.
    var population: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    static func & (a: Bitmap, b: Bitmap) -> Bitmap { a.combined(b) { $0 & $1 } }
    static func | (a: Bitmap, b: Bitmap) -> Bitmap { a.combined(b) { $0 | $1 } }
    func subtracting(_ other: Bitmap) -> Bitmap { combined(other) { $0 & ~$1 } }

    private func combined(_ other: Bitmap, _ operation: (UInt64, UInt64) -> UInt64) -> Bitmap {
        precondition(count == other.count, "bitmaps of \(count) and \(other.count) rows")
        var result = self
        for index in words.indices { result.words[index] = operation(words[index], other.words[index]) }
        return result
    }

    /// Calls `body` with each row of the set, ascending, until it returns false.
    func forEach(from first: Int = 0, _ body: (Int) throws -> Bool) rethrows {
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

    var rows: [Int] {
        var rows: [Int] = []
        forEach {
            rows.append($0)
            return true
        }
        return rows
    }
}

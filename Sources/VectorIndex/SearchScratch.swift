import VectorMath

/// Memory that searches use again: keep one per worker, or a pool of them.
package struct SearchScratch: Sendable {
    /// Similarity of the query to each list's mean.
    var listScores: [Float] = []
    /// Lists as keys, see ``RankKey``.
    var listKeys: [UInt64] = []
    /// The query less a list's mean.
    var residual: [Float] = []
    var tableFloats: [Float] = []
    var tableBytes: [UInt8] = []
    /// What the scan reports for one stretch of blocks.
    var rows: [UInt32] = []
    var sums: [UInt16] = []
    /// Candidates as keys.
    var candidates: [UInt64] = []
    /// Rows to score exactly, and their scores.
    var chosen: [UInt32] = []
    var scores: [Float] = []

    package init() {}

    static func grow<Element>(_ array: inout [Element], to count: Int, filler: Element) {
        if array.count < count { array.append(contentsOf: repeatElement(filler, count: count - array.count)) }
    }
}

/// A similarity and a number in one integer: larger keys are better, of equal similarities the smaller number.
enum RankKey {
    @inline(__always)
    static func make(_ similarity: Float, _ number: UInt32) -> UInt64 {
        // Flipping the sign bit, or all bits of a negative number, makes floats compare as integers.
        let bits = similarity.bitPattern
        let ordered = bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
        return UInt64(ordered) << 32 | UInt64(~number)
    }

    @inline(__always)
    static func number(_ key: UInt64) -> UInt32 { ~UInt32(truncatingIfNeeded: key) }

    static func similarity(_ key: UInt64) -> Float {
        let ordered = UInt32(key >> 32)
        return Float(bitPattern: ordered >> 31 == 1 ? ordered & 0x7fff_ffff : ~ordered)
    }
}

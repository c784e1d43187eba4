/// Names a point within its collection, as Qdrant does: an unsigned integer or a UUID.
///
/// The order is total: integers before UUIDs, each ascending. It breaks ties between equal scores.
package enum PointID: Hashable, Sendable, Comparable, CustomStringConvertible {
    case integer(UInt64)
    /// A UUID as its two big-endian halves.
    case uuid(high: UInt64, low: UInt64)

    /// Where the point lies in the hash space that shards divide.
    ///
    /// An integer is hashed whole; of a UUID the first 64 bits, so that all chunks of a document, whose UUIDs share
    /// their first half, lie in one shard.
    package var hash: UInt64 {
        switch self {
        case .integer(let value): mix(value)
        case .uuid(let high, _): mix(high)
        }
    }

    /// Reads a UUID in one of Qdrant's forms: hyphenated, simple, or with `urn:uuid:` before it.
    package init?(uuid text: String) {
        var digits = Substring(text)
        if digits.hasPrefix("urn:uuid:") { digits = digits.dropFirst(9) }
        let utf8 = Array(digits.utf8)
        let hyphens = [8, 13, 18, 23]
        guard utf8.count == 32 || (utf8.count == 36 && hyphens.allSatisfy { utf8[$0] == UInt8(ascii: "-") }) else { return nil }
        var halves: (UInt64, UInt64) = (0, 0)
        var digitCount = 0
        for (offset, byte) in utf8.enumerated() where !(utf8.count == 36 && hyphens.contains(offset)) {
            guard let nibble = hexValue(byte) else { return nil }
            if digitCount < 16 { halves.0 = halves.0 << 4 | nibble } else { halves.1 = halves.1 << 4 | nibble }
            digitCount += 1
        }
        self = .uuid(high: halves.0, low: halves.1)
    }

    /// The integer, or the UUID hyphenated in lower case.
    package var description: String {
        switch self {
        case .integer(let value): return String(value)
        case .uuid(let high, let low):
            let digits = Array((fixedHex(high) + fixedHex(low)).utf8)
            let parts = [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(decoding: digits[$0], as: UTF8.self) }
            return parts.joined(separator: "-")
        }
    }

    package static func < (a: PointID, b: PointID) -> Bool {
        switch (a, b) {
        case (.integer(let a), .integer(let b)): a < b
        case (.integer, .uuid): true
        case (.uuid, .integer): false
        case (.uuid(let aHigh, let aLow), .uuid(let bHigh, let bLow)): (aHigh, aLow) < (bHigh, bLow)
        }
    }
}

/// SplitMix64's finalizer: every bit of the input moves every bit of the output (Steele, Lea, Flood, OOPSLA 2014).
private func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
}

private func hexValue(_ byte: UInt8) -> UInt64? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
}

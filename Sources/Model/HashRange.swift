/// A closed range of the 64-bit hash space: what one shard of a collection keeps.
package struct HashRange: Hashable, Sendable {
    package let first: UInt64
    package let last: UInt64

    package init(first: UInt64, last: UInt64) {
        precondition(first <= last, "hash range \(first)...\(last) is empty")
        self.first = first
        self.last = last
    }

    package static let all = HashRange(first: 0, last: .max)

    package func contains(_ hash: UInt64) -> Bool { first <= hash && hash <= last }

    /// Divides the whole space into `count` ranges that tile it exactly, equal up to one hash.
    package static func tiling(_ count: Int) -> [HashRange] {
        precondition(count > 0, "\(count) shards")
        return (0..<count).map { tile($0, of: count) }
    }

    /// The range at `index` of ``tiling(_:)``.
    package static func tile(_ index: Int, of count: Int) -> HashRange {
        // The i-th boundary is ⌊i × 2^64 / count⌋, computed on 128 bits.
        func boundary(_ i: Int) -> UInt64 { UInt64(count).dividingFullWidth((UInt64(i), 0)).quotient }
        return HashRange(first: index == 0 ? 0 : boundary(index), last: index == count - 1 ? .max : boundary(index + 1) - 1)
    }
}

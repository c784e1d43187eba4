/// How a collection's hash space is divided among its shards at the moment: into equal ranges at first, some of them halved since.
///
/// Of n first shards the halves of shard i are the shards n + 2i and n + 2i + 1. So an index alone says a shard's range and ancestors,
/// whoever computes it, and no table of layouts has to be agreed on: a shard that was split says so itself (protocol, H13).
package struct ShardLayout: Hashable, Sendable {
    package struct Shard: Hashable, Sendable {
        package let index: Int
        package let range: HashRange
    }

    package let firstCount: Int
    /// Indexes of the shards that were split.
    package private(set) var splits: Set<Int>
    /// Those that keep points, in the order of their ranges, which tile the hash space.
    package private(set) var shards: [Shard]

    /// - Parameter splits: Those of shards whose ancestors are not all among them count for nothing.
    package init(firstCount: Int, splits: Set<Int> = []) {
        self.firstCount = firstCount
        self.splits = splits
        shards = []
        for index in 0..<firstCount { add(Shard(index: index, range: HashRange.tile(index, of: firstCount))) }
    }

    private mutating func add(_ shard: Shard) {
        guard splits.contains(shard.index), let halves = shard.range.halves else { return shards.append(shard) }
        let children = Self.children(of: shard.index, firstCount: firstCount)
        add(Shard(index: children.lower, range: halves.lower))
        add(Shard(index: children.upper, range: halves.upper))
    }

    package func splitting(_ indexes: Set<Int>) -> ShardLayout { ShardLayout(firstCount: firstCount, splits: splits.union(indexes)) }

    /// Place in ``shards`` of the one that keeps a hash.
    package func place(of hash: UInt64) -> Int {
        var (low, high) = (0, shards.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if shards[middle].range.first <= hash { low = middle } else { high = middle - 1 }
        }
        return low
    }

    // MARK: - What an index says

    /// Highest index of a shard that may be split: its halves' stay exact in any client's numbers.
    package static let highestSplit = 1 << 40

    package static func children(of index: Int, firstCount: Int) -> (lower: Int, upper: Int) { (firstCount + 2 * index, firstCount + 2 * index + 1) }

    /// `nil` for one of the first shards.
    package static func parent(of index: Int, firstCount: Int) -> Int? { index < firstCount ? nil : (index - firstCount) / 2 }

    /// The first shard whose range holds that of `index`.
    package static func root(of index: Int, firstCount: Int) -> Int {
        var index = index
        while let parent = parent(of: index, firstCount: firstCount) { index = parent }
        return index
    }

    /// `nil` for an index that no shard has.
    package static func range(of index: Int, firstCount: Int) -> HashRange? {
        guard index >= 0 else { return nil }
        guard let parent = parent(of: index, firstCount: firstCount) else { return HashRange.tile(index, of: firstCount) }
        guard let halves = range(of: parent, firstCount: firstCount)?.halves else { return nil }
        return index == children(of: parent, firstCount: firstCount).lower ? halves.lower : halves.upper
    }
}

extension HashRange {
    /// `nil` for a single hash.
    package var halves: (lower: HashRange, upper: HashRange)? {
        guard first < last else { return nil }
        let middle = first + (last - first) / 2
        return (HashRange(first: first, last: middle), HashRange(first: middle + 1, last: last))
    }
}

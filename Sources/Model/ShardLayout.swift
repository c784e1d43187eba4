/// How a collection's hash space is divided among its shards at the moment: into equal ranges at first, some of them halved and united since.
///
/// Of n first shards the halves of shard i are the shards n + 2i and n + 2i + 1 of its generation. The two halves of a shard, if they are merged
/// again, become that shard of the next generation: one more than the higher of theirs. So an index alone says a shard's range and root, no
/// index is ever used twice, and no table of layouts has to be agreed on: a shard that was split or merged says so itself (protocol, H13, H14).
package struct ShardLayout: Hashable, Sendable {
    package struct Shard: Hashable, Sendable {
        package let index: Int
        package let range: HashRange
    }

    package let firstCount: Int
    /// Indexes of the shards that were split.
    package private(set) var splits: Set<Int>
    /// Halves that were merged with their siblings, and what took the place of both; one half of two is enough.
    package private(set) var merges: [Int: Int]
    /// Those that keep points, in the order of their ranges, which tile the hash space.
    package private(set) var shards: [Shard]

    /// - Parameters:
    ///   - splits: Those of shards that nothing here led to count for nothing.
    ///   - merges: So it is with those that ``merged(_:_:firstCount:)`` cannot have led to.
    package init(firstCount: Int, splits: Set<Int> = [], merges: [Int: Int] = [:]) {
        self.firstCount = firstCount
        self.splits = splits
        self.merges = merges.filter { half, merged in
            Self.base(of: merged) == Self.parent(of: half, firstCount: firstCount).map(Self.base) && Self.generation(of: merged) > Self.generation(of: half)
        }
        shards = []
        shards = (0..<firstCount).flatMap { leaves(of: Shard(index: $0, range: HashRange.tile($0, of: firstCount))) }
    }

    /// Those that keep a shard's range now; of a wider range if it was merged.
    private func leaves(of shard: Shard) -> [Shard] {
        if let merged = merges[shard.index], let range = Self.range(of: merged, firstCount: firstCount) { return leaves(of: Shard(index: merged, range: range)) }
        guard splits.contains(shard.index), let halves = shard.range.halves else { return [shard] }
        let children = Self.children(of: shard.index, firstCount: firstCount)
        let lower = leaves(of: Shard(index: children.lower, range: halves.lower))
        if lower[lower.count - 1].range.last > halves.lower.last { return lower }
        let upper = leaves(of: Shard(index: children.upper, range: halves.upper))
        return upper[0].range.first < halves.upper.first ? upper : lower + upper
    }

    /// The layout that is known once these shards have said that they were split or merged.
    package func learning(splits more: Set<Int> = [], merges others: [Int: Int] = [:]) -> ShardLayout {
        ShardLayout(firstCount: firstCount, splits: splits.union(more), merges: merges.merging(others) { known, _ in known })
    }

    package func isAsNew(as other: ShardLayout) -> Bool { splits.isSuperset(of: other.splits) && other.merges.keys.allSatisfy { merges[$0] != nil } }

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

    /// Highest index of a shard that may be split, its generation apart.
    package static let highestSplit = 1 << 40
    /// Highest generation: indexes stay exact in any client's numbers, which have 53 bits.
    package static let highestGeneration = 1 << 11 - 1
    private static let generationShift = 42

    /// How often a shard of this range was made by merging, at most.
    package static func generation(of index: Int) -> Int { index >> generationShift }
    package static func index(_ base: Int, generation: Int) -> Int { generation << generationShift + base }
    /// The index without its generation.
    package static func base(of index: Int) -> Int { index & (1 << generationShift - 1) }

    package static func children(of index: Int, firstCount: Int) -> (lower: Int, upper: Int) {
        let first = generation(of: index) << generationShift + firstCount + 2 * base(of: index)
        return (first, first + 1)
    }

    /// The shard of the same generation that this one is a half of, if it came of a split; `nil` for one of the first shards' ranges.
    package static func parent(of index: Int, firstCount: Int) -> Int? {
        base(of: index) < firstCount ? nil : generation(of: index) << generationShift + (base(of: index) - firstCount) / 2
    }

    /// Whether it is the upper half of something.
    package static func isUpper(_ index: Int, firstCount: Int) -> Bool { parent(of: index, firstCount: firstCount) != nil && (base(of: index) - firstCount) % 2 == 1 }

    /// What two halves become when they are merged; `nil` if they are not the lower and the upper half of one range, or were merged too often.
    package static func merged(_ lower: Int, _ upper: Int, firstCount: Int) -> Int? {
        guard lower >= 0, upper >= 0, let parent = parent(of: lower, firstCount: firstCount), !isUpper(lower, firstCount: firstCount), base(of: upper) == base(of: lower) + 1 else { return nil }
        let generation = max(generation(of: lower), generation(of: upper)) + 1
        return generation > highestGeneration ? nil : generation << generationShift + base(of: parent)
    }

    /// The first shard whose range holds that of `index`.
    package static func root(of index: Int, firstCount: Int) -> Int {
        var index = base(of: index)
        while let parent = parent(of: index, firstCount: firstCount) { index = parent }
        return index
    }

    /// `nil` for an index that no shard has.
    package static func range(of index: Int, firstCount: Int) -> HashRange? {
        guard index >= 0, generation(of: index) <= highestGeneration else { return nil }
        guard let parent = parent(of: base(of: index), firstCount: firstCount) else { return HashRange.tile(base(of: index), of: firstCount) }
        guard let halves = range(of: parent, firstCount: firstCount)?.halves else { return nil }
        return isUpper(index, firstCount: firstCount) ? halves.upper : halves.lower
    }
}

extension HashRange {
    /// `nil` for a single hash.
    package var halves: (lower: HashRange, upper: HashRange)? {
        guard first < last else { return nil }
        let middle = first + (last - first) / 2
        return (HashRange(first: first, last: middle), HashRange(first: middle + 1, last: last))
    }

    package func intersection(_ other: HashRange) -> HashRange? {
        let (first, last) = (max(first, other.first), min(last, other.last))
        return first <= last ? HashRange(first: first, last: last) : nil
    }
}

extension [HashRange] {
    /// The same hashes in as few ranges as can be, ascending.
    package var united: [HashRange] {
        sorted { $0.first < $1.first }.reduce(into: []) { united, range in
            if let last = united.last, last.last == .max || range.first <= last.last + 1 {
                united[united.count - 1] = HashRange(first: last.first, last: Swift.max(last.last, range.last))
            } else {
                united.append(range)
            }
        }
    }

    package func contains(_ hash: UInt64) -> Bool { contains { $0.contains(hash) } }
}

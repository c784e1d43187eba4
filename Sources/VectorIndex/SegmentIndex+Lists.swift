import Model
import VectorMath

/// The state of `scratch.listKeys` during a search: first the lists that were scanned, then those scored by their bytes, then those
/// scored by their codes.
struct ListRanking {
    var scanned = 0
    var ranked = 0
    /// Lists whose codes were scored, in this ranking and those before, and the regions that they are of.
    var considered = 0
    var regions = 0
    /// The similarity of the best region that was left out.
    var nextRegion: Float = -.infinity
}

/// How a search finds the lists that are worth scanning.
extension SegmentIndex {
    /// Scores the lists of the most promising regions by their codes. Lists that were ranked by bytes before stay as they are.
    ///
    /// - Parameters:
    ///   - least: Regions, if there are so many.
    ///   - margin: Further regions that are at most so far below the best one, in the unit of ``gapUnit(_:)``.
    /// - Returns: `false` if the caller stopped it.
    func rankLists(
        regions least: Int, within margin: Float, _ query: PreparedQuery, _ ranking: inout ListRanking, scratch: inout SearchScratch, shouldStop: () -> Bool
    ) -> Bool {
        regions.score(&scratch.regionKeys, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        let reference = greatest(of: scratch.regionKeys, from: 0)
        var regionCount = regions.count
        let bound = reference - margin * gapUnit(query.norm)
        if bound > -.infinity {  // no number, where similarities have overflowed, bounds nothing
            regionCount = moveToFront(0..<regions.count, of: &scratch.regionKeys, atLeast: RankKey.make(bound, .max))
            let least = min(regions.count, max(Self.consideredRegions, least))
            if regionCount < least {
                keepLargest(least, in: &scratch.regionKeys)
                regionCount = least
            }
        }

        ranking.nextRegion = greatest(of: scratch.regionKeys, from: regionCount)
        lists.fill(&scratch.listTables, for: scratch.query, weight: query.weight, reference: reference, floats: &scratch.tableFloats, kernels: kernels)
        scratch.spans.removeAll(keepingCapacity: true)
        (ranking.considered, ranking.regions) = (0, regionCount)
        for index in 0..<regionCount {
            let key = scratch.regionKeys[index]
            let region = Int(RankKey.row(key))
            ranking.considered += lists.children(of: region).count
            lists.add(region, similarity: RankKey.floatScore(key), scratch.listTables, to: &scratch.spans)
        }
        var pool = CandidatePool(keep: listCount, storage: scratch.nextListKeys, kernels: kernels)
        scratch.nextListKeys = []
        defer { scratch.nextListKeys = pool.storage }
        guard lists.scan(scratch.spans, scratch.listTables, admits: nil, pool: &pool, kernels: kernels, shouldStop: shouldStop) else { return false }
        if ranking.ranked == 0 {
            pool.exchange(for: &scratch.listKeys)
        } else {
            scratch.listKeys.removeLast(scratch.listKeys.count - ranking.ranked)
            SearchScratch.grow(&scratch.visited, to: listCount, filler: 0)
            scratch.visit &+= 1
            for key in scratch.listKeys { scratch.visited[Int(RankKey.row(key))] = scratch.visit }
            for key in pool.storage[..<pool.count] where scratch.visited[Int(RankKey.row(key))] != scratch.visit { scratch.listKeys.append(key) }
        }
        return true
    }

    /// The similarity of the best of some keys.
    private func greatest(of keys: [UInt64], from first: Int) -> Float {
        first < keys.count ? RankKey.floatScore(kernels.greatest(of: keys.span.extracting(first...))) : -.infinity
    }

    /// Regions whose lists are looked at, at least.
    private static let consideredRegions = 4

    /// Scores those lists by their bytes whose codes say that they may have a similarity of at least `bound`, at most so many: the best.
    ///
    /// - Returns: How many they are.
    @discardableResult
    func rankByBytes(
        above bound: Float, atMost limit: Int, _ query: PreparedQuery, _ ranking: inout ListRanking, scratch: inout SearchScratch
    ) -> Int {
        let first = ranking.ranked
        var end = scratch.listKeys.count
        if bound > -.infinity { end = moveToFront(first..<end, of: &scratch.listKeys, atLeast: scratch.listTables.key(bound)) }
        if end - first > limit {
            keepLargest(limit, ofNext: end - first, from: first, in: &scratch.listKeys)
            end = first + limit
        }
        lists.score(&scratch.listKeys, first..<end, query: scratch.byteQuery, weight: query.weight, kernels: kernels)
        ranking.ranked = end
        return end - first
    }

    /// Moves the lists scored by bytes with a similarity of at least `bound` to the front of those not yet scanned.
    ///
    /// - Returns: How many they are.
    func gatherLists(above bound: Float, _ ranking: inout ListRanking, scratch: inout SearchScratch) -> Int {
        guard bound > -.infinity else { return ranking.ranked - ranking.scanned }  // no number, where similarities have overflowed, bounds nothing
        return moveToFront(ranking.scanned..<ranking.ranked, of: &scratch.listKeys, atLeast: RankKey.make(bound, .max)) - ranking.scanned
    }

    /// Moves those of some keys that are at least `least` to the front of them.
    ///
    /// - Returns: Where they end.
    private func moveToFront(_ range: Range<Int>, of keys: inout [UInt64], atLeast least: UInt64) -> Int {
        var all = keys.mutableSpan
        var span = all._mutatingExtracting(range)
        return range.lowerBound + kernels.moveToFront(&span, atLeast: least)
    }

    @discardableResult
    func keepLargest(_ keep: Int, in keys: inout [UInt64]) -> UInt64 {
        keepLargest(keep, ofNext: keys.count, from: 0, in: &keys)
    }

    /// Moves the `keep` largest of `count` keys from `first` on to the front of them.
    ///
    /// - Returns: The least of them.
    @discardableResult
    func keepLargest(_ keep: Int, ofNext count: Int, from first: Int, in keys: inout [UInt64]) -> UInt64 {
        var all = keys.mutableSpan
        var span = all._mutatingExtracting(first..<first + count)
        return kernels.keepLargest(keep, ofFirst: count, in: &span)
    }

    /// What similarities' gaps are measured in, see ``Calibration``.
    ///
    /// - Parameter norm: The query's length, less the mean.
    func gapUnit(_ norm: Float) -> Float { metric == .cosine ? 1 : norm }
}

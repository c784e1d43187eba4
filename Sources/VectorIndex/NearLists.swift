import Storage
import VectorMath

/// Finds the lists whose centres are nearest to a vector, in the regions nearest to it.
struct NearLists: Sendable {
    let regions: ByteVectors
    /// Those of a region follow each other.
    let lists: ByteVectors
    /// `[regions + 1]`
    let starts: [UInt32]
    /// |c|²/2 of each.
    private let (regionNorms, listNorms): ([Float], [Float])
    /// ``RankKey`` of all, without scores.
    private let (regionKeys, listKeys): ([UInt64], [UInt64])
    private let zeros: [Float]
    /// Regions that are looked into.
    private let regionsPerRow: Int

    /// Lists that a vector is compared with, about. Of the rows of a million sentences 98 %, 99 %, 99.7 % find the nearest of 20,800 lists among 570, 1,640, 3,170; among the 400
    /// that are nearest to the centre of their region 83 % do, and then twice as many lists had to be scanned for recall@10 0.95.
    private static let compared = 800
    /// Lists that are kept: a row's second list is among the 50 nearest as good as among all.
    private static let kept = 64

    /// What one thread searches with.
    struct Scratch {
        fileprivate var query = ByteQuery()
        fileprivate var difference: [Float] = []
        fileprivate var regionKeys: [UInt64] = []
        /// The nearest lists as ``RankKey``, in no order, with c·x − |c|²/2 as their scores.
        fileprivate(set) var keys: [UInt64] = []
        fileprivate var along: [UInt64] = []
    }

    init(regions: ByteVectors, lists: ByteVectors, starts: [UInt32]) {
        (self.regions, self.lists, self.starts) = (regions, lists, starts)
        zeros = [Float](repeating: 0, count: lists.dimension)
        (regionNorms, listNorms) = (regions.halfNorms(0..<regions.count), lists.halfNorms(0..<lists.count))
        regionKeys = (0..<UInt32(regions.count)).map { RankKey.make(Int32(0), $0) }
        listKeys = (0..<UInt32(lists.count)).map { RankKey.make(Int32(0), $0) }
        regionsPerRow = min(regions.count, max(1, (Self.compared * regions.count + lists.count - 1) / lists.count))
    }

    /// Leaves the nearest lists of a vector in `scratch.keys`.
    func find(_ row: Int, of vectors: ByteVectors, _ scratch: inout Scratch) {
        let kernels = Kernels.best
        scratch.query.set(row, of: vectors)
        scratch.keys.removeAll(keepingCapacity: true)
        if regionsPerRow < regions.count {
            scratch.regionKeys.removeAll(keepingCapacity: true)
            scratch.regionKeys.append(contentsOf: regionKeys)
            score(&scratch.regionKeys, regions, regionNorms, weight: 1, scratch.query)
            keepLargest(regionsPerRow, of: &scratch.regionKeys)
            for key in scratch.regionKeys {
                let region = Int(RankKey.row(key))
                scratch.keys.append(contentsOf: listKeys[Int(starts[region])..<Int(starts[region + 1])])
            }
        } else {
            scratch.keys.append(contentsOf: listKeys)
        }
        score(&scratch.keys, lists, listNorms, weight: 1, scratch.query)
        keepLargest(Self.kept, of: &scratch.keys)

        func keepLargest(_ keep: Int, of keys: inout [UInt64]) {
            guard keep < keys.count else { return }
            let count = keys.count
            var all = keys.mutableSpan
            kernels.keepLargest(keep, ofFirst: count, in: &all)
            keys.removeLast(count - keep)
        }
    }

    /// The nearest list of the last vector, and its second one, see ``Spills``; `.max` for none.
    func chosen(_ row: Int, of vectors: ByteVectors, _ scratch: inout Scratch) -> (first: UInt32, second: UInt32) {
        let kernels = Kernels.best
        let first = RankKey.row(scratch.keys.max()!)
        let vector = vectors.decoded(row)
        var rest = lists.decoded(Int(first))
        for element in rest.indices { rest[element] = vector[element] - rest[element] }
        let square = kernels.dot(rest.span, rest.span)
        guard square > 0, square.isFinite else { return (first, .max) }
        if scratch.difference.isEmpty { scratch.difference = zeros }
        scratch.query.set(rest.span, less: zeros.span, difference: &scratch.difference, kernels: kernels)
        scratch.along.removeAll(keepingCapacity: true)
        scratch.along.append(contentsOf: scratch.keys)
        score(&scratch.along, lists, listNorms, weight: 0, scratch.query)
        let own = kernels.dot(vector.span, rest.span)
        let factor = Spills.weight / square
        var (second, least) = (UInt32.max, Float.infinity)
        for place in scratch.keys.indices {
            let list = RankKey.row(scratch.keys[place])
            // Less |x|², which is the same for all.
            let parallel = own - RankKey.floatScore(scratch.along[place])
            let loss = parallel * parallel * factor - 2 * RankKey.floatScore(scratch.keys[place])
            if list != first && (loss < least || loss == least && list < second) { (second, least) = (list, loss) }
        }
        return (first, second)
    }

    /// Sets `keys` to all lists' keys, with the scores that a search ranks them by.
    func rank(for query: ByteQuery, _ keys: inout [UInt64]) {
        keys.removeAll(keepingCapacity: true)
        keys.append(contentsOf: listKeys)
        score(&keys, lists, listNorms, weight: 2 * Tier.rankingBias, query)
    }

    private func score(_ keys: inout [UInt64], _ vectors: ByteVectors, _ norms: [Float], weight: Float, _ query: ByteQuery) {
        let count = keys.count
        var out = keys.mutableSpan
        Kernels.best.score(query, weight: weight, rows: vectors.bytes.span, scales: vectors.scales.span, biases: norms.span, keys: &out, count: count)
    }
}

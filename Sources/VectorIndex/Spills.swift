import Storage
import VectorMath

/// The second list of each row: a query whose nearest list is not the row's own finds it there.
///
/// It is the one with the least |x − c|² + λ · (r·(x − c))² / |r|², where r is what separates the row x from its own list's centre (SOAR: Sun et al.,
/// "SOAR: improved indexing for approximate nearest neighbor search", NeurIPS 2023): where the first centre says little about the row, because the query lies in r's direction, the second
/// says much. Rows that are their list's centre have none.
enum Spills {
    /// λ. Counted on a million sentences, rows to scan for recall@10 0.90, 0.95, 0.99 with one list a row 5,900, 20,200, 177,000, with two and 0, 1, 1.5 here 2,900, 8,100, 91,700; 2,000, 4,400, 24,500;
    /// 2,000, 4,300, 23,700.
    static let weight: Float = 1.5

    /// A scan numbers rows and spills in 32 bits.
    static let mostRows = Int(UInt32.max) / 2 - 64

    /// Whether second lists at least halve the rows to scan: counted for some rows as queries, by where their true neighbours lie. Otherwise they are not worth the memory, nor what a search pays for seeing
    /// rows twice.
    ///
    /// Rows to scan with over without them at 0.97: 0.3 on a million sentences, whose neighbours lie in many lists; 0.7 on `ann-minilm-384`, 0.9 on `ann-glove-50`, more than 1 on a million with clear clusters.
    ///
    /// - Parameters:
    ///   - first, second: Of each vector its lists, as `near` numbers them; `.max` for none.
    ///   - queries: Vectors that shaped no list.
    /// - Complexity: 48 to 128 comparisons of a vector with all by their bytes.
    static func pay(
        _ vectors: ByteVectors, _ near: NearLists, first: [UInt32], second: [UInt32], queries: [Int], _ work: BuildWork
    ) throws(SegmentError) -> Bool {
        let queries = Array(queries.prefix(max(leastQueries, min(mostQueries, comparisons / max(1, vectors.count)))))
        guard !queries.isEmpty, near.lists.count > 1 else {
            try work.advance(to: BuildShare.spills)
            return false
        }
        let halfNorms = try work.joined(BuildWork.pieces(vectors.count, of: piece), count: vectors.count, until: BuildShare.clusters) { vectors.halfNorms($0) }
        let ranks = try work.joined(BuildWork.pieces(queries.count, of: 1), count: queries.count * neighbours, until: BuildShare.spills) { piece in
            var (query, keys) = (ByteQuery(), [UInt64]())
            query.set(queries[piece.lowerBound], of: vectors)
            let rows = nearest(query, vectors, halfNorms, except: queries[piece.lowerBound])
            near.rank(for: query, &keys)
            func rank(_ list: UInt32) -> Int {
                guard list != .max else { return .max }
                let key = keys[Int(list)]
                return keys.count { $0 > key } + 1
            }
            return rows.map { row in
                let own = rank(first[row])
                return (first: own, either: min(own, rank(second[row])))
            }
        }
        func quantile(_ ranks: [Int]) -> Int { ranks.sorted()[Int(recall * Double(ranks.count))] }
        let copies = 1 + Double(second.count { $0 != .max }) / Double(second.count)
        return copies * Double(quantile(ranks.map(\.either))) < worthwhile * Double(quantile(ranks.map(\.first)))
    }

    /// What it is measured with: queries, and comparisons of them with rows where these are many.
    private static let (leastQueries, mostQueries, comparisons) = (48, 128, 128 << 20)
    /// Neighbours of each query, the share of them to find, rows of a piece; and what the rows to scan have to come down to.
    private static let (neighbours, recall, piece, worthwhile) = (10, 0.97, 1 << 14, 0.5)

    /// The rows nearest to a query by their bytes.
    private static func nearest(_ query: ByteQuery, _ vectors: ByteVectors, _ halfNorms: [Float], except own: Int) -> [Int] {
        var keys: [UInt64] = []
        for piece in BuildWork.pieces(vectors.count, of: piece) {
            let kept = keys.count
            for row in piece where row != own { keys.append(RankKey.make(Int32(0), UInt32(row))) }
            let count = keys.count
            var all = keys.mutableSpan
            var fresh = all._mutatingExtracting(kept...)
            Kernels.best.score(
                query, weight: 1, rows: vectors.bytes.span, scales: vectors.scales.span, biases: halfNorms.span, keys: &fresh, count: count - kept)
            Kernels.best.keepLargest(min(neighbours, count), ofFirst: count, in: &all)
            keys.removeLast(count - min(neighbours, count))
        }
        return keys.map { Int(RankKey.row($0)) }
    }
}

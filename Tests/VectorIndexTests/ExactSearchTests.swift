import Model
import Testing
import VectorIndex
import VectorMath

/// An exact search that leaves out what bytes rule out has the hits, to the bit, of one that scores every full vector.
@Suite("an exact search by bytes first")
struct ExactSearchTests {
    /// Compares both, without a filter, with scattered ones, and with those that admit what is near to the query, or far from it.
    ///
    /// - Returns: Full vectors scored for the queries without a filter.
    @discardableResult
    private func check(_ segment: BuiltSegment, _ queries: [[Float]], limits: [Int] = [1, 10, 100], _ words: Comment? = nil) -> [Int] {
        var scratch = SearchScratch()
        var random = SplitMix64(seed: 9)
        var scored: [Int] = []
        func hits(_ query: [Float], _ limit: Int, _ admits: RowBitmap?, bytesFrom: Int = 0) -> SegmentSearchResult {
            segment.index.searchExactly(query.span, limit: limit, admits: admits, bytesFrom: bytesFrom, scratch: &scratch)
        }
        for query in queries {
            let ranked = hits(query, segment.count, nil, bytesFrom: .max).hits.map(\.row)
            var filters: [RowBitmap?] = [nil]
            for share in [2, 10, 50] {
                for rows in [random.sample(segment.count / share, below: segment.count), Array(ranked.prefix(segment.count / share)), Array(ranked.suffix(segment.count / share))] {
                    var bitmap = RowBitmap(rowCount: segment.count)
                    for row in rows { bitmap.insert(row) }
                    filters.append(bitmap)
                }
            }
            for limit in limits {
                for filter in filters {
                    let (found, wanted) = (hits(query, limit, filter), hits(query, limit, filter, bytesFrom: .max))
                    #expect(found.hits == wanted.hits && found.recall == 1 && !found.byCode, words)
                    #expect(found.rescored <= wanted.rescored, words)
                    if filter == nil && limit == 10 { scored.append(found.rescored) }
                }
            }
        }
        return scored
    }

    @Test("of any metric and dimension, and few full vectors are read", arguments: Metric.allCases, [17, 128, 131, 384])
    func clustered(metric: Metric, dimension: Int) throws {
        let count = 3_000
        let all = BuiltSegment.clustered(count + 3, dimension: dimension, metric: metric, seed: UInt64(dimension))
        let segment = try BuiltSegment(Array(all[..<(count * dimension)]), dimension: dimension, metric: metric)
        let scored = check(segment, (count..<count + 3).map { Array(all[$0 * dimension..<($0 + 1) * dimension]) })
        if dimension >= 128 { #expect(scored.allSatisfy { $0 < count / 4 }, "\(scored) of \(count)") }
    }

    @Test("where all that rounding does is against the best rows")
    func adversarial() throws {
        let dimension = 128
        // Rounded by a scale of 1: the best have elements of 10.49, which become 10; others' are less on average, and become 10.5. Most rows are far.
        // Each is there with the opposite sign, too, so that the mean is 0.
        let best = [127] + [Float](repeating: 10.49, count: dimension - 1)
        let other = [127] + (1..<dimension).map { Float($0 % 2 == 0 ? 10.51 : 10.43) }
        var vectors: [Float] = []
        for row in 0..<1_000 {
            let vector = switch row % 100 {
            case 7: best
            case 8..<18: other
            default: [127] + [Float](repeating: Float(row % 4), count: dimension - 1)
            }
            vectors += vector + vector.map { -$0 }
        }
        let segment = try BuiltSegment(vectors, dimension: dimension, metric: .dot)
        let scored = check(segment, [[0] + [Float](repeating: 1, count: dimension - 1), [Float](repeating: 1, count: dimension)], limits: [5, 10, 20])
        #expect(scored.allSatisfy { (10...200).contains($0) }, "\(scored)")
    }

    @Test(
        "of numbers of any size, far from the origin, equal, or with lengths that differ by far",
        arguments: Metric.allCases, [(1, 0), (1e-30, 0), (1e-38, 0), (1e14, 0), (1e18, 0), (1, 1_000), (1, 1e7), (0, 3)] as [(Float, Float)])
    func extremes(metric: Metric, shape: (scale: Float, offset: Float)) throws {
        let (count, dimension) = (1_200, 128)
        var random = SplitMix64(seed: 4)
        let unit = BuiltSegment.clustered(count + 2, dimension: dimension, metric: .euclid, seed: 6)
        var all = unit.map { $0 * shape.scale + shape.offset }
        // Lengths over six orders of magnitude, and duplicates.
        for row in stride(from: 0, to: count, by: 3) where metric != .cosine {
            let factor = Float(sign: .plus, exponent: -Int(random.next() % 20), significand: 1)
            for element in row * dimension..<(row + 1) * dimension { all[element] *= factor }
        }
        for element in 0..<dimension { for row in stride(from: 5, to: count, by: 40) { all[row * dimension + element] = all[5 * dimension + element] } }
        if metric == .cosine {
            for row in 0..<count + 2 {
                let range = row * dimension..<(row + 1) * dimension
                let length = all[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
                for element in range { all[element] = Float(Double(all[element]) / max(length, 1e-300)) }
            }
        }
        let segment = try BuiltSegment(Array(all[..<(count * dimension)]), dimension: dimension, metric: metric)
        let queries = [count, count + 1, 5].map { Array(all[$0 * dimension..<($0 + 1) * dimension]) }
        check(segment, queries + (metric == .cosine ? [] : [[Float](repeating: 0, count: dimension), queries[0].map { $0 * 1e4 }]), limits: [1, 10])
    }

    @Test("in a segment of half precision, whose vectors are not of unit length to the last bit, and of bytes", arguments: Metric.allCases, VectorDatatype.allCases)
    func datatypes(metric: Metric, datatype: VectorDatatype) throws {
        guard !(datatype == .uint8 && metric == .cosine) else { return }
        let (count, dimension) = (1_500, 130)
        let all = BuiltSegment.clustered(count + 2, dimension: dimension, metric: metric, seed: 3)
            .map { datatype == .uint8 || datatype == .int8 ? ($0 * 20).rounded() + (datatype == .uint8 ? 128 : 0) : Float(Float16($0)) }
        let segment = try BuiltSegment(Array(all[..<(count * dimension)]), dimension: dimension, metric: metric, datatype: datatype)
        check(segment, (count..<count + 2).map { Array(all[$0 * dimension..<($0 + 1) * dimension]) })
    }
}

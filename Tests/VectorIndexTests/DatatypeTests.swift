import Model
import Testing
import VectorIndex
import VectorMath

@Suite("a segment of any datatype")
struct DatatypeTests {
    /// Clustered vectors as the datatype stores them.
    private func stored(_ count: Int, _ dimension: Int, _ metric: Metric, _ datatype: VectorDatatype, seed: UInt64) throws -> [Float] {
        let vectors = BuiltSegment.clustered(count, dimension: dimension, metric: metric, seed: seed)
        guard datatype.isInteger else { return try datatype.stored(vectors) }
        let greatest = vectors.map(abs).max()!
        let (factor, offset) = datatype == .int8 ? (127 / greatest, 0 as Float) : (127 / greatest, 128 as Float)
        return try datatype.stored(vectors.map { ($0 * factor).rounded() + offset })
    }

    /// The score that the portable kernel gives to the numbers that are stored.
    private func score(_ vector: [Float], _ query: [Float], _ metric: Metric, _ datatype: VectorDatatype) -> Float {
        let kernels = Kernels(.portable)!
        switch metric {
        case .euclid: return kernels.squaredDistance(query.span, vector.span).squareRoot()
        case .dot: return kernels.dot(query.span, vector.span)
        case .cosine:
            let norm = vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            return kernels.dot(query.span, vector.span) * (datatype.isInteger ? Float(1 / norm) : 1)
        }
    }

    @Test("searches what it stores: an exact search has the model's rows and scores to the bit, one by code nearly all of them", arguments: VectorDatatype.allCases, Metric.allCases)
    func exact(datatype: VectorDatatype, metric: Metric) throws {
        let (count, dimension) = (3_000, 33)
        let vectors = try stored(count, dimension, metric, datatype, seed: 3)
        let segment = try BuiltSegment(vectors, dimension: dimension, metric: metric, datatype: datatype)
        #expect(segment.index.datatype == datatype)
        #expect(segment.index.vectorByteCount == count * (dimension * datatype.byteCount + (datatype.isInteger && metric == .cosine ? 4 : 0)))
        let rows = (0..<count).map { row in Array(vectors[Int(segment.order[row]) * dimension..<(Int(segment.order[row]) + 1) * dimension]) }
        #expect((0..<count).allSatisfy { segment.index.vector($0) == rows[$0] })

        var scratch = SearchScratch()
        var common = 0
        for number in 0..<40 {
            var query = rows[number * 70].enumerated().map { $1 + Float(($0 * 7 + number) % 5) * 0.01 }
            if metric == .cosine {
                let norm = query.reduce(0) { $0 + $1 * $1 }.squareRoot()
                query = query.map { $0 / norm }
            }
            let scores = rows.map { score($0, query, metric, datatype) }
            let expected = rows.indices.sorted { scores[$0] == scores[$1] ? $0 < $1 : metric.isBetter(scores[$0], than: scores[$1]) }.prefix(10)
            for level in Kernels.Level.allCases {
                guard let index = try segment.index(level) else { continue }
                let found = index.hits(of: query, limit: 10, effort: SearchEffort(exact: true), scratch: &scratch)
                #expect(found.hits == expected.map { RowHit(row: $0, score: scores[$0]) })
                #expect(index.score(of: expected[0], to: query.span) == scores[expected[0]])
            }
            let byCode = segment.index.hits(of: query, limit: 10, scratch: &scratch)
            #expect(byCode.byCode && byCode.hits.allSatisfy { $0.score == scores[$0.row] })
            common += Set(byCode.hits.map(\.row)).intersection(expected).count
        }
        #expect(common >= 375)
    }

    @Test("its codes' error is that of other vectors like its own", arguments: VectorDatatype.allCases)
    func error(datatype: VectorDatatype) throws {
        let all = try stored(4_000, 33, .cosine, datatype, seed: 5)
        let index = try BuiltSegment(Array(all[..<(3_000 * 33)]), dimension: 33, metric: .cosine, datatype: datatype).index
        let (own, others) = (try #require(index.quantizationError), try #require(index.quantizationError(of: Array(all[(3_000 * 33)...]))))
        #expect(own < 0.3 && abs(others / own - 1) < 0.15)
    }

    @Test("one vector, equal vectors, and integers without direction", arguments: VectorDatatype.allCases)
    func degenerate(datatype: VectorDatatype) throws {
        var scratch = SearchScratch()
        let query: [Float] = [0.6, 0.8]
        for vectors in [[3, 4], [3, 4, 3, 4, 3, 4], [0, 0, 3, 4]] as [[Float]] {
            let segment = try BuiltSegment(vectors, dimension: 2, metric: .cosine, datatype: datatype)
            let best = try #require(segment.index.hits(of: query, limit: 9, scratch: &scratch).hits.first)
            #expect(abs(best.score - (datatype.isInteger ? 1 : 5)) < 1e-5 && segment.index.vector(best.row) == [3, 4])
        }
    }
}

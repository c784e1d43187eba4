import Foundation
import Model
import Testing
import VectorIndex
import VectorMath

@Suite("balls that hold a segment's vectors")
struct OutlineTests {
    /// Scattered or in clusters, as the datatype stores them.
    private func stored(_ count: Int, _ dimension: Int, _ metric: Metric, _ datatype: VectorDatatype, seed: UInt64) throws -> [Float] {
        let vectors = BuiltSegment.clustered(count, dimension: dimension, metric: metric, centres: seed % 2 == 0 ? count : 8, seed: seed)
        guard datatype.isInteger else { return try datatype.stored(vectors) }
        let greatest = vectors.map(abs).max()!
        return try datatype.stored(vectors.map { ($0 / greatest * 120).rounded() + (datatype == .uint8 ? 128 : 0) })
    }

    private func query(_ vector: [Float], _ metric: Metric) -> [Float] {
        let length = BallCentre.length(of: vector.span)
        return metric == .cosine && length > 0 ? vector.map { Float(Double($0) / length) } : vector
    }

    @Test("no row beats its balls' bound, whatever they hold, and finer balls bound closer", arguments: VectorDatatype.allCases, Metric.allCases)
    func bounds(datatype: VectorDatatype, metric: Metric) throws {
        for (seed, dimension) in [(1, 2), (2, 3), (3, 17), (4, 64), (5, 300), (6, 31)] as [(UInt64, Int)] {
            var random = SplitMix64(seed: seed)
            let count = 400
            let vectors = try stored(count, dimension, metric, datatype, seed: seed)
            // Lists of a few rows, and one list of all.
            for listSize in [8, 400] {
                var parameters = IndexParameters()
                parameters.listSize = listSize
                let segment = try BuiltSegment(vectors, dimension: dimension, metric: metric, datatype: datatype, parameters: parameters)
                let all = SegmentIndex.OutlineDetail.allCases
                let outlines = try all.map { ShardOutline(balls: [try #require(segment.index.balls($0))]) }
                #expect(zip(all, outlines).allSatisfy { $1.balls[0].count == segment.index.ballCount($0) })
                for number in 0..<40 {
                    // A row itself, one beside it, one far away, one of another length.
                    let row = Array(vectors[number * 9 * dimension..<(number * 9 + 1) * dimension])
                    let reach: Float = [0, 0.01, 10, 1][number % 4]
                    let factor: Float = number % 4 == 3 ? -3 : 1
                    let query = query(row.map { $0 * factor + reach * Float.random(in: -1...1, using: &random) }, metric)
                    var best = metric.worstScore
                    for row in 0..<count {
                        let score = segment.index.score(of: row, to: query.span)
                        if metric.isBetter(score, than: best) { best = score }
                    }
                    for (detail, outline) in zip(all, outlines) {
                        let bound = outline.bestScore(for: query, under: metric)
                        #expect(!bound.isNaN && !metric.isBetter(best, than: bound), "seed \(seed), dimension \(dimension), \(detail), query \(number): \(best) beats \(bound)")
                    }
                }
            }
        }
    }

    @Test("a ball of one vector bounds its score to within rounding", arguments: Metric.allCases)
    func tight(metric: Metric) {
        var random = SplitMix64(seed: 7)
        for dimension in [2, 5, 96] {
            for _ in 0..<50 {
                let vector = query((0..<dimension).map { _ in Float.random(in: -1...1, using: &random) }, metric)
                let query = query((0..<dimension).map { _ in Float.random(in: -1...1, using: &random) }, metric)
                let outline = ShardOutline(balls: [ShardOutline.Balls(around: vector, dimension: dimension) { $0(vector.span) }])
                let score = metric == .euclid ? Kernels.best.squaredDistance(query.span, vector.span).squareRoot() : Kernels.best.dot(query.span, vector.span)
                let bound = outline.bestScore(for: query, under: metric)
                #expect(!metric.isBetter(score, than: bound))
                // Centres have bytes for elements: their error is a 127th of the greatest element at most.
                let slack = Float(dimension).squareRoot() / 100 * (1 + Float(BallCentre.length(of: query.span)))
                #expect(abs(score - bound) <= slack, "\(score), \(bound)")
            }
        }
    }

    @Test("balls around some of many vectors hold all of them", arguments: [1, 2, 3] as [UInt64], Metric.allCases)
    func covers(seed: UInt64, metric: Metric) {
        let (count, dimension) = (300, 12)
        let vectors = BuiltSegment.clustered(count, dimension: dimension, metric: metric, seed: seed)
        let rows = (0..<count).map { Array(vectors[$0 * dimension..<($0 + 1) * dimension]) }
        for ballCount in [1, 7, 300] {
            let centres = Array(rows.prefix(ballCount).joined())
            let outline = ShardOutline(balls: [ShardOutline.Balls(around: centres, dimension: dimension) { take in for row in rows { take(row.span) } }])
            for number in 0..<30 {
                let query = query(rows[number].enumerated().map { $1 + Float(($0 * 7 + number) % 5) - 2 }, metric)
                let bound = outline.bestScore(for: query, under: metric)
                let beats = rows.contains { row in
                    let score = metric == .euclid ? Kernels.best.squaredDistance(query.span, row.span).squareRoot() : Kernels.best.dot(query.span, row.span)
                    return metric.isBetter(score, than: bound)
                }
                #expect(!beats, "\(ballCount) balls, query \(number), bound \(bound)")
            }
        }
    }

    @Test("far clusters are told from near ones", arguments: Metric.allCases)
    func useful(metric: Metric) throws {
        let dimension = 16
        var random = SplitMix64(seed: 3)
        // One direction or another, and little beside it.
        var vectors: [Float] = []
        for row in 0..<400 {
            var vector = (0..<dimension).map { _ in Float.random(in: -0.02...0.02, using: &random) }
            vector[row % 2] += 1
            vectors += query(vector, metric)
        }
        let segment = try BuiltSegment(vectors, dimension: dimension, metric: metric)
        let outline = ShardOutline(balls: [try #require(segment.index.balls(SegmentIndex.OutlineDetail.lists))])
        func axis(_ index: Int) -> [Float] { (0..<dimension).map { $0 == index ? 1 : 0 } }
        let (near, far) = (outline.bestScore(for: axis(0), under: metric), outline.bestScore(for: axis(5), under: metric))
        #expect(metric == .euclid ? near < 0.3 && far > 1 : near > 0.95 && far < 0.3, "\(near), \(far)")
    }

    @Test("nothing has no bound, and vectors whose distances overflow have no balls or bound everything", arguments: Metric.allCases)
    func ends(metric: Metric) throws {
        #expect(ShardOutline().bestScore(for: [1, 2], under: metric) == metric.worstScore && ShardOutline().isEmpty)
        for size in [1e-38, 1e-20, 1e18, 3e38] as [Float] {
            // Not of unit length, whatever the metric: bounds do not rely on it.
            var vectors: [Float] = []
            for row in 0..<60 { vectors += [size * (Float(row % 7) / 3 - 1), -size * (Float(row % 5) / 4), size] }
            let segment = try BuiltSegment(vectors, dimension: 3, metric: metric)
            guard let balls = segment.index.balls(SegmentIndex.OutlineDetail.lists) else {
                #expect(size == 3e38)
                continue
            }
            for query in [[size, -size, size], [1, 1, 1], [0, 0, 0]] as [[Float]] {
                let bound = ShardOutline(balls: [balls]).bestScore(for: query, under: metric)
                #expect(!bound.isNaN)
                for row in 0..<60 { #expect(!metric.isBetter(segment.index.score(of: row, to: query.span), than: bound), "\(size), \(query), \(bound)") }
            }
        }
    }

    @Test("what a bound costs", .enabled(if: ProcessInfo.processInfo.environment["BENCHMARK"] != nil))
    func benchmark() {
        let dimension = 384
        let vectors = BuiltSegment.clustered(1_338, dimension: dimension, metric: .cosine, seed: 1)
        let outline = ShardOutline(balls: [ShardOutline.Balls(around: vectors, dimension: dimension) { $0(vectors.span.extracting(0..<dimension)) }])
        let query = Array(vectors[0..<dimension])
        for metric in [Metric.cosine, .euclid] {
            let times = (0..<21).map { _ in ContinuousClock().measure { _ = outline.bestScore(for: query, under: metric) } }.sorted()
            print("\(outline.byteCount >> 10) KiB, \(metric): \(times[10])")
        }
    }
}

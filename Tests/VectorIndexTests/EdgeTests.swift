import Foundation
import Model
import Testing
import VectorIndex
import VectorMath

/// Sizes, shapes and values at the ends of what a collection may have.
@Suite("a segment of any shape")
struct EdgeTests {
    /// The hits' rows with their scores' bits: what has to be the same everywhere.
    private struct Answer: Equatable {
        var rows: [Int]
        var scores: [UInt32]
        init(_ result: SegmentSearchResult) {
            rows = result.hits.map(\.row)
            scores = result.hits.map(\.score.bitPattern)
        }
    }

    private static let efforts = [
        SearchEffort(exact: true), SearchEffort(), SearchEffort(probes: 2, candidates: 20), SearchEffort(targetRecall: 0.9), SearchEffort(probes: 1_000_000, candidates: 1_000_000),
    ]

    /// Searches with every instruction set and effort, checks what holds of every answer, and returns the exact one's rows for each query.
    @discardableResult
    private func check(_ segment: BuiltSegment, _ queries: [[Float]], limit: Int, _ words: Comment? = nil) throws -> [[Int]] {
        var scratch = SearchScratch()
        let others = try Kernels.Level.allCases.compactMap { try segment.index($0) }
        return queries.map { query in
            var exact: [Int] = []
            for effort in Self.efforts {
                let result = segment.index.hits(of: query, limit: limit, effort: effort, scratch: &scratch)
                let answer = Answer(result)
                let (found, wanted) = (result.hits.count, min(limit, segment.count))
                #expect(found == wanted, words)
                #expect(Set(answer.rows).count == answer.rows.count, words)
                #expect(zip(result.hits, result.hits.dropFirst()).allSatisfy { a, b in
                    a.score == b.score ? a.row < b.row : segment.metric.isBetter(a.score, than: b.score)
                }, words)
                for other in others { #expect(Answer(other.hits(of: query, limit: limit, effort: effort, scratch: &scratch)) == answer, words) }
                if effort.exact { exact = answer.rows }
                if effort.probes == 1_000_000 && limit >= segment.count { #expect(answer.rows == exact, words) }
            }
            return exact
        }
    }

    /// Rows whose score in double precision is surely better than a hit's are hits too.
    private func expectRight(_ rows: [Int], _ segment: BuiltSegment, _ query: [Float]) {
        guard let last = rows.last else { return }
        let sign: Double = segment.metric == .euclid ? -1 : 1
        let worst = sign * segment.truth(last, query)
        let found = Set(rows)
        let missed = (0..<segment.count).filter { !found.contains($0) && sign * segment.truth($0, query) > worst + 1e-3 * max(1, abs(worst)) }
        #expect(missed.isEmpty)
    }

    @Test("any number of dimensions", arguments: [(2, 700), (3, 700), (7, 700), (17, 700), (100, 400), (129, 400), (1_000, 150), (4_096, 60)], Metric.allCases)
    func dimensions(shape: (dimension: Int, count: Int), metric: Metric) throws {
        let (dimension, count) = shape
        let all = BuiltSegment.clustered(count + 4, dimension: dimension, metric: metric, seed: UInt64(dimension))
        let segment = try BuiltSegment(Array(all[..<(count * dimension)]), dimension: dimension, metric: metric)
        #expect(segment.order.sorted() == Array(0..<UInt32(count)))
        let queries = (count..<count + 4).map { Array(all[$0 * dimension..<($0 + 1) * dimension]) }
        for limit in [1, 10, count, count + 5] {
            for (query, rows) in zip(queries, try check(segment, queries, limit: limit)) { expectRight(rows, segment, query) }
        }
    }

    @Test("ten thousand hits of twenty thousand points", arguments: Metric.allCases)
    func manyHits(metric: Metric) throws {
        let all = BuiltSegment.clustered(20_001, dimension: 8, metric: metric, seed: 8)
        let segment = try BuiltSegment(Array(all[..<160_000]), dimension: 8, metric: metric)
        let query = Array(all[160_000...])
        var scratch = SearchScratch()
        let exact = segment.index.hits(of: query, limit: 10_000, effort: SearchEffort(exact: true), scratch: &scratch)
        #expect(exact.hits.count == 10_000 && exact.hits == segment.index.hits(of: query, limit: 20_000, effort: SearchEffort(exact: true), scratch: &scratch).hits.prefix(10_000).map { $0 })
        let found = segment.index.hits(of: query, limit: 10_000, scratch: &scratch)
        #expect(found.byCode && found.hits.count == 10_000)
        let common = Set(found.hits.map(\.row)).intersection(exact.hits.map(\.row)).count
        #expect(common >= 9_500, "recall \(Double(common) / 10_000)")
        #expect(segment.index.hits(of: query, limit: 100_000, effort: SearchEffort(probes: 1_000_000, candidates: 100_000), scratch: &scratch).hits.count == 20_000)
    }

    @Test("few points, fewer than centroids and lists have room for", arguments: Array(1...20) + [33, 40], Metric.allCases)
    func few(count: Int, metric: Metric) throws {
        let vectors = BuiltSegment.clustered(count, dimension: 5, metric: metric, seed: UInt64(count))
        let segment = try BuiltSegment(vectors, dimension: 5, metric: metric)
        for limit in [1, 3, 100] {
            for (query, rows) in zip([Array(vectors[..<5])], try check(segment, [Array(vectors[..<5])], limit: limit)) { expectRight(rows, segment, query) }
        }
        var scratch = SearchScratch()
        let empty = segment.index.hits(of: Array(vectors[..<5]), limit: 3, admits: RowBitmap(rowCount: count), scratch: &scratch)
        #expect(empty.hits.isEmpty)
    }

    @Test("vectors met many times, and all of them the same, keep the order in which they were given", arguments: Metric.allCases, [3, 50])
    func duplicates(metric: Metric, dimension: Int) throws {
        let few = BuiltSegment.clustered(50, dimension: dimension, metric: metric, seed: 2)
        let repeated = try BuiltSegment((0..<20).flatMap { _ in few }, dimension: dimension, metric: metric)
        let query = Array(few[..<dimension])
        for rows in try check(repeated, [query], limit: 30) {
            let sources = rows.map { repeated.order[$0] }
            // Equal scores are equal vectors here, nearly surely: each group of 20 comes in the order given.
            for (a, b) in zip(sources, sources.dropFirst()) where a % 50 == b % 50 { #expect(a < b) }
        }
        let constant = try BuiltSegment((0..<900).flatMap { _ in query }, dimension: dimension, metric: metric)
        for rows in try check(constant, [query, Array(few[dimension..<2 * dimension])], limit: 25) {
            #expect(rows.map { constant.order[$0] } == Array(0..<25))
        }
    }

    @Test("zero vectors, where the metric allows them, alone and among others", arguments: [Metric.dot, .euclid])
    func zeros(metric: Metric) throws {
        let others = BuiltSegment.clustered(300, dimension: 6, metric: metric, seed: 4)
        let zero = [Float](repeating: 0, count: 6)
        for vectors in [[Float](repeating: 0, count: 6 * 400), others + [Float](repeating: 0, count: 6 * 300)] {
            let segment = try BuiltSegment(vectors, dimension: 6, metric: metric)
            let queries = [zero, Array(others[..<6])]
            for (query, rows) in zip(queries, try check(segment, queries, limit: 12)) { expectRight(rows, segment, query) }
        }
    }

    @Test("a search that needs more lists than it was told to probe finds no row twice", arguments: Metric.allCases)
    func widened(metric: Metric) throws {
        let vectors = BuiltSegment.clustered(2_000, dimension: 9, metric: metric, seed: 12)
        let segment = try BuiltSegment(vectors, dimension: 9, metric: metric)
        var scratch = SearchScratch()
        for (probes, limit) in [(1, 30), (2, 100), (3, 2_000)] {
            let hits = segment.index.hits(
                of: Array(vectors[..<9]), limit: limit, effort: SearchEffort(probes: probes, candidates: limit), scratch: &scratch).hits
            #expect(hits.count == limit && Set(hits.map(\.row)).count == limit)
        }
    }

    /// Elements whose squares and products vanish or overflow.
    private static let hostile: [Float] = [
        0, -0.0, .leastNonzeroMagnitude, -1e-40, .leastNormalMagnitude, 1e-20, 1, -1, 3e18, -1e25, 1e38, -.greatestFiniteMagnitude, .greatestFiniteMagnitude,
    ]

    @Test("denormal and huge elements: the same answer by every instruction set", arguments: Metric.allCases, Array(1...6) as [UInt64])
    func hostileValues(metric: Metric, seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        func draw(_ count: Int) -> [Float] { (0..<count).map { _ in Self.hostile[Int(random.next() % UInt64(Self.hostile.count))] } }
        let segment = try BuiltSegment(draw(19 * 500), dimension: 19, metric: metric)
        try check(segment, (0..<4).map { _ in draw(19) }, limit: 10, "seed \(seed)")
        // One element far from all others.
        var vectors = BuiltSegment.clustered(500, dimension: 19, metric: metric, seed: seed)
        vectors[Int(random.next() % UInt64(vectors.count))] = Self.hostile[Int(seed) % Self.hostile.count]
        let outlier = try BuiltSegment(vectors, dimension: 19, metric: metric)
        try check(outlier, [Array(vectors[..<19]), draw(19)], limit: 10, "seed \(seed)")
    }

    @Test("searches at the same time, and with memory that other searches used, answer as one alone", arguments: Metric.allCases)
    func together(metric: Metric) throws {
        let all = BuiltSegment.clustered(3_040, dimension: 33, metric: metric, seed: 6)
        let segment = try BuiltSegment(Array(all[..<(3_000 * 33)]), dimension: 33, metric: metric)
        let other = try BuiltSegment(BuiltSegment.clustered(500, dimension: 3, metric: .dot, seed: 1), dimension: 3, metric: .dot)
        let index = segment.index
        let (queries, efforts) = ((3_000..<3_040).map { Array(all[$0 * 33..<($0 + 1) * 33]) }, Self.efforts)
        let alone = queries.map { query in
            efforts.map { effort in
                var scratch = SearchScratch()
                return index.hits(of: query, limit: 10, effort: effort, scratch: &scratch)
            }
        }
        let otherIndex = other.index
        let isSame = Results(count: 4)
        DispatchQueue.concurrentPerform(iterations: 4) { worker in
            var scratch = SearchScratch()
            var same = true
            for query in (0..<40).map({ ($0 + 11 * worker) % 40 }) {
                _ = otherIndex.hits(of: [1, 2, 3], limit: 50, scratch: &scratch)
                same = same && efforts.indices.allSatisfy { index.hits(of: queries[query], limit: 10, effort: efforts[$0], scratch: &scratch) == alone[query][$0] }
            }
            isSame.set(worker, same)
        }
        #expect(isSame.all)
    }
}

/// What workers found, each in its own place.
private final class Results: @unchecked Sendable {
    private var values: [Bool]
    private let lock = NSLock()
    init(count: Int) { values = [Bool](repeating: false, count: count) }
    func set(_ worker: Int, _ value: Bool) { lock.withLock { values[worker] = value } }
    var all: Bool { lock.withLock { values.allSatisfy { $0 } } }
}

import Foundation
import Model
import Storage
import Testing
import VectorIndex
import VectorMath

/// Vectors around random centres, and a segment built from them in a folder that goes with the object.
private final class Sample {
    let metric: Metric
    let dimension: Int
    let vectors: [[Float]]
    let order: [UInt32]
    let index: SegmentIndex
    let path: String
    private let folder: URL

    init(vectors: [[Float]], metric: Metric, parameters: IndexParameters = IndexParameters(), seed: UInt64 = 1, kernels: Kernels = .best) throws {
        self.metric = metric
        self.vectors = vectors
        dimension = vectors[0].count
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("covey-index-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appendingPathComponent("segment").path
        let writer = try SegmentWriter(path: path)
        let source = VectorSource(count: vectors.count) { row, out in
            for element in out.indices { out[element] = vectors[row][element] }
        }
        order = try IndexBuilder(dimension: dimension, metric: metric, parameters: parameters, seed: seed).build(source, into: writer)
        _ = try writer.finish()
        index = try SegmentIndex(SegmentFile(path: path), kernels: kernels)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    static func clustered(_ count: Int, dimension: Int, metric: Metric, seed: UInt64) -> [[Float]] {
        var random = SplitMix64(seed: seed)
        func normal() -> Float { (0..<6).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &random) } }
        let centres = (0..<40).map { _ in (0..<dimension).map { _ in normal() } }
        return (0..<count).map { _ in
            let centre = centres[Int(random.next() % 40)]
            let vector = centre.map { $0 + 0.7 * normal() }
            guard metric == .cosine else { return vector }
            let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return vector.map { $0 / norm }
        }
    }

    /// The exact hits by a slow scan in double precision, as rows of the segment.
    func truth(_ query: [Float], _ k: Int, where admitted: (Int) -> Bool = { _ in true }) -> Set<Int> {
        let scored = order.indices.filter(admitted).map { row in
            let vector = vectors[Int(order[row])]
            let score = metric == .euclid
                ? -zip(query, vector).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
                : zip(query, vector).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            return (row, score)
        }
        return Set(scored.sorted { $0.1 > $1.1 }.prefix(k).map(\.0))
    }

    func recall(_ queries: [[Float]], k: Int = 10, admits: RowBitmap? = nil, exactBelow: Int = 0) -> Double {
        var scratch = SearchScratch()
        var found = 0
        var wanted = 0
        for query in queries {
            let truth = truth(query, k) { admits?.contains($0) ?? true }
            let result = index.find(query, limit: k, exactBelow: exactBelow, admits: admits, scratch: &scratch)
            found += result.hits.count { truth.contains($0.row) }
            wanted += truth.count
        }
        return Double(found) / Double(wanted)
    }
}

extension SegmentIndex {
    /// A span cannot be made of an array that an expression yields, so the tests pass arrays.
    fileprivate func find(
        _ query: [Float], limit: Int, effort: SearchEffort = SearchEffort(), exactBelow: Int = SegmentIndex.defaultExactThreshold,
        admits: RowBitmap? = nil, scratch: inout SearchScratch, precedes: (Int, Int) -> Bool = { $0 < $1 }, shouldStop: () -> Bool = { false }
    ) -> SegmentSearchResult {
        search(
            query.span, limit: limit, effort: effort, exactBelow: exactBelow, admits: admits, scratch: &scratch, precedes: precedes,
            shouldStop: shouldStop)
    }

    fileprivate func exactScore(of row: Int, to query: [Float]) -> Float { score(of: row, to: query.span) }
}

@Suite("segment index")
struct SegmentIndexTests {
    @Test("finds the neighbours by code", arguments: Metric.allCases, [3, 16, 50, 131])
    func recall(metric: Metric, dimension: Int) throws {
        let all = Sample.clustered(5_040, dimension: dimension, metric: metric, seed: 7)
        let sample = try Sample(vectors: Array(all[..<5_000]), metric: metric)
        #expect(sample.recall(Array(all[5_000...])) >= 0.93)
    }

    @Test("a search by code scans codes and rescores few rows; scores are the exact ones, best first", arguments: Metric.allCases)
    func byCode(metric: Metric) throws {
        let all = Sample.clustered(5_001, dimension: 24, metric: metric, seed: 3)
        let sample = try Sample(vectors: Array(all[..<5_000]), metric: metric)
        var scratch = SearchScratch()
        let result = sample.index.find(all[5_000], limit: 10, scratch: &scratch)
        #expect(result.byCode && result.codesScanned > 0 && result.rescored <= 250 && result.hits.count == 10)
        #expect(result.hits.allSatisfy { $0.score == sample.index.exactScore(of: $0.row, to: all[5_000]) })
        #expect(zip(result.hits, result.hits.dropFirst()).allSatisfy { !metric.isBetter($1.score, than: $0.score) })
        #expect(sample.index.vector(17) == sample.vectors[Int(sample.order[17])])
        let exact = sample.index.find(all[5_000], limit: 10, effort: SearchEffort(exact: true), scratch: &scratch)
        #expect(!exact.byCode && exact.codesScanned == 0 && exact.rescored == 5_000)
        #expect(Set(exact.hits.map(\.row)) == sample.truth(all[5_000], 10))
    }

    @Test("a filter keeps the recall and only admitted rows are hits", arguments: Metric.allCases, [2, 10, 50])
    func filtered(metric: Metric, oneIn: UInt64) throws {
        let all = Sample.clustered(6_030, dimension: 20, metric: metric, seed: 11)
        let sample = try Sample(vectors: Array(all[..<6_000]), metric: metric)
        var random = SplitMix64(seed: oneIn)
        var admits = RowBitmap(rowCount: 6_000)
        for row in 0..<6_000 where random.next() % oneIn == 0 { admits.insert(row) }
        let queries = Array(all[6_000...])
        #expect(sample.recall(queries, admits: admits) >= 0.95)
        #expect(sample.recall(queries, admits: admits, exactBelow: 6_000) == 1)
        var scratch = SearchScratch()
        for query in queries {
            let hits = sample.index.find(query, limit: 50, exactBelow: 0, admits: admits, scratch: &scratch).hits
            #expect(hits.count == min(50, admits.count) && hits.allSatisfy { admits.contains($0.row) })
        }
    }

    @Test("a filter that admits only rows far from the query finds them", arguments: [1, 5, 300])
    func farFilter(admitted: Int) throws {
        let vectors = Sample.clustered(4_000, dimension: 8, metric: .euclid, seed: 2)
        let sample = try Sample(vectors: vectors, metric: .euclid)
        let farthest = sample.truth(vectors[0], 4_000).subtracting(sample.truth(vectors[0], 4_000 - admitted))
        var admits = RowBitmap(rowCount: 4_000)
        for row in farthest { admits.insert(row) }
        var scratch = SearchScratch()
        let hits = sample.index.find(vectors[0], limit: 10, exactBelow: 0, admits: admits, scratch: &scratch).hits
        #expect(hits.count == min(10, admitted) && hits.allSatisfy { farthest.contains($0.row) })
    }

    @Test("sizes and dimensions at the edge", arguments: [1, 2, 31, 32, 33, 65], [1, 2, 5, 4_096])
    func edges(count: Int, dimension: Int) throws {
        let vectors = Sample.clustered(count, dimension: dimension, metric: .euclid, seed: UInt64(count))
        let sample = try Sample(vectors: vectors, metric: .euclid)
        #expect(sample.order.sorted() == (0..<UInt32(count)).map { $0 })
        var scratch = SearchScratch()
        for threshold in [0, 10_000] {
            let result = sample.index.find(vectors[0], limit: count + 5, exactBelow: threshold, scratch: &scratch)
            #expect(result.hits.count == count && result.hits[0].score == 0)
        }
        #expect(sample.index.find(vectors[0], limit: 0, scratch: &scratch).hits.isEmpty)
    }

    @Test("equal vectors rank in the order given; other ties as the caller says", arguments: Metric.allCases)
    func duplicates(metric: Metric) throws {
        let sample = try Sample(vectors: [[Float]](repeating: [0.6, 0.8], count: 500), metric: metric)
        var scratch = SearchScratch()
        let query: [Float] = [1, 0]
        for threshold in [0, 1_000] {
            let hits = sample.index.find(query, limit: 20, exactBelow: threshold, scratch: &scratch).hits
            #expect(hits.map { sample.order[$0.row] } == (0..<20).map { $0 })
        }
        let reversed = sample.index.find(query, limit: 3, exactBelow: 1_000, scratch: &scratch, precedes: { $0 > $1 }).hits
        #expect(reversed.map(\.row) == [499, 498, 497])
    }

    @Test("vectors at the ends of the numbers' range are indexed, and near ones stay near", arguments: Metric.allCases, [1e-40, 1e-20, 1e18, 1e30, 3e38] as [Float])
    func hugeAndTiny(metric: Metric, magnitude: Float) throws {
        var vectors = Sample.clustered(600, dimension: 9, metric: metric, seed: 4)
        let largest = vectors.joined().map(abs).max()!
        vectors = vectors.map { $0.map { $0 / largest * magnitude } }
        let sample = try Sample(vectors: vectors, metric: metric)
        var scratch = SearchScratch()
        for threshold in [0, 1_000] {
            #expect(sample.index.find(vectors[0], limit: 10, exactBelow: threshold, scratch: &scratch).hits.count == 10)
        }
    }

    @Test("a list of many rows is looked at in parts, so that a search can stop in it")
    func longList() throws {
        let sample = try Sample(vectors: [[Float]](repeating: [0.6, 0.8], count: 40_000), metric: .euclid)
        var scratch = SearchScratch()
        var asked = 0
        let result = sample.index.find([1, 0], limit: 5, exactBelow: 0, scratch: &scratch, shouldStop: {
            asked += 1
            return asked == 3
        })
        #expect(result.stopped && result.codesScanned < 40_000)
    }

    @Test("the same seed gives the same bytes, and every instruction set the same hits", arguments: Metric.allCases)
    func deterministic(metric: Metric) throws {
        let all = Sample.clustered(3_020, dimension: 37, metric: metric, seed: 5)
        let vectors = Array(all[..<3_000])
        let (first, second) = (try Sample(vectors: vectors, metric: metric), try Sample(vectors: vectors, metric: metric))
        #expect(FileManager.default.contentsEqual(atPath: first.path, andPath: second.path))
        var scratch = SearchScratch()
        for level in Kernels.Level.allCases {
            guard let kernels = Kernels(level) else { continue }
            let index = try SegmentIndex(SegmentFile(path: first.path), kernels: kernels)
            for query in all[3_000...] {
                let expected = first.index.find(query, limit: 10, exactBelow: 0, scratch: &scratch)
                #expect(index.find(query, limit: 10, exactBelow: 0, scratch: &scratch) == expected)
            }
        }
    }

    /// Lists are scanned in an order that selection leaves, which is not the same by every instruction set; what is cut meanwhile, and so what is scanned a second time, is not either.
    @Test("every instruction set answers the same where much is about equally near and much is left out", arguments: Array(1...6) as [UInt64])
    func deterministicUnderPressure(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let (count, metric) = (Int.random(in: 2_100...6_000, using: &random), Metric.allCases[Int(seed) % Metric.allCases.count])
        let built = try BuiltSegment(
            BuiltSegment.clustered(count, dimension: 24, metric: metric, centres: [1, 3, 20][Int(seed) % 3], seed: seed), dimension: 24, metric: metric)
        let others = try Kernels.Level.allCases.compactMap { try built.index($0) }
        var scratch = SearchScratch()
        for _ in 0..<120 {
            let query = Array(built.vectors[(Int.random(in: 0..<count, using: &random) * 24)...].prefix(24))
            let share = [1, 0.7, 0.3, 0.1][Int.random(in: 0..<4, using: &random)]
            var admits = RowBitmap(rowCount: count)
            for row in 0..<count where Double.random(in: 0..<1, using: &random) < share { admits.insert(row) }
            let limit = [1, 10, 100, 400][Int.random(in: 0..<4, using: &random)]
            let effort = SearchEffort(targetRecall: [0.8, 0.95, 0.99, 0.999][Int.random(in: 0..<4, using: &random)])
            let expected = built.index.search(query.span, limit: limit, effort: effort, exactBelow: 0, admits: share < 1 ? admits : nil, scratch: &scratch)
            for index in others {
                let found = index.search(query.span, limit: limit, effort: effort, exactBelow: 0, admits: share < 1 ? admits : nil, scratch: &scratch)
                #expect(found.hits == expected.hits && found.byCode == expected.byCode && found.recall == expected.recall)
            }
        }
    }

    @Test("a stopped search scans no further", arguments: [true, false])
    func stops(exact: Bool) throws {
        let sample = try Sample(vectors: Sample.clustered(20_000, dimension: 32, metric: .dot, seed: 1), metric: .dot)
        var scratch = SearchScratch()
        var asked = 0
        let result = sample.index.find(sample.vectors[0], limit: 10, effort: SearchEffort(exact: exact), scratch: &scratch,
            shouldStop: {
                asked += 1
                return asked == 3
            })
        #expect(result.stopped && result.hits.isEmpty && asked == 3)
        #expect(result.codesScanned < 5_000 && result.rescored < 5_000)
    }

    @Test("more probes and candidates never find less on average")
    func effort() throws {
        let all = Sample.clustered(5_030, dimension: 32, metric: .cosine, seed: 9)
        let sample = try Sample(vectors: Array(all[..<5_000]), metric: .cosine)
        var scratch = SearchScratch()
        var previous = 0
        for (probes, candidates) in [(1, 10), (4, 50), (16, 100), (71, 400)] {
            let found = all[5_000...].reduce(0) { sum, query in
                let hits = sample.index.find(query, limit: 10, effort: SearchEffort(probes: probes, candidates: candidates), exactBelow: 0, scratch: &scratch).hits
                return sum + hits.count { sample.truth(query, 10).contains($0.row) }
            }
            #expect(found >= previous)
            previous = found
        }
        #expect(previous == 300)
    }

    @Test(
        "codes take at most 1/8 of the vectors, and less of many long ones",
        arguments: [
            (32, 1, 32), (50, 10_000_000, 48), (64, 10_000_000, 64), (128, 10_000_000, 64), (384, 100_000, 192), (384, 1_000_000, 120), (256, 500_000, 128), (256, 1_000_000, 80),
            (768, 50_000, 384), (4_096, 100_000, 1_280),
        ])
    func codeSize(dimension: Int, count: Int, subspaces: Int) {
        #expect(IndexParameters.automaticSubspaces(dimension: dimension, count: count) == subspaces && subspaces * 8 <= dimension * 4 * 2)
    }
}

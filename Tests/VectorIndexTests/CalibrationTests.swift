import Model
import Testing
import VectorIndex
import VectorMath

/// What a search that aims at a recall promises: searches of unseen queries have that recall on average, filters or not.
@Suite("recall contract")
struct CalibrationTests {
    /// Vectors whose neighbourhoods differ in density, as those of texts do: `count` for the segment and 400 queries like them, and 400
    /// that lie farther out.
    private static func corpus(_ metric: Metric, count: Int = 12_000, dimension: Int = 24) -> (base: [Float], like: [[Float]], unlike: [[Float]]) {
        var random = SplitMix64(seed: 21)
        func spread() -> Float { (0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &random) } }
        func unit(_ vector: [Float]) -> [Float] {
            guard metric == .cosine else { return vector }
            let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return vector.map { $0 / norm }
        }
        let centres = (0..<60).map { _ in ((0..<dimension).map { _ in spread() }, Float.random(in: 0.6...1.6, using: &random)) }
        func member(wider: Float = 1) -> [Float] {
            let (centre, width) = centres[Int(random.next() % UInt64(centres.count))]
            return unit(centre.map { $0 + wider * width * spread() })
        }
        let base = (0..<count).flatMap { _ in member() }
        let like = (0..<400).map { _ in member() }
        let unlike = (0..<400).map { _ in member(wider: 1.3) }
        return (base, like, unlike)
    }

    private static func recall(
        _ index: SegmentIndex, _ queries: [[Float]], target: Double, limit: Int = 10, admits: RowBitmap? = nil
    ) -> (found: Double, expected: Double, lists: Int) {
        var scratch = SearchScratch()
        var sums = (found: 0.0, expected: 0.0, lists: 0)
        for query in queries {
            let exact = index.search(query.span, limit: limit, effort: SearchEffort(exact: true), admits: admits, scratch: &scratch)
            let result = index.search(query.span, limit: limit, effort: SearchEffort(targetRecall: target), exactBelow: 0, admits: admits, scratch: &scratch)
            let truth = Set(exact.hits.map(\.row))
            sums.found += Double(result.hits.count { truth.contains($0.row) }) / Double(truth.count) / Double(queries.count)
            sums.expected += Double(result.recall ?? .nan) / Double(queries.count)
            sums.lists += result.listsScanned
        }
        return sums
    }

    // Wider than the promise by the scatter of a few hundred queries; docs/performance.md has the figures of real sets.
    @Test("unseen queries find what was asked for, and the estimate says so", arguments: Metric.allCases)
    func contract(metric: Metric) throws {
        let (base, like, unlike) = Self.corpus(metric)
        let index = try BuiltSegment(base, dimension: 24, metric: metric).index
        var lists = 0
        for target in [0.9, 0.95, 0.99] {
            let result = Self.recall(index, like, target: target)
            #expect(result.found >= target - 0.02 && result.found <= min(1, target + 0.05), "aimed at \(target)")
            #expect(abs(result.expected - result.found) <= 0.04)
            // Nothing was measured on queries of another kind: they are promised no more than not to be far off.
            #expect(Self.recall(index, unlike, target: target).found >= target - 0.12, "aimed at \(target)")
            let spent = Self.recall(index, like, target: target).lists
            #expect(spent > lists)
            lists = spent
        }
    }

    @Test("other numbers of hits, between and beyond those measured", arguments: [1, 3, 40, 300, 1_500])
    func limits(limit: Int) throws {
        let (base, like, _) = Self.corpus(.cosine)
        let index = try BuiltSegment(base, dimension: 24, metric: .cosine).index
        let result = Self.recall(index, Array(like.prefix(200)), target: 0.95, limit: limit)
        #expect(result.found >= 0.9)
    }

    @Test("a filter keeps the contract, scattered or far from the query", arguments: [2, 10, 50])
    func filters(oneIn: UInt64) throws {
        let (base, like, _) = Self.corpus(.cosine)
        let built = try BuiltSegment(base, dimension: 24, metric: .cosine)
        var random = SplitMix64(seed: oneIn)
        var scattered = RowBitmap(rowCount: built.count)
        for row in 0..<built.count where random.next() % oneIn == 0 { scattered.insert(row) }
        let queries = Array(like.prefix(200))
        #expect(Self.recall(built.index, queries, target: 0.95, admits: scattered).found >= 0.93)

        // Rows of the end of the file are of other lists than those that the first queries are near to.
        var block = RowBitmap(rowCount: built.count)
        for row in (built.count - built.count / Int(oneIn))..<built.count { block.insert(row) }
        #expect(Self.recall(built.index, queries, target: 0.95, admits: block).found >= 0.85)
    }

    @Test("a filter that admits only what is far from the query keeps the contract", arguments: [2, 10])
    func farFilters(oneIn: Int) throws {
        let (base, like, _) = Self.corpus(.cosine)
        let built = try BuiltSegment(base, dimension: 24, metric: .cosine)
        var scratch = SearchScratch()
        var found = 0.0
        let queries = like.prefix(50)
        for query in queries {
            var scores: [(score: Float, row: Int)] = []
            _ = built.index.forEachScore(query.span, admits: RowBitmap(rowCount: built.count, filled: true), shouldStop: { false }) { scores.append(($1, Int($0))) }
            var far = RowBitmap(rowCount: built.count)
            for (_, row) in scores.sorted(by: { $0.score < $1.score }).prefix(built.count / oneIn) { far.insert(row) }
            func rows(_ effort: SearchEffort) -> Set<Int> {
                Set(built.index.search(query.span, limit: 10, effort: effort, exactBelow: 0, admits: far, scratch: &scratch).hits.map(\.row))
            }
            found += Double(rows(SearchEffort(targetRecall: 0.95)).intersection(rows(SearchEffort(exact: true))).count) / 10
        }
        #expect(found / Double(queries.count) >= 0.93)
    }

    @Test("a search ends where the best regions hold few lists and nothing of them is admitted")
    func fewLists() throws {
        // Long vectors, which are the best by inner product, are few and lie apart.
        var random = SplitMix64(seed: 5)
        var base: [Float] = []
        for row in 0..<12_000 {
            let length: Float = row < 60 ? 50 : 1
            base.append(contentsOf: (0..<16).map { _ in length * Float.random(in: -1...1, using: &random) })
        }
        let built = try BuiltSegment(base, dimension: 16, metric: .dot)
        var short = RowBitmap(rowCount: built.count)
        for row in 0..<built.count where built.index.vector(row).allSatisfy({ abs($0) <= 1 }) { short.insert(row) }
        var scratch = SearchScratch()
        for row in stride(from: 0, to: 12_000, by: 400) {
            let query = Array(base[16 * row..<16 * (row + 1)])
            var asked = 0
            let result = built.index.search(
                query.span, limit: 10, effort: SearchEffort(targetRecall: 0.9), exactBelow: 0, admits: short, scratch: &scratch,
                shouldStop: {
                    asked += 1
                    return asked > 100_000
                })
            #expect(!result.stopped && result.hits.count == 10)
        }
    }

    @Test("a target of 1 compares every row, and says so")
    func whole() throws {
        let (base, like, _) = Self.corpus(.euclid, count: 3_000)
        let index = try BuiltSegment(base, dimension: 24, metric: .euclid).index
        var scratch = SearchScratch()
        let query = like[0]
        let result = index.search(query.span, limit: 10, effort: SearchEffort(targetRecall: 1), exactBelow: 0, scratch: &scratch)
        #expect(!result.byCode && result.codesScanned == 0 && result.recall == 1)
        #expect(result.hits == index.searchExactly(query.span, limit: 10, bytesFrom: .max, scratch: &scratch).hits)
    }

    @Test("a segment too small for a calibration is searched whole", arguments: [1, 40, 400])
    func small(count: Int) throws {
        let (base, like, _) = Self.corpus(.cosine, count: count)
        let index = try BuiltSegment(base, dimension: 24, metric: .cosine).index
        var scratch = SearchScratch()
        let query = like[0]
        let result = index.search(query.span, limit: 10, effort: SearchEffort(targetRecall: 0.9), exactBelow: 0, scratch: &scratch)
        let exact = index.search(query.span, limit: 10, effort: SearchEffort(exact: true), scratch: &scratch)
        #expect(result.byCode && result.listsScanned == index.listCount && result.hits == exact.hits && result.recall == nil)
    }
}

import Model
import Testing
import VectorIndex
import VectorMath

@Suite("explaining a search of a segment")
struct ExplainTests {
    private func bitmap(_ count: Int, where isAdmitted: (Int) -> Bool) -> RowBitmap {
        var rows = RowBitmap(rowCount: count)
        for row in 0..<count where isAdmitted(row) { rows.insert(row) }
        return rows
    }

    @Test("every row is left at the step that the search shows, and all ranks are those of a count", arguments: Metric.allCases, [(false, false), (true, false), (false, true), (true, true)])
    func everyRow(metric: Metric, _ kind: (isFiltered: Bool, spills: Bool)) throws {
        let (isFiltered, spills) = kind
        var parameters = IndexParameters()
        parameters.spills = spills
        let vectors = BuiltSegment.clustered(3_001, dimension: 24, metric: metric, seed: 3)
        let segment = try BuiltSegment(Array(vectors[..<(3_000 * 24)]), dimension: 24, metric: metric, parameters: parameters)
        let query = Array(vectors[(3_000 * 24)...])
        let admits = isFiltered ? bitmap(3_000) { $0 % 3 != 0 } : nil
        let effort = SearchEffort(probes: 12, candidates: 40)
        var scratch = SearchScratch()
        let result = segment.index.hits(of: query, limit: 5, effort: effort, admits: admits, scratch: &scratch)
        let hits = Set(result.hits.map(\.row))
        #expect(result.byCode && hits.count == 5)

        var steps: [SearchStep: Int] = [:]
        var (listRanks, regionRanks, codes, bytes): ([Int: Rank], [Int: Rank], [Rank], [Rank]) = ([:], [:], [], [])
        var regionOfList: [Int: Int] = [:]
        var probed: Set<Int> = []
        for row in 0..<3_000 {
            let trace = try #require(segment.index.trace(row, of: query, limit: 5, effort: effort, exactBelow: 0, admits: admits, scratch: &scratch))
            let index = try #require(trace.index)
            steps[trace.step, default: 0] += 1
            #expect((trace.step == .hit) == hits.contains(row))
            #expect((trace.step == .filter) == (admits.map { !$0.contains(row) } ?? false))
            #expect((trace.step == .list) == (!index.isProbed && trace.step != .filter))
            #expect((index.byCode != nil) == (index.isProbed && trace.step != .filter))
            #expect((index.byBytes != nil) == [.hit, .rank, .bytes].contains(trace.step))
            #expect(index.byBytes == nil || index.byCode!.place <= 40)
            #expect(index.rescored == result.rescored && index.listsProbed >= 12)
            #expect(listRanks.updateValue(index.listRank, forKey: index.list).map { $0 == index.listRank } ?? true)
            #expect(regionRanks.updateValue(index.regionRank, forKey: index.region).map { $0 == index.regionRank } ?? true)
            #expect(regionOfList.updateValue(index.region, forKey: index.list).map { $0 == index.region } ?? true)
            if index.isProbed { probed.insert(index.list) }
            if let code = index.byCode { codes.append(code) }
            if let byte = index.byBytes { bytes.append(byte) }
            #expect(probed.count <= index.listsProbed)
        }
        // Each order has every place once; lists whose rows were all found in their second one may be missing.
        let places = listRanks.values.map(\.place).sorted()
        #expect(spills ? Set(places).count == places.count && places.count > segment.index.listCount / 2 : places == Array(1...segment.index.listCount))
        #expect(listRanks.values.allSatisfy { $0.count == segment.index.listCount })
        #expect(regionRanks.values.map(\.place).sorted() == Array(1...regionRanks.count))
        #expect(codes.map(\.place).sorted() == Array(1...codes.count) && codes.allSatisfy { $0.count == codes.count })
        #expect(bytes.map(\.place).sorted() == Array(1...bytes.count) && bytes.count == 40)
        #expect(steps[.hit] == 5 && steps[.hit]! + (steps[.rank] ?? 0) == result.rescored)
        #expect(steps[.filter] == admits.map { 3_000 - $0.count })
        #expect(steps[.list, default: 0] > 0 && steps[.code, default: 0] > 0 && steps[.bytes, default: 0] > 0)
        // Of a row in two lists that were scanned the codes were looked at twice.
        if !isFiltered { #expect(spills ? codes.count < result.codesScanned : codes.count == result.codesScanned) }
    }

    @Test("where all rows are scored exactly no code is named; a threshold of lists that is all of them drops none", arguments: Metric.allCases)
    func otherPaths(metric: Metric) throws {
        let vectors = BuiltSegment.clustered(500, dimension: 7, metric: metric, seed: 5)
        let segment = try BuiltSegment(vectors, dimension: 7, metric: metric)
        let query = Array(vectors[..<7])
        var scratch = SearchScratch()
        let hits = Set(segment.index.hits(of: query, limit: 9, exactBelow: 1_000, scratch: &scratch).hits.map(\.row))
        for row in 0..<500 {
            let exact = try #require(segment.index.trace(row, of: query, limit: 9, exactBelow: 1_000, scratch: &scratch))
            #expect(exact == RowTrace(step: hits.contains(row) ? .hit : .rank, index: nil))
            let all = try #require(
                segment.index.trace(row, of: query, limit: 9, effort: SearchEffort(probes: 500, candidates: 500), exactBelow: 0, scratch: &scratch))
            #expect([.hit, .bytes, .rank].contains(all.step) && all.index?.isProbed == true)
        }
    }

    @Test("it can be stopped")
    func stops() throws {
        let segment = try BuiltSegment(BuiltSegment.clustered(500, dimension: 4, metric: .dot, seed: 1), dimension: 4, metric: .dot)
        var scratch = SearchScratch()
        let query: [Float] = [1, 0, 0, 0]
        #expect(segment.index.trace(3, of: query, limit: 9, exactBelow: 0, scratch: &scratch, shouldStop: { true }) == nil)
        let isWhole = segment.index.forEachScore(query.span, admits: RowBitmap(rowCount: 500, filled: true), shouldStop: { true }) { _, _ in }
        #expect(!isWhole)
    }
}

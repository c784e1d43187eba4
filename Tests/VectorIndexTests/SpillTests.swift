import Model
import Storage
import Testing
import VectorIndex
import VectorMath

@Suite("rows in two lists")
struct SpillTests {
    private static func segment(_ metric: Metric, count: Int = 3_000, queries: Int = 0) throws -> (built: BuiltSegment, queries: [[Float]]) {
        let all = BuiltSegment.clustered(count + queries, dimension: 24, metric: metric, centres: 400, seed: 11)
        var parameters = IndexParameters()
        parameters.spills = true
        let built = try BuiltSegment(Array(all[..<(count * 24)]), dimension: 24, metric: metric, parameters: parameters)
        return (built, (count..<count + queries).map { Array(all[$0 * 24..<($0 + 1) * 24]) })
    }

    private static func numbers<Number>(_ file: SegmentFile, _ name: String, as type: Number.Type) throws -> [Number] where Number: BitwiseCopyable {
        try file.bytes(of: name).withUnsafeBytes { Array($0.bindMemory(to: type)) }
    }

    @Test("a second list is another than the first, and the one of least loss", arguments: Metric.allCases)
    func leastLoss(metric: Metric) throws {
        let (built, _) = try Self.segment(metric)
        let file = try SegmentFile(path: built.path)
        let (starts, rows) = (try Self.numbers(file, "rows.spill.starts", as: UInt32.self), try Self.numbers(file, "rows.spills", as: UInt32.self))
        let own = try Self.numbers(file, "rows.starts", as: UInt32.self)
        let (bytes, scales) = (try Self.numbers(file, "lists.bytes", as: UInt8.self), try Self.numbers(file, "lists.scales", as: Float.self))
        let (rowBytes, rowScales) = (try Self.numbers(file, "rows.bytes", as: UInt8.self), try Self.numbers(file, "rows.scales", as: Float.self))
        func vector(_ bytes: [UInt8], _ scales: [Float], _ row: Int) -> [Double] { (0..<24).map { (Double(bytes[row * 24 + $0]) - 128) * Double(scales[row]) } }
        let centres = scales.indices.map { vector(bytes, scales, $0) }
        #expect(rows.count > 2_900 && Set(rows).count == rows.count && starts.count == centres.count + 1)
        var right = 0
        for list in centres.indices {
            for row in rows[Int(starts[list])..<Int(starts[list + 1])] {
                let first = own.lastIndex { $0 <= row }!
                #expect(first != list)
                let x = vector(rowBytes, rowScales, Int(row))
                let rest = zip(x, centres[first]).map { $0 - $1 }
                let square = rest.reduce(0) { $0 + $1 * $1 }
                func loss(_ list: Int) -> Double {
                    let difference = zip(x, centres[list]).map { $0 - $1 }
                    let along = zip(difference, rest).reduce(0) { $0 + $1.0 * $1.1 }
                    return difference.reduce(0) { $0 + $1 * $1 } + 1.5 * along * along / square
                }
                let least = centres.indices.filter { $0 != first }.map(loss).min()!
                // Rounding decides between lists that are about equal.
                if loss(list) <= least * 1.02 { right += 1 }
            }
        }
        #expect(Double(right) >= 0.98 * Double(rows.count))
    }

    @Test("a row is a hit once, whatever is asked for, and only if it is admitted; every instruction set answers the same", arguments: Metric.allCases)
    func once(metric: Metric) throws {
        let (built, queries) = try Self.segment(metric, queries: 5)
        let indexes = try Kernels.Level.allCases.compactMap { try built.index($0) }
        var admits = RowBitmap(rowCount: built.count)
        for row in 0..<built.count where row % 3 != 0 { admits.insert(row) }
        var scratch = SearchScratch()
        for query in queries {
            for (limit, bitmap) in [(1, nil), (10, nil), (10, admits), (700, admits), (3_000, nil), (3_005, nil)] as [(Int, RowBitmap?)] {
                for effort in [SearchEffort(), SearchEffort(targetRecall: 0.8), SearchEffort(probes: 3, candidates: limit), SearchEffort(probes: 62, candidates: 3_000)] {
                    let result = built.index.hits(of: query, limit: limit, effort: effort, admits: bitmap, scratch: &scratch)
                    #expect(result.hits.count == min(limit, bitmap?.count ?? built.count))
                    #expect(Set(result.hits.map(\.row)).count == result.hits.count && result.hits.allSatisfy { bitmap?.contains($0.row) ?? true })
                    for index in indexes { #expect(index.hits(of: query, limit: limit, effort: effort, admits: bitmap, scratch: &scratch) == result) }
                    if effort.candidates == 3_000 {
                        let exact = built.index.hits(of: query, limit: limit, effort: SearchEffort(exact: true), admits: bitmap, scratch: &scratch).hits
                        #expect(result.hits == exact)
                    }
                }
            }
        }
    }

    @Test("the recall aimed at is reached, in fewer lists than without", arguments: Metric.allCases)
    func contract(metric: Metric) throws {
        let all = Self.mixed(12_300, metric)
        let queries = (12_000..<12_300).map { Array(all[$0 * 64..<($0 + 1) * 64]) }
        let (built, single) = try (Self.mixedSegment(all, metric, spills: true), Self.mixedSegment(all, metric, spills: false))
        var scratch = SearchScratch()
        func measured(_ segment: BuiltSegment, _ target: Double) -> (recall: Double, expected: Double, lists: Int) {
            var (found, expected, lists) = (0, 0.0, 0)
            for query in queries {
                let truth = Set(segment.index.hits(of: query, limit: 10, effort: SearchEffort(exact: true), scratch: &scratch).hits.map(\.row))
                let result = segment.index.hits(of: query, limit: 10, effort: SearchEffort(targetRecall: target), scratch: &scratch)
                found += result.hits.count { truth.contains($0.row) }
                expected += Double(result.recall ?? .nan)
                lists += result.listsScanned
            }
            return (Double(found) / Double(10 * queries.count), expected / Double(queries.count), lists)
        }
        for target in [0.9, 0.95, 0.99] {
            let result = measured(built, target)
            #expect(result.recall >= target - 0.02 && abs(result.recall - result.expected) <= 0.03, "aimed at \(target)")
            #expect(result.lists < measured(single, target).lists, "aimed at \(target)")
        }
    }

    @Test("rows are in two lists where their neighbours lie in many, and in one where they lie in few")
    func pays() throws {
        let mixed = try Self.mixedSegment(Self.mixed(12_000, .euclid), .euclid, spills: nil)
        let clustered = try BuiltSegment(BuiltSegment.clustered(12_000, dimension: 64, metric: .euclid, centres: 100, seed: 3), dimension: 64, metric: .euclid)
        #expect(try SegmentFile(path: mixed.path).contains("rows.spills"))
        #expect(try !SegmentFile(path: clustered.path).contains("rows.spills"))
    }

    private static func mixedSegment(_ all: [Float], _ metric: Metric, spills: Bool?) throws -> BuiltSegment {
        var parameters = IndexParameters()
        parameters.spills = spills
        return try BuiltSegment(Array(all[..<(12_000 * 64)]), dimension: 64, metric: metric, parameters: parameters)
    }

    /// Sums of three of 200 vectors, some of them often, as texts are about several things.
    private static func mixed(_ count: Int, _ metric: Metric) -> [Float] {
        var random = SplitMix64(seed: 5)
        func normal() -> Float { (0..<6).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &random) } }
        let parts = (0..<200).map { _ in (0..<64).map { _ in normal() } }
        return (0..<count).flatMap { _ in
            var vector = (0..<64).map { _ in 0.3 * normal() }
            for _ in 0..<3 {
                let share = Double.random(in: 0..<1, using: &random)
                for (element, value) in parts[Int(200 * share * share)].enumerated() { vector[element] += value }
            }
            let length = metric == .cosine ? vector.reduce(0) { $0 + $1 * $1 }.squareRoot() : 1
            return vector.map { $0 / length }
        }
    }
}

import Foundation
import Model
import VectorIndex
import VectorMath

/// Measures searches that a filter restricts: `covey bench --filters`.
///
/// A filter admits a share of the rows: scattered over all, or those nearest to the query, or to another query, or those farthest from it. Deleted rows are left out in the
/// same way, so half of the rows scattered is half of the points deleted, too.
struct BenchFilters {
    let index: SegmentIndex
    let queries: [[Float]]
    let limit: Int
    let effort: SearchEffort

    private enum Place: String, CaseIterable { case scattered, near, elsewhere, far }
    private static let shares = [0.5, 0.1, 0.01, 0.001, 0.0001]
    /// Each query near to or far from what is admitted has a bitmap of its own, so there are few.
    private static let queryCount = 100

    /// - Parameter emit: Gets a line for each share and place.
    func run(emit: ([String: Any]) throws -> Void) throws {
        let queries = Array(queries.prefix(Self.queryCount))
        var scratch = SearchScratch()
        let unfiltered = Self.rate(queries.count) { _ = search(queries[$0], nil, effort, &scratch) }
        // Rows by similarity, once for all shares.
        let ranked = queries.map { query in Self.ranking(index, query) }
        for share in Self.shares {
            let admitted = max(1, Int(Double(index.count) * share))
            for place in Place.allCases {
                let bitmaps = queries.indices.map { bitmap(place, admitted, ranked[place == .elsewhere ? ($0 + 1) % ranked.count : $0]) }
                var (recall, expected, byCode, rescored, scanned) = (0.0, 0.0, 0, 0, 0)
                for (query, bitmap) in zip(queries, bitmaps) {
                    let truth = Set(search(query, bitmap, SearchEffort(exact: true), &scratch).hits.map(\.row))
                    let result = search(query, bitmap, effort, &scratch)
                    recall += Double(result.hits.count { truth.contains($0.row) }) / Double(truth.count) / Double(queries.count)
                    expected += Double(result.recall ?? .nan) / Double(queries.count)
                    byCode += result.byCode ? 1 : 0
                    rescored += result.rescored
                    scanned += result.codesScanned
                }
                let rate = Self.rate(queries.count) { _ = search(queries[$0], bitmaps[$0], effort, &scratch) }
                let exactly = Self.rate(queries.count) { _ = search(queries[$0], bitmaps[$0], SearchEffort(exact: true), &scratch) }
                let scan = Self.rate(queries.count) {
                    let query = queries[$0]
                    _ = index.searchExactly(query.span, limit: limit, admits: bitmaps[$0], bytesFrom: .max, scratch: &scratch)
                }
                try emit([
                    "share": share, "place": place.rawValue, "admitted": admitted, "recall": Bench.rounded(recall, 4),
                    "recall_estimate": expected.isNaN ? NSNull() : Bench.rounded(expected, 4), "by_code": Bench.rounded(Double(byCode) / Double(queries.count), 2),
                    "codes_scanned": scanned / queries.count, "rescored": rescored / queries.count, "qps": Bench.rounded(rate, 1),
                    "qps_exact": Bench.rounded(exactly, 1), "qps_scan": Bench.rounded(scan, 1), "qps_unfiltered": Bench.rounded(unfiltered, 1),
                ])
            }
        }
    }

    private func search(_ query: [Float], _ admits: RowBitmap?, _ effort: SearchEffort, _ scratch: inout SearchScratch) -> SegmentSearchResult {
        index.search(query.span, limit: limit, effort: effort, admits: admits, scratch: &scratch)
    }

    private static func ranking(_ index: SegmentIndex, _ query: [Float]) -> [UInt32] {
        var scores: [(score: Float, row: UInt32)] = []
        scores.reserveCapacity(index.count)
        _ = index.forEachScore(query.span, admits: RowBitmap(rowCount: index.count, filled: true), shouldStop: { false }) { scores.append(($1, UInt32($0))) }
        return scores.sorted { $0.score == $1.score ? $0.row < $1.row : index.metric.isBetter($0.score, than: $1.score) }.map(\.row)
    }

    private func bitmap(_ place: Place, _ admitted: Int, _ ranked: [UInt32]) -> RowBitmap {
        var bitmap = RowBitmap(rowCount: index.count)
        switch place {
        case .scattered:
            var random = SplitMix64(seed: UInt64(admitted))
            for row in random.sample(admitted, below: index.count) { bitmap.insert(row) }
        case .near, .elsewhere: for row in ranked.prefix(admitted) { bitmap.insert(Int(row)) }
        case .far: for row in ranked.suffix(admitted) { bitmap.insert(Int(row)) }
        }
        return bitmap
    }

    /// Calls a second, one at a time: of the median of at least three passes.
    private static func rate(_ count: Int, _ body: (Int) -> Void) -> Double {
        var passes: [Double] = []
        let begin = ContinuousClock.now
        repeat {
            let started = ContinuousClock.now
            for call in 0..<count { body(call) }
            passes.append(started.duration(to: .now).seconds)
        } while passes.count < 3 || (passes.count < 50 && begin.duration(to: .now) < .milliseconds(300))
        return Double(count) / passes.sorted()[passes.count / 2]
    }
}

import Foundation

/// How good rankings of documents are, as a mean over queries.
///
/// - SeeAlso: Järvelin, Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", TOIS 2002; Thakur et al., "BEIR", NeurIPS 2021.
package struct RankingMeasures: Hashable, Sendable {
    /// Share of a query's right documents among the first k, by k.
    package private(set) var recall: [Int: Double] = [:]
    /// Gain rel / log₂(rank + 1) of the first ten, against the ideal order.
    package private(set) var ndcg10 = 0.0
    /// 1 / rank of the first right document, if it is among the first ten.
    package private(set) var mrr10 = 0.0

    package static let recallDepths = [1, 5, 10, 100]

    /// - Parameter rankings: For each query its documents, best first, each once, and the grades of the right ones (above 0).
    package init(_ rankings: [(ranking: [String], grades: [String: Int])]) {
        for depth in Self.recallDepths { recall[depth] = 0 }
        let judged = rankings.filter { $0.grades.values.contains { $0 > 0 } }
        guard !judged.isEmpty else { return }
        for (ranking, grades) in judged {
            let right = grades.filter { $0.value > 0 }
            for depth in Self.recallDepths {
                recall[depth]! += Double(ranking.prefix(depth).count { right[$0] != nil }) / Double(right.count)
            }
            let ideal = Self.gain(right.values.sorted(by: >).prefix(10))
            ndcg10 += Self.gain(ranking.prefix(10).map { right[$0] ?? 0 }[...]) / ideal
            if let first = ranking.prefix(10).firstIndex(where: { right[$0] != nil }) { mrr10 += 1 / Double(first + 1) }
        }
        for depth in Self.recallDepths { recall[depth]! /= Double(judged.count) }
        ndcg10 /= Double(judged.count)
        mrr10 /= Double(judged.count)
    }

    private static func gain(_ grades: ArraySlice<Int>) -> Double {
        grades.enumerated().reduce(0) { $0 + Double($1.element) / log2(Double($1.offset + 2)) }
    }
}

/// The value below which a share of the values lies (nearest rank).
package func percentile(_ share: Double, of values: [Double]) -> Double {
    guard !values.isEmpty else { return .nan }
    let sorted = values.sorted()
    return sorted[min(sorted.count - 1, max(0, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
}

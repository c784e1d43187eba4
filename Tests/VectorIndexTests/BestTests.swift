import Model
import Testing
import VectorIndex
import VectorMath

@Suite("The best rows")
struct BestTests {
    @Test("keeps the first k, in order, ties by row", arguments: [0, 1, 7, 64, 1_000], [1, 2, 3] as [UInt64])
    func keepsTheFirst(k: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let rows = (0..<500).map { RowHit(row: $0, score: Float(Int.random(in: 0..<50, using: &random))) }
        for metric in [Metric.dot, .euclid] {
            // Memory that an earlier search left changes nothing.
            for memory in [[], Array(rows.prefix(30))] {
                var memory = memory
                var best = Best(limit: k, metric: metric, storage: &memory)
                for hit in rows.shuffled(using: &random) { best.offer(hit.row, metric == .euclid ? hit.score * hit.score : hit.score, <) }
                let expected = rows.sorted { $0.score == $1.score ? $0.row < $1.row : metric.isBetter($0.score, than: $1.score) }.prefix(k)
                best.finish(<, into: &memory)
                #expect(memory == Array(expected))
            }
        }
    }
}

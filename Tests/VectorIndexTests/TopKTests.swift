import Testing
import VectorIndex
import VectorMath

private struct Item: Equatable {
    var score: Int
    var name: Int
    static func precedes(_ a: Item, _ b: Item) -> Bool { a.score == b.score ? a.name < b.name : a.score > b.score }
}

@Suite("top k")
struct TopKTests {
    @Test("keeps the first k, in order, ties by name", arguments: [0, 1, 7, 64, 1_000], [1, 2, 3] as [UInt64])
    func keepsTheFirst(k: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let items = (0..<500).map { Item(score: Int.random(in: 0..<50, using: &random), name: $0) }
        var best = TopK(capacity: k, precedes: Item.precedes)
        for item in items.shuffled(using: &random) { best.offer(item) }
        #expect(best.sorted() == Array(items.sorted(by: Item.precedes).prefix(k)))
    }
}

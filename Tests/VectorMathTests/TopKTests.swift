import Testing
import VectorMath

private struct Item: Equatable {
    var score: Int
    var name: Int
    static func precedes(_ a: Item, _ b: Item) -> Bool { a.score == b.score ? a.name < b.name : a.score > b.score }
}

@Suite("top k, bitmaps")
struct TopKTests {
    @Test("keeps the first k, in order, ties by name", arguments: [0, 1, 7, 64, 1_000], [1, 2, 3] as [UInt64])
    func keepsTheFirst(k: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let items = (0..<500).map { Item(score: Int(random.next() % 50), name: $0) }
        var best = TopK(capacity: k, precedes: Item.precedes)
        for item in items.shuffled(using: &random) { best.offer(item) }
        #expect(best.sorted() == Array(items.sorted(by: Item.precedes).prefix(k)))
    }

    @Test("a bitmap behaves as a set of rows", arguments: [0, 1, 63, 64, 65, 200], [1, 2] as [UInt64])
    func bitmap(rowCount: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var bitmap = RowBitmap(rowCount: rowCount)
        var set = Set<Int>()
        for row in 0..<rowCount where random.next() % 3 == 0 {
            bitmap.insert(row)
            set.insert(row)
        }
        #expect(bitmap.count == set.count)
        for lower in stride(from: 0, through: rowCount, by: 13) {
            #expect(bitmap.count(in: lower..<rowCount) == set.count { $0 >= lower })
            #expect(bitmap.count(in: 0..<lower) == set.count { $0 < lower })
        }
        var rows: [Int] = []
        bitmap.forEach { rows.append($0) }
        #expect(rows == set.sorted())
        bitmap.invert()
        #expect(bitmap.count == rowCount - set.count)
        bitmap.formUnion(RowBitmap(rowCount: rowCount, filled: true))
        #expect(bitmap == RowBitmap(rowCount: rowCount, filled: true))
        bitmap.subtract(bitmap)
        #expect(bitmap.isEmpty)
    }
}

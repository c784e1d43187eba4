import Testing
import VectorMath

@Suite("bitmaps of rows")
struct BitmapTests {
    @Test("a bitmap behaves as a set of rows", arguments: [0, 1, 63, 64, 65, 200], [1, 2] as [UInt64])
    func bitmap(rowCount: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var bitmap = RowBitmap(rowCount: rowCount)
        var set = Set<Int>()
        for row in 0..<rowCount where random.next() % 3 == 0 {
            for _ in 0..<2 { bitmap.insert(row) }
            set.insert(row)
        }
        for row in 0..<rowCount where random.next() % 5 == 0 {
            for _ in 0..<2 { bitmap.remove(row) }
            set.remove(row)
        }
        #expect(bitmap.count == set.count)
        for lower in stride(from: 0, through: rowCount, by: 13) {
            #expect(bitmap.count(in: lower..<rowCount) == set.count { $0 >= lower })
            #expect(bitmap.count(in: 0..<lower) == set.count { $0 < lower })
        }
        var rows: [Int] = []
        bitmap.forEach { rows.append($0) }
        #expect(rows == set.sorted())
        var odd = RowBitmap(rowCount: rowCount)
        for row in stride(from: 1, to: rowCount, by: 2) { odd.insert(row) }
        odd.formIntersection(bitmap)
        #expect(odd.count == set.count { $0 % 2 == 1 })
        bitmap.invert()
        #expect(bitmap.count == rowCount - set.count)
        bitmap.formUnion(RowBitmap(rowCount: rowCount, filled: true))
        #expect(bitmap == RowBitmap(rowCount: rowCount, filled: true))
        bitmap.subtract(bitmap)
        #expect(bitmap.isEmpty)
    }

    @Test("goes through the rows of any range", arguments: [1, 63, 64, 65, 200])
    func rowsOfARange(rowCount: Int) {
        var random = SplitMix64(seed: UInt64(rowCount))
        var bitmap = RowBitmap(rowCount: rowCount)
        for row in 0..<rowCount where random.next() % 3 == 0 { bitmap.insert(row) }
        for start in 0...rowCount {
            for end in start...rowCount {
                var rows: [Int] = []
                bitmap.forEach(in: start..<end) { rows.append($0) }
                #expect(rows == (start..<end).filter(bitmap.contains))
            }
        }
    }
}

import Testing
import VectorMath

private struct Item: Equatable {
    var score: Int
    var name: Int
    static func precedes(_ a: Item, _ b: Item) -> Bool { a.score == b.score ? a.name < b.name : a.score > b.score }
}

@Suite("top k, k-means, bitmaps")
struct TopKTests {
    @Test("keeps the first k, in order, ties by name", arguments: [0, 1, 7, 64, 1_000], [1, 2, 3] as [UInt64])
    func keepsTheFirst(k: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let items = (0..<500).map { Item(score: Int(random.next() % 50), name: $0) }
        var best = TopK(capacity: k, precedes: Item.precedes)
        for item in items.shuffled(using: &random) { best.offer(item) }
        #expect(best.sorted() == Array(items.sorted(by: Item.precedes).prefix(k)))
    }

    private func byteVectors(_ vectors: [[Float]]) -> ByteVectors {
        var bytes = ByteVectors(dimension: vectors[0].count)
        let zero = [Float](repeating: 0, count: vectors[0].count)
        for vector in vectors { bytes.append(vector.span, origin: zero.span) }
        return bytes
    }

    @Test("k-means finds separate clusters, the same for the same seed", arguments: [1, 2, 3] as [UInt64])
    func kMeans(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let vectors = (0..<300).map { row in (0..<5).map { _ in Float(row % 3) * 10 + Float.random(in: -1...1, using: &random) } }
        let bytes = byteVectors(vectors)
        func train() -> KMeans {
            var random = SplitMix64(seed: seed)
            return KMeans(bytes, count: 8, iterations: 20, random: &random)
        }
        let trained = train()
        #expect(trained.centroids == train().centroids)
        var assigned = [UInt32](repeating: 0, count: 300)
        trained.assign(bytes, into: &assigned)
        for row in 0..<300 {
            let distances = (0..<trained.count).map { cluster in
                (0..<5).reduce(Float(0)) { sum, element in
                    let difference = vectors[row][element] - trained.centroids[cluster * 5 + element]
                    return sum + difference * difference
                }
            }
            // Bytes of vectors up to 11 long are right within 0.05, so a nearly equal centre may be chosen.
            #expect(distances[Int(assigned[row])] <= distances.min()! + 1.5)
        }
    }

    @Test("k-means of equal vectors, and of fewer vectors than clusters")
    func degenerate() {
        var random = SplitMix64(seed: 1)
        let equal = byteVectors([[Float]](repeating: [2, 2, 2, 2], count: 10))
        #expect(KMeans(equal, count: 3, iterations: 5, random: &random).centroids.allSatisfy { abs($0 - 2) < 1e-5 })
        #expect(KMeans(byteVectors([[1, 0], [0, 1]]), count: 9, iterations: 5, random: &random).count == 2)
        #expect(KMeans(byteVectors([[0, 0]]), count: 1, iterations: 5, random: &random).centroids == [0, 0])
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

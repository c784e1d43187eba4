import CVectorKernels
import Testing
import VectorMath

/// The variants that this processor runs, beside the reference.
private let variants = Kernels.Level.allCases.filter { $0 != .portable && Kernels($0) != nil }
private let reference = Kernels(.portable)!

private func randomFloats(_ count: Int, _ random: inout SplitMix64) -> [Float] {
    (0..<count).map { _ in Float.random(in: -1...1, using: &random) }
}

@Suite("kernels")
struct KernelTests {
    @Test("products and distances have the reference's bits", arguments: variants, [1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 50, 63, 64, 65, 384, 1_001])
    func reductions(level: Kernels.Level, dimension: Int) {
        let kernels = Kernels(level)!
        var random = SplitMix64(seed: UInt64(dimension))
        let (query, rows) = (randomFloats(dimension, &random), randomFloats(dimension * 9, &random))
        let indices: [UInt32] = [8, 0, 3, 3, 1, 7]
        var (expected, found) = ([Float](repeating: 0, count: 9), [Float](repeating: 0, count: 9))
        func compare(_ run: (Kernels, inout [Float]) -> Void) {
            run(reference, &expected)
            run(kernels, &found)
            #expect(expected.map(\.bitPattern) == found.map(\.bitPattern))
        }
        compare { var out = $1.mutableSpan; $0.dot(query.span, rows: rows.span, into: &out) }
        compare { var out = $1.mutableSpan; $0.squaredDistance(query.span, rows: rows.span, into: &out) }
        for comparison in [Kernels.Comparison.dot, .squaredDistance] {
            compare { var out = $1.mutableSpan; $0.compare(comparison, query.span, rows: rows.span.bytes, of: .float32, at: indices.span, into: &out) }
        }
        compare { $1[0] = $0.dot(query.span, rows.span.extracting(0..<dimension)) }
        compare { $1[0] = $0.squaredDistance(query.span, rows.span.extracting(0..<dimension)) }
    }

    @Test("the reference agrees with sums in double precision", arguments: [1, 33, 384])
    func referenceIsRight(dimension: Int) {
        var random = SplitMix64(seed: 5)
        let (a, b) = (randomFloats(dimension, &random), randomFloats(dimension, &random))
        let dot = zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        let distance = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
        #expect(abs(Double(reference.dot(a.span, b.span)) - dot) < 1e-4)
        #expect(abs(Double(reference.squaredDistance(a.span, b.span)) - distance) < 1e-4)
    }

    @Test("tables and codes have the reference's bits", arguments: variants, [(4, 4), (50, 48), (384, 96), (7, 4), (2, 4), (1_000, 500), (64, 40)])
    func tables(level: Kernels.Level, shape: (dimension: Int, subspaces: Int)) {
        var random = SplitMix64(seed: 9)
        let query = randomFloats(shape.dimension, &random)
        let centroids = randomFloats(shape.dimension * 16, &random)
        let bounds = (0...shape.subspaces).map { UInt32($0 * shape.dimension / shape.subspaces) }
        for leastStep in [0, 0.5] as [Float] {
            let results = [reference, Kernels(level)!].map { kernels in
                var floats = [Float](repeating: 0, count: shape.subspaces * 18)
                var bytes = [UInt8](repeating: 0, count: shape.subspaces * 16)
                var floatsOut = floats.mutableSpan
                var bytesOut = bytes.mutableSpan
                let scale = kernels.fillTables(
                    query: query.span, centroids: centroids.span, bounds: bounds.span, leastStep: leastStep, floats: &floatsOut, bytes: &bytesOut)
                return (bytes, scale.base, scale.step)
            }
            #expect(results[0] == results[1] && results[0].2 >= leastStep)
        }
        let codes = [reference, Kernels(level)!].map { kernels in
            var codes = [UInt8](repeating: 0, count: shape.subspaces)
            var out = codes.mutableSpan
            kernels.encode(query.span, centroids: centroids.span, bounds: bounds.span, into: &out)
            return codes
        }
        #expect(codes[0] == codes[1])
    }

    @Test("a scan reports the reference's keys", arguments: variants, [(1, 1), (1, 3), (6, 9), (24, 5), (33, 2), (64, 2), (65, 2)])
    func scan(level: Kernels.Level, shape: (groups: Int, blocks: Int)) {
        var random = SplitMix64(seed: UInt64(shape.groups))
        let rowCount = shape.blocks * 16
        let codes = (0..<shape.blocks * shape.groups * 64).map { _ in UInt8.random(in: 0...255, using: &random) }
        let tables = (0..<shape.groups * 128).map { _ in UInt8.random(in: 0...255, using: &random) }
        let biases = (0..<rowCount).map { _ in UInt8.random(in: 0...255, using: &random) }
        let admitted = (0..<(rowCount + 63) / 64).map { _ in random.next() & random.next() }
        let bounds = ((0..<5).map { _ in Int(random.next() % UInt64(rowCount + 1)) } + [0, rowCount]).sorted()
        // Every other span is of rows that the bitmap does not speak of.
        let spans = zip(bounds, bounds.dropFirst()).enumerated().map { number, places in
            let shift = number % 2 == 0 ? 0 : admitted.count * 64 + 5
            return RowSpan(places.0 + shift..<places.1 + shift, at: places.0, base: Int32.random(in: -900...900, using: &random))
        }
        let mean = Int32(shape.groups * 8 * 127)
        for floor in [Int32.min, 0, mean, mean + 300, .max] {
            for (mask, weight) in [([], 0), (admitted, 4_096), (admitted, -20_000)] as [([UInt64], Int32)] {
                let results = [reference, Kernels(level)!].map { kernels in
                    var keys = [UInt64](repeating: 0, count: rowCount + 15)
                    var out = keys.mutableSpan
                    let count = kernels.scan(
                        codes: codes.span, biases: biases.span, biasWeight: weight, tables: tables.span, spans: spans.span, admitted: mask.span,
                        floor: floor, keys: &out)
                    return Array(keys[..<count])
                }
                #expect(results[0] == results[1])
                #expect(results[0].allSatisfy { RankKey.score($0) > floor })
                for key in results[0] where !mask.isEmpty {
                    let row = Int(RankKey.row(key))
                    let isAdmitted = row >= mask.count * 64 || mask[row / 64] >> UInt64(row % 64) & 1 == 1
                    #expect(isAdmitted)
                }
                #expect(floor > .min || !mask.isEmpty || results[0].count == rowCount)
            }
        }
    }

    @Test("the reference's score of a row is its base, its table entries and its bias")
    func scanIsRight() {
        // Two groups, 40 rows; a span of a block of 16 and one of 4. Rows 5 and 22 have the code s % 16 in subspace s, every other row zeros.
        var codes = [UInt8](repeating: 0, count: 40 * 2 * 4)
        for (first, width, place) in [(4, 16, 1), (20, 4, 2)] {
            for subspace in 0..<16 {
                codes[first * 8 + subspace / 8 * 4 * width + place * 4 + subspace % 4] |= UInt8(subspace) << (subspace % 8 < 4 ? 0 : 4)
            }
        }
        let tables = (0..<16).flatMap { subspace in (0..<16).map { UInt8($0 == subspace ? subspace * 2 : 0) } }
        var biases = [UInt8](repeating: 0, count: 40)
        (biases[5], biases[22], biases[23]) = (10, 20, 1)
        let spans = [RowSpan(4..<24, at: 4, base: 100)]
        var keys = [UInt64](repeating: 0, count: 35)
        var out = keys.mutableSpan
        let count = reference.scan(
            codes: codes.span, biases: biases.span, biasWeight: 3 * 4_096, tables: tables.span, spans: spans.span, admitted: Span(), floor: .min, keys: &out)
        let expected = (4..<24).map { row in 100 + ([5, 22].contains(row) ? 2 * (0..<16).reduce(0, +) : 0) - 3 * Int32(biases[row]) }
        #expect(count == 20 && keys[..<20].map(RankKey.row) == Array(4..<24))
        #expect(keys[..<20].map(RankKey.score) == expected)
    }

    @Test("vectors round to the reference's bytes, and back within half a step", arguments: Kernels.Level.allCases.filter { Kernels($0) != nil }, [1, 15, 16, 50, 384])
    func bytes(level: Kernels.Level, dimension: Int) {
        var random = SplitMix64(seed: UInt64(dimension))
        for magnitude in [0, .leastNonzeroMagnitude, 1e-30, 1, 1e30, .greatestFiniteMagnitude] as [Float] {
            let vector = randomFloats(dimension, &random).map { $0 * magnitude }
            let origin = [Float](repeating: 0, count: dimension)
            let results = [reference, Kernels(level)!].map { kernels in
                var difference = [Float](repeating: 0, count: dimension)
                var bytes = [UInt8](repeating: 0, count: dimension)
                var differenceOut = difference.mutableSpan
                var out = bytes.mutableSpan
                let scale = kernels.round(vector.span, less: origin.span, difference: &differenceOut, bytes: &out)
                return (bytes, scale, difference)
            }
            #expect(results[0] == results[1])
            let (bytes, scale, _) = results[0]
            #expect(scale > 0 || bytes.allSatisfy { $0 == 128 })
            guard scale > 0 else { continue }
            #expect(zip(vector, bytes).allSatisfy { abs($0 - (Float($1) - 128) * scale) <= scale * 0.501 })
        }
    }

    @Test("rows score by their bytes as the reference says", arguments: variants, [1, 15, 16, 63, 64, 65, 128, 384, 1_001])
    func scoreBytes(level: Kernels.Level, dimension: Int) {
        var random = SplitMix64(seed: UInt64(dimension))
        let rows = (0..<11 * dimension).map { _ in UInt8.random(in: 1...255, using: &random) }
        let scales = randomFloats(11, &random)
        var biases = randomFloats(11, &random)
        biases[3] = .infinity
        let origin = [Float](repeating: 0, count: dimension)
        var query = ByteQuery()
        var difference = origin
        let asked = randomFloats(dimension, &random)
        query.set(asked.span, less: origin.span, difference: &difference, kernels: reference)
        for weight in [0, 1, -0.5] as [Float] {
            let results = [reference, Kernels(level)!].map { kernels in
                var keys = [10, 3, 3, 0, 7, 1, 2, 5, 9].map { RankKey.make(Int32(0), UInt32($0)) }
                var out = keys.mutableSpan
                kernels.score(query, weight: weight, rows: rows.span, scales: scales.span, biases: biases.span, keys: &out, count: 9)
                return keys
            }
            #expect(results[0] == results[1])
            for key in results[0] {
                let row = Int(RankKey.row(key))
                let product = (0..<dimension).reduce(0) { $0 + (Int(rows[row * dimension + $1]) - 128) * Int(query.bytes[$1]) }
                let expected = Float(product) * (query.scale * scales[row]) - weight * biases[row]
                #expect(RankKey.floatScore(key) == (expected.isNaN ? -.infinity : expected))
            }
        }
    }

    @Test("the nearest centroid is the reference's", arguments: variants, [(1, 1), (16, 3), (50, 4), (64, 9), (100, 5), (384, 8), (7, 70)])
    func nearest(level: Kernels.Level, shape: (dimension: Int, centroids: Int)) {
        let (dimension, centroidCount) = shape
        var random = SplitMix64(seed: 8)
        let rows = (0..<7 * dimension).map { _ in UInt8.random(in: 1...255, using: &random) }
        let scales = (0..<7).map { _ in Float.random(in: 0...1, using: &random) }
        // Of different lengths, and the last equal to the first: the first counts.
        var vectors = (0..<centroidCount).flatMap { number in randomFloats(dimension, &random).map { $0 * Float(number % 3 + 1) } }
        vectors.replaceSubrange((centroidCount - 1) * dimension..<centroidCount * dimension, with: vectors[..<dimension])
        let centroids = ByteCentroids(ByteVectors(rounding: vectors, dimension: dimension))
        let results = [reference, Kernels(level)!].map { kernels in
            var chosen = [UInt32](repeating: 99, count: 7)
            var out = chosen.mutableSpan
            kernels.nearest(rows: rows.span, scales: scales.span, centroids: centroids, into: &out)
            return chosen
        }
        #expect(results[0] == results[1] && results[0].allSatisfy { $0 < max(1, centroidCount - 1) })
    }

    @Test("adding bytes is the reference's", arguments: variants, [1, 15, 16, 17, 50, 384])
    func addBytes(level: Kernels.Level, dimension: Int) {
        var random = SplitMix64(seed: 9)
        let bytes = (0..<dimension).map { _ in UInt8.random(in: 1...255, using: &random) }
        let start = randomFloats(dimension, &random)
        let results = [reference, Kernels(level)!].map { kernels in
            var sum = start
            var out = sum.mutableSpan
            kernels.add(bytes.span, times: -0.37, to: &out)
            return sum
        }
        #expect(results[0] == results[1])
        #expect(results[0][0] == start[0] + Float(Int(bytes[0]) - 128) * -0.37)
    }

    @Test("vectors are brought into an order in place", arguments: [1, 2, 5, 64, 301])
    func permute(count: Int) {
        var random = SplitMix64(seed: UInt64(count))
        let before = ByteVectors(rounding: randomFloats(count * 3, &random), dimension: 3)
        for order in [Array(0..<UInt32(count)), (0..<UInt32(count)).shuffled(using: &random), (0..<UInt32(count)).reversed()] {
            var after = before
            after.permute(order)
            let expected = before.picked(order[...])
            #expect(after.bytes == expected.bytes && after.scales == expected.scales)
        }
    }

    @Test("the checksum is CRC-32C, by instruction and by table")
    func checksum() {
        let check = Array("123456789".utf8)
        #expect(vk_crc32c(0, check, check.count) == 0xe306_9283)
        let bytes = (0..<1_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        for count in [0, 1, 7, 8, 9, 64, 999] { #expect(vk_crc32c(17, bytes, count) == vk_crc32c_portable(17, bytes, count)) }
    }
}

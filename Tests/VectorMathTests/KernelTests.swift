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
        compare { var out = $1.mutableSpan; $0.dot(query.span, rows: rows.span, at: indices.span, into: &out) }
        compare { var out = $1.mutableSpan; $0.squaredDistance(query.span, rows: rows.span, at: indices.span, into: &out) }
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

    @Test("tables and codes have the reference's bits", arguments: variants, [(4, 4), (50, 48), (384, 96), (7, 4), (2, 4), (1_000, 500)])
    func tables(level: Kernels.Level, shape: (dimension: Int, subspaces: Int)) {
        var random = SplitMix64(seed: 9)
        let query = randomFloats(shape.dimension, &random)
        let centroids = randomFloats(shape.dimension * 16, &random)
        let bounds = (0...shape.subspaces).map { UInt32($0 * shape.dimension / shape.subspaces) }
        for similarity in [Kernels.Similarity.dot, .negatedDistance] {
            let results = [reference, Kernels(level)!].map { kernels in
                var floats = [Float](repeating: 0, count: shape.subspaces * 18)
                var bytes = [UInt8](repeating: 0, count: shape.subspaces * 16)
                var floatsOut = floats.mutableSpan
                var bytesOut = bytes.mutableSpan
                let scale = kernels.fillTables(
                    similarity, query: query.span, centroids: centroids.span, bounds: bounds.span, floats: &floatsOut, bytes: &bytesOut)
                return (bytes, scale.base, scale.step)
            }
            #expect(results[0] == results[1])
        }
        let codes = [reference, Kernels(level)!].map { kernels in
            var codes = [UInt8](repeating: 0, count: shape.subspaces)
            var out = codes.mutableSpan
            kernels.encode(query.span, centroids: centroids.span, bounds: bounds.span, into: &out)
            return codes
        }
        #expect(codes[0] == codes[1])
    }

    @Test("a scan reports the reference's rows and sums", arguments: variants, [(1, 1), (1, 3), (12, 2), (48, 5), (64, 1)])
    func scan(level: Kernels.Level, shape: (groups: Int, blocks: Int)) {
        var random = SplitMix64(seed: UInt64(shape.groups))
        let codes = (0..<shape.blocks * shape.groups * 64).map { _ in UInt8.random(in: 0...255, using: &random) }
        let tables = (0..<shape.groups * 64).map { _ in UInt8.random(in: 0...255, using: &random) }
        let admitted = (0..<shape.blocks).map { $0 == 1 ? 0 : UInt32.random(in: 0...UInt32.max, using: &random) }
        let mean = Int32(shape.groups * 4 * 127)
        for floor in [-1, 0, mean, mean + 200, 65_534, 65_535] as [Int32] {
            for mask in [[], admitted] {
                let results = [reference, Kernels(level)!].map { kernels in
                    var rows = [UInt32](repeating: 0, count: shape.blocks * 32)
                    var sums = [UInt16](repeating: 0, count: shape.blocks * 32)
                    var rowsOut = rows.mutableSpan
                    var sumsOut = sums.mutableSpan
                    let count = kernels.scan(
                        codes: codes.span, tables: tables.span, admitted: mask.span, floor: floor, rows: &rowsOut, sums: &sumsOut)
                    return (Array(rows[..<count]), Array(sums[..<count]))
                }
                #expect(results[0] == results[1])
            }
        }
    }

    @Test("the largest difference is the first of equals", arguments: Kernels.Level.allCases.filter { Kernels($0) != nil }, [1, 15, 16, 40, 100])
    func largestDifference(level: Kernels.Level, count: Int) {
        var random = SplitMix64(seed: 3)
        let a = (0..<count).map { _ in Float(random.next() % 4) }
        let zeros = [Float](repeating: 0, count: count)
        #expect(Kernels(level)!.indexOfLargestDifference(a.span, zeros.span) == a.firstIndex(of: a.max()!))
    }

    @Test("the kept keys are the largest", arguments: [0, 1, 2, 10, 99, 100], [1, 2, 3] as [UInt64])
    func keepLargest(keep: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var keys = (0..<100).map { _ in random.next() % (seed == 3 ? 5 : 1_000) }
        let expected = keys.sorted(by: >).prefix(keep)
        var span = keys.mutableSpan
        Kernels.keepLargest(keep, ofFirst: 100, in: &span)
        #expect(keys.prefix(keep).sorted(by: >) == Array(expected))
    }

    @Test("the checksum is CRC-32C, by instruction and by table")
    func checksum() {
        let check = Array("123456789".utf8)
        #expect(vk_crc32c(0, check, check.count) == 0xe306_9283)
        let bytes = (0..<1_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        for count in [0, 1, 7, 8, 9, 64, 999] { #expect(vk_crc32c(17, bytes, count) == vk_crc32c_portable(17, bytes, count)) }
    }
}

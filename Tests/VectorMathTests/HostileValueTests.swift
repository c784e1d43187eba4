import Testing
import VectorMath

/// Values at which sums vanish, overflow or become no number: what every instruction set has to agree on.
@Suite("kernels at the ends of the numbers' range")
struct HostileValueTests {
    private static let variants = Kernels.Level.allCases.filter { $0 != .portable && Kernels($0) != nil }
    private let reference = Kernels(.portable)!

    private static let finite: [Float] = [
        0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 3e-41, .leastNormalMagnitude, -1e-30, 1e-19, 1, -1, 0.1, 1e19, -1e25, 1e38,
        .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
    ]
    /// What is refused at the door, and what a wrong file may hold.
    private static let all = finite + [.infinity, -.infinity, .nan]

    private func draw(_ count: Int, from values: [Float], _ random: inout SplitMix64) -> [Float] {
        (0..<count).map { _ in values[Int(random.next() % UInt64(values.count))] }
    }

    /// No number is no number, whatever its bits.
    private func bits(_ values: [Float]) -> [UInt32] { values.map { $0.isNaN ? .max : $0.bitPattern } }

    @Test("products and distances", arguments: variants, [1, 15, 17, 33, 64, 100])
    func reductions(level: Kernels.Level, dimension: Int) {
        var random = SplitMix64(seed: UInt64(dimension))
        for _ in 0..<100 {
            let (query, rows) = (draw(dimension, from: Self.finite, &random), draw(dimension * 5, from: Self.finite, &random))
            let results = [reference, Kernels(level)!].map { kernels in
                var (products, distances) = ([Float](repeating: 0, count: 5), [Float](repeating: 0, count: 5))
                var productsOut = products.mutableSpan
                var distancesOut = distances.mutableSpan
                kernels.dot(query.span, rows: rows.span, into: &productsOut)
                kernels.squaredDistance(query.span, rows: rows.span, into: &distancesOut)
                return bits(products + distances)
            }
            #expect(results[0] == results[1])
        }
    }

    @Test("tables and codes", arguments: variants, [(1, 8), (9, 8), (40, 16), (130, 64)])
    func tables(level: Kernels.Level, shape: (dimension: Int, subspaces: Int)) {
        var random = SplitMix64(seed: UInt64(shape.dimension))
        let bounds = (0...shape.subspaces).map { UInt32($0 * shape.dimension / shape.subspaces) }
        for trial in 0..<200 {
            let query = draw(shape.dimension, from: Self.finite, &random)
            let centroids = draw(shape.dimension * 16, from: trial % 2 == 0 ? Self.finite : Self.all, &random)
            let leastStep = [0, 1e-30, 1e30][trial % 3] as Float
            let results = [reference, Kernels(level)!].map { kernels in
                var floats = [Float](repeating: 0, count: shape.subspaces * 18)
                var bytes = [UInt8](repeating: 0, count: shape.subspaces * 16)
                var codes = [UInt8](repeating: 0, count: shape.subspaces)
                var floatsOut = floats.mutableSpan
                var bytesOut = bytes.mutableSpan
                var codesOut = codes.mutableSpan
                let (_, step) = kernels.fillTables(
                    query: query.span, centroids: centroids.span, bounds: bounds.span, leastStep: leastStep, floats: &floatsOut, bytes: &bytesOut)
                kernels.encode(query.span, centroids: centroids.span, bounds: bounds.span, into: &codesOut)
                #expect(step > 0 && step.isFinite && codes.allSatisfy { $0 < 16 } && floats.allSatisfy(\.isFinite))
                return (bytes, codes, step)
            }
            #expect(results[0] == results[1], "trial \(trial)")
        }
    }

    @Test("bytes and what they score", arguments: variants, [1, 16, 63, 65, 200])
    func bytes(level: Kernels.Level, dimension: Int) {
        var random = SplitMix64(seed: UInt64(dimension))
        for trial in 0..<100 {
            let (vector, origin) = (draw(dimension, from: Self.finite, &random), draw(dimension, from: Self.finite, &random))
            let rows = (0..<6 * dimension).map { _ in UInt8.random(in: 0...255, using: &random) }
            let (scales, biases) = (draw(6, from: Self.all, &random), draw(6, from: Self.all, &random))
            let weight = draw(1, from: Self.finite, &random)[0]
            let results = [reference, Kernels(level)!].map { kernels in
                var query = ByteQuery()
                var difference = [Float](repeating: 0, count: dimension)
                query.set(vector.span, less: origin.span, difference: &difference, kernels: kernels)
                #expect(query.scale >= 0 && query.scale.isFinite)
                var keys = (0..<6).map { RankKey.make(Int32(0), UInt32($0)) }
                var out = keys.mutableSpan
                kernels.score(query, weight: weight, rows: rows.span, scales: scales.span, biases: biases.span, keys: &out, count: 6)
                #expect(keys.allSatisfy { !RankKey.floatScore($0).isNaN })
                return (query.bytes, query.scale.bitPattern, bits(difference), keys)
            }
            #expect(results[0] == results[1], "trial \(trial)")
        }
    }
}

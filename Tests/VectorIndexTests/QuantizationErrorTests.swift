import Foundation
import Model
import Testing
import VectorIndex
import VectorMath

@Suite("the quantization error")
struct QuantizationErrorTests {
    @Test("other vectors like a segment's have the segment's, vectors unlike them more", arguments: [Metric.cosine, .dot, .euclid], [1, 2] as [UInt64])
    func alike(metric: Metric, seed: UInt64) throws {
        let dimension = 32
        let all = BuiltSegment.clustered(6_000, dimension: dimension, metric: metric, seed: seed)
        let index = try BuiltSegment(Array(all[..<(5_000 * dimension)]), dimension: dimension, metric: metric).index
        let own = try #require(index.quantizationError)
        #expect(own > 0 && own < 0.3)
        let like = try #require(index.quantizationError(of: Array(all[(5_000 * dimension)...])))
        #expect(abs(like / own - 1) < 0.1)
        let unlike = try #require(index.quantizationError(of: BuiltSegment.clustered(1_000, dimension: dimension, metric: metric, seed: seed + 9)))
        #expect(unlike > 1.5 * own)
    }

    @Test("is the same on every instruction set", arguments: [1, 17, 50])
    func same(dimension: Int) throws {
        let segment = try BuiltSegment(BuiltSegment.clustered(1_500, dimension: dimension, metric: .euclid, seed: 3), dimension: dimension, metric: .euclid)
        let others = BuiltSegment.clustered(100, dimension: dimension, metric: .euclid, seed: 4)
        for level in Kernels.Level.allCases {
            guard let index = try segment.index(level) else { continue }
            #expect(index.quantizationError == segment.index.quantizationError)
            #expect(index.quantizationError(of: others) == segment.index.quantizationError(of: others))
        }
    }

    @Test("is what decoding says, in a segment too small to leave rows out: 0 for as many vectors as codes can name")
    func exact() throws {
        let vectors: [Float] = [0, 0, 0, 8, 8, 0, 8, 8]
        let index = try BuiltSegment(vectors, dimension: 2, metric: .euclid).index
        #expect(try #require(index.quantizationError) < 1e-4)
        // (8, 4) less the mean is (4, 0); the nearest codes are (4, 4) and (4, −4), 4 away. Squared over the mean squared length, 32.
        #expect(abs(try #require(index.quantizationError(of: [8, 4])) - 0.5) < 0.01)
    }

    @Test("is not known where vectors are equal or too large to be squared, or there are none")
    func unknown() throws {
        #expect(try BuiltSegment([Float](repeating: 2, count: 40), dimension: 4, metric: .euclid).index.quantizationError == nil)
        var random = SplitMix64(seed: 1)
        let huge = (0..<400).map { _ in Float.random(in: -1e38...1e38, using: &random) }
        let index = try BuiltSegment(huge, dimension: 4, metric: .euclid).index
        #expect(index.quantizationError == nil && index.quantizationError(of: huge) == nil)
        #expect(index.quantizationError(of: []) == nil)
    }

    @Test("benchmark: the error of 256 vectors")
    func benchmark() throws {
        let (count, dimension) = ProcessInfo.processInfo.environment["BENCHMARK"] == nil ? (2_000, 64) : (50_000, 384)
        let all = BuiltSegment.clustered(count + 256, dimension: dimension, metric: .euclid, centres: count / 50, seed: 1)
        let index = try BuiltSegment(Array(all[..<(count * dimension)]), dimension: dimension, metric: .euclid).index
        let others = Array(all[(count * dimension)...])
        var error: Double?
        let time = ContinuousClock().measure { error = index.quantizationError(of: others) }
        print("benchmark: 256 of \(dimension) dimensions beside \(count): \(time), error \(try #require(error)), own \(try #require(index.quantizationError))")
    }
}

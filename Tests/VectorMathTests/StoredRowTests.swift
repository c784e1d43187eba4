import Model
import Testing
import VectorMath

/// Every instruction set that this processor runs, the reference included.
private let levels = Kernels.Level.allCases.filter { Kernels($0) != nil }
private let reference = Kernels(.portable)!

@Suite("rows of other types than float")
struct StoredRowTests {
    private static let types: [VectorDatatype] = [.float16, .uint8, .int8]

    /// Any bytes but halves that are no finite number, which are refused at the door.
    private func randomRows(_ count: Int, _ datatype: VectorDatatype, _ random: inout SplitMix64) -> [UInt8] {
        guard datatype == .float16 else { return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
        return (0..<count).flatMap { _ -> [UInt8] in
            let bits = UInt16.random(in: 0..<0x7c00, using: &random) | (UInt16.random(in: 0...1, using: &random) << 15)
            return [UInt8(bits & 255), UInt8(bits >> 8)]
        }
    }

    private func decoded(_ rows: [UInt8], _ datatype: VectorDatatype, _ kernels: Kernels) -> [Float] {
        var floats = [Float](repeating: 0, count: rows.count / datatype.byteCount)
        var out = floats.mutableSpan
        kernels.decode(rows.span.bytes, of: datatype, into: &out)
        return floats
    }

    @Test("score as the floats that they stand for, to the bit", arguments: levels, [1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 50, 63, 64, 65, 384, 1_001])
    func scores(level: Kernels.Level, dimension: Int) {
        let kernels = Kernels(level)!
        var random = SplitMix64(seed: UInt64(dimension))
        let query = (0..<dimension).map { _ in Float.random(in: -1...1, using: &random) }
        let indices: [UInt32] = [8, 0, 3, 3, 1, 7, 2]
        for datatype in Self.types {
            let rows = randomRows(9 * dimension, datatype, &random)
            let floats = decoded(rows, datatype, reference)
            #expect(decoded(rows, datatype, kernels).map(\.bitPattern) == floats.map(\.bitPattern))
            for comparison in [Kernels.Comparison.dot, .squaredDistance] {
                var (expected, found) = ([Float](repeating: 0, count: 9), [Float](repeating: 0, count: 9))
                var expectedOut = expected.mutableSpan
                var foundOut = found.mutableSpan
                reference.compare(comparison, query.span, rows: floats.span.bytes, of: .float32, into: &expectedOut)
                kernels.compare(comparison, query.span, rows: rows.span.bytes, of: datatype, into: &foundOut)
                #expect(expected.map(\.bitPattern) == found.map(\.bitPattern), "\(datatype) \(comparison)")
                var some = [Float](repeating: 0, count: indices.count)
                var someOut = some.mutableSpan
                kernels.compare(comparison, query.span, rows: rows.span.bytes, of: datatype, at: indices.span, into: &someOut)
                #expect(some.map(\.bitPattern) == indices.map { expected[Int($0)].bitPattern }, "\(datatype) \(comparison)")
            }
        }
    }

    @Test("every half and every byte stands for its number", arguments: levels)
    func numbers(level: Kernels.Level) {
        let halves = (0...UInt16.max).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        let floats = decoded(halves, .float16, Kernels(level)!)
        let isRight = (0...UInt16.max).allSatisfy {
            let (found, expected) = (floats[Int($0)], Float(Float16(bitPattern: $0)))
            return found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN
        }
        #expect(isRight)
        #expect(decoded(Array(0...255), .uint8, Kernels(level)!) == (0...255).map(Float.init))
        #expect(decoded(Array(0...255), .int8, Kernels(level)!) == (0...255).map { Float(Int8(bitPattern: UInt8($0))) })
    }
}

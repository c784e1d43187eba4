import CEmbeddingKernels
import Embedding
import Foundation
import Testing

/// Each instruction set of this processor against the sums written down in double precision.
@Suite struct EncoderKernelTests {
    private static let lanes = Int(CE_LANES)

    private func random(_ count: Int, _ seed: UInt64) -> [Float] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in Float.random(in: -1...1, using: &random) }
    }

    /// A copy at an address that vectors may be read from and written to.
    private func aligned(_ values: [Float]) -> UnsafeMutablePointer<Float> {
        let pointer = UnsafeMutableRawPointer.allocate(byteCount: values.count * 4, alignment: 64).bindMemory(to: Float.self, capacity: values.count)
        pointer.initialize(from: values, count: values.count)
        return pointer
    }

    private func kernels(_ level: EncoderKernels.Level) -> ce_kernels { ce_kernels_at(ce_level(rawValue: level.rawValue))!.pointee }

    @Test(
        "a matrix product adds the bias, then stores, adds, or applies GELU", arguments: EncoderKernels.all.map(\.level),
        [(8, 4, 1), (16, 384, 2), (24, 33, 3), (32, 96, 4), (8, 1_536, 5), (64, 7, 7)])
    func linear(level: EncoderKernels.Level, shape: (outputs: Int, inputs: Int, blocks: Int)) {
        let (outputs, inputs, blocks) = shape
        let lanes = Self.lanes
        let weights = random(outputs * inputs, 1)
        let (bias, x, before) = (random(outputs, 2), random(blocks * inputs * lanes, 3), random(blocks * outputs * lanes, 4))
        let (packed, input) = (aligned(weights), aligned(x))
        defer { packed.deallocate(); input.deallocate() }
        ce_pack(weights, outputs, inputs, 0.5, packed)
        for epilogue in [CE_STORE, CE_STORE_GELU, CE_ADD] {
            let output = aligned(before)
            defer { output.deallocate() }
            kernels(level).linear(packed, bias, outputs, inputs, input, inputs * lanes, lanes, output, outputs * lanes, lanes, blocks, epilogue)
            var largest = 0.0
            for (index, old) in before.enumerated() {
                let (block, row, lane) = (index / lanes / outputs, index / lanes % outputs, index % lanes)
                let sum = (0..<inputs).reduce(Double(bias[row])) { $0 + 0.5 * Double(weights[row * inputs + $1]) * Double(x[(block * inputs + $1) * lanes + lane]) }
                let expected =
                    switch epilogue {
                    case CE_STORE: sum
                    case CE_ADD: sum + Double(old)
                    default: sum / 2 * (1 + erf(sum / 2.0.squareRoot()))
                    }
                largest = max(largest, abs(Double(output[index]) - expected))
            }
            // 1,536 products, each rounded to 24 bits.
            #expect(largest < 5e-5, "\(epilogue)")
        }
    }

    @Test("attention is the softmax of the scores over the text's own tokens", arguments: EncoderKernels.all.map(\.level), [1, 7, 8, 16, 31, 32, 33, 100, 256])
    func attention(level: EncoderKernels.Level, tokens: Int) {
        let (heads, width) = (2, 32)
        let stride = tokens + 3 * Self.lanes
        // What stands behind the text's tokens is another text's: it must not matter, nor be written over.
        let activations = random(3 * heads * width * stride, 5)
        let sentinel: Float = 77
        let (qkv, output) = (aligned(activations), aligned(Array(repeating: sentinel, count: heads * width * stride)))
        let scratch = aligned(Array(repeating: 0, count: 2 * Self.lanes * tokens))
        defer { qkv.deallocate(); output.deallocate(); scratch.deallocate() }
        kernels(level).attention(qkv, stride, heads, width, tokens, output, stride, scratch)
        func element(_ part: Int, _ head: Int, _ feature: Int, _ token: Int) -> Double {
            Double(activations[((part * heads + head) * width + feature) * stride + token])
        }
        var largest = 0.0
        for head in 0..<heads {
            for token in Set([0, tokens / 2, tokens - 1]) {
                let scores = (0..<tokens).map { other in exp((0..<width).reduce(0) { $0 + element(0, head, $1, token) * element(1, head, $1, other) }) }
                for feature in 0..<width {
                    let expected = (0..<tokens).reduce(0) { $0 + scores[$1] * element(2, head, feature, $1) } / scores.reduce(0, +)
                    largest = max(largest, abs(Double(output[(head * width + feature) * stride + token]) - expected))
                }
            }
        }
        #expect(largest < 1e-5)
        #expect((0..<heads * width).allSatisfy { row in (tokens..<stride).allSatisfy { output[row * stride + $0] == sentinel } })
    }

    @Test("layer norm gives each token mean 0 and variance 1, then scales and shifts", arguments: EncoderKernels.all.map(\.level), [(4, 1), (384, 2), (1_536, 1)])
    func layerNorm(level: EncoderKernels.Level, shape: (features: Int, blocks: Int)) {
        let (features, lanes) = (shape.features, Self.lanes)
        let x = random(shape.blocks * features * lanes, 6)
        let (weight, bias, values) = (random(features, 7), random(features, 8), aligned(x))
        defer { values.deallocate() }
        kernels(level).layer_norm(values, features, shape.blocks, weight, bias, 1e-12)
        var largest = 0.0
        for token in 0..<shape.blocks * lanes {
            func index(_ feature: Int) -> Int { (token / lanes * features + feature) * lanes + token % lanes }
            let mean = (0..<features).reduce(0) { $0 + Double(x[index($1)]) } / Double(features)
            let variance = (0..<features).reduce(0) { $0 + pow(Double(x[index($1)]) - mean, 2) } / Double(features)
            for feature in 0..<features {
                let expected = (Double(x[index(feature)]) - mean) / variance.squareRoot() * Double(weight[feature]) + Double(bias[feature])
                largest = max(largest, abs(Double(values[index(feature)]) - expected))
            }
        }
        #expect(largest < 1e-5)
    }
}

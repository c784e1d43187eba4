import CEmbeddingKernels
import Model

/// The sizes of a BERT-like encoder.
struct EncoderShape: Sendable {
    var vocabulary: Int
    var positions: Int
    var hidden: Int
    var intermediate: Int
    var layers: Int
    var heads: Int
    var epsilon: Float

    /// Of all-MiniLM-L6-v2.
    static let miniLM = EncoderShape(
        vocabulary: 30_522, positions: 512, hidden: 384, intermediate: 1_536, layers: 6, heads: 12, epsilon: 1e-12)
}

/// Floats at an address that vector instructions like: 64-byte aligned, zero at first, freed with the last reference.
@safe final class AlignedFloats: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Float>
    let count: Int

    init(count: Int) {
        self.count = count
        let raw = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1) * 4, alignment: 64)
        unsafe pointer = raw.initializeMemory(as: Float.self, repeating: 0, count: count)
    }
    deinit { unsafe UnsafeMutableRawPointer(pointer).deallocate() }
}

/// The weights of a BERT-like encoder, read only: matrices rearranged for ``CEmbeddingKernels`` (43 MB for MiniLM), the
/// table of word vectors left in the mapped file (47 MB, of which the pages in use are in memory).
final class EncoderWeights: Sendable {
    /// y = weights · x + bias.
    struct Linear: Sendable {
        let packed: AlignedFloats
        let bias: AlignedFloats
        let outputs: Int
        let inputs: Int
    }
    struct Norm: Sendable {
        let weight: AlignedFloats
        let bias: AlignedFloats
    }
    struct Layer: Sendable {
        /// Query (scaled by 1/√width), key and value in one product.
        let attention: Linear
        let attentionOutput: Linear
        let attentionNorm: Norm
        let intermediate: Linear
        let output: Linear
        let outputNorm: Norm
    }

    let shape: EncoderShape
    let words: TensorFile.Tensor
    /// Position vector plus that of the first (only) token type, `[positions, hidden]`.
    let positions: [Float]
    let embeddingNorm: Norm
    let layers: [Layer]

    /// - Throws: `dataLoss` that names the tensor that is missing or has another shape.
    init(_ file: TensorFile, shape: EncoderShape) throws(ClusterError) {
        self.shape = shape
        let hidden = shape.hidden
        words = try file.tensor("embeddings.word_embeddings.weight", shape: [shape.vocabulary, hidden])
        let type = try file.tensor("embeddings.token_type_embeddings.weight", shape: [2, hidden]).elements()
        var positions = try file.tensor("embeddings.position_embeddings.weight", shape: [shape.positions, hidden]).elements()
        for index in positions.indices { positions[index] += type[index % hidden] }
        self.positions = positions
        embeddingNorm = try Self.norm("embeddings.LayerNorm", of: file, count: hidden)
        let queryScale = 1 / Float(hidden / shape.heads).squareRoot()
        var layers: [Layer] = []
        for index in 0..<shape.layers {
            let name = "encoder.layer.\(index)"
            layers.append(
                Layer(
                    attention: try Self.linear(
                        [("\(name).attention.self.query", queryScale), ("\(name).attention.self.key", 1), ("\(name).attention.self.value", 1)],
                        of: file, outputs: hidden, inputs: hidden),
                    attentionOutput: try Self.linear([("\(name).attention.output.dense", 1)], of: file, outputs: hidden, inputs: hidden),
                    attentionNorm: try Self.norm("\(name).attention.output.LayerNorm", of: file, count: hidden),
                    intermediate: try Self.linear(
                        [("\(name).intermediate.dense", 1)], of: file, outputs: shape.intermediate, inputs: hidden),
                    output: try Self.linear([("\(name).output.dense", 1)], of: file, outputs: hidden, inputs: shape.intermediate),
                    outputNorm: try Self.norm("\(name).output.LayerNorm", of: file, count: hidden)))
        }
        self.layers = layers
    }

    /// Several linear maps of the same input as one, each scaled.
    private static func linear(
        _ parts: [(name: String, scale: Float)], of file: TensorFile, outputs: Int, inputs: Int
    ) throws(ClusterError) -> Linear {
        precondition(outputs % CE_WEIGHT_ROWS == 0, "\(outputs) outputs are not whole groups of rows")
        let packed = AlignedFloats(count: parts.count * outputs * inputs)
        let bias = AlignedFloats(count: parts.count * outputs)
        for (index, part) in parts.enumerated() {
            let weights = try file.tensor("\(part.name).weight", shape: [outputs, inputs]).elements()
            let offsets = try file.tensor("\(part.name).bias", shape: [outputs]).elements()
            unsafe ce_pack(weights, outputs, inputs, part.scale, packed.pointer + index * outputs * inputs)
            for row in 0..<outputs { unsafe bias.pointer[index * outputs + row] = offsets[row] * part.scale }
        }
        return Linear(packed: packed, bias: bias, outputs: parts.count * outputs, inputs: inputs)
    }

    private static func norm(_ name: String, of file: TensorFile, count: Int) throws(ClusterError) -> Norm {
        let weight = AlignedFloats(count: count)
        let bias = AlignedFloats(count: count)
        unsafe try file.tensor("\(name).weight", shape: [count]).copy(from: 0, to: weight.buffer)
        unsafe try file.tensor("\(name).bias", shape: [count]).copy(from: 0, to: bias.buffer)
        return Norm(weight: weight, bias: bias)
    }
}

extension AlignedFloats {
    var buffer: UnsafeMutableBufferPointer<Float> { unsafe UnsafeMutableBufferPointer(start: pointer, count: count) }
}

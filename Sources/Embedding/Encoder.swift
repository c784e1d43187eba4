import CEmbeddingKernels

/// Runs texts' tokens through the layers: the work space of one worker thread.
///
/// Texts lie one after the other without padding, so a batch costs what its tokens cost. A vector is the same to the last bit
/// whichever texts share its batch: no sum crosses lanes.
final class Encoder {
    /// Tokens of one pass. Activations of 256 (1.6 MB) stay near the core, and weights, which come from memory once a
    /// pass, are a small part of its time.
    static let maximumBatchTokens = 256
    /// Blocks that pass through the wide middle of the feed-forward part together: 96 tokens are 590 KB.
    private static let intermediateBlocks = 6
    private static let lanes = CE_LANES

    private let weights: EncoderWeights
    private let kernels: EncoderKernels
    private let rowStride: Int
    /// Blocked `[hidden]`: the residual stream.
    private let stream: AlignedFloats
    /// Plain `[3 × hidden]` and `[hidden]`.
    private let queriesKeysValues: AlignedFloats
    private let context: AlignedFloats
    /// Blocked `[intermediate]` for ``intermediateBlocks``.
    private let middle: AlignedFloats
    private let scores: AlignedFloats

    init(weights: EncoderWeights, kernels: EncoderKernels) {
        let shape = weights.shape
        self.weights = weights
        self.kernels = kernels
        let tokens = Self.maximumBatchTokens
        // Two vectors of slack for the kernels' reading past the end, and an odd number of cache lines a row, because
        // rows a power of two apart would compete for the same few lines of the cache.
        rowStride = tokens + 3 * Self.lanes
        stream = AlignedFloats(count: shape.hidden * tokens)
        queriesKeysValues = AlignedFloats(count: 3 * shape.hidden * rowStride)
        context = AlignedFloats(count: shape.hidden * rowStride)
        middle = AlignedFloats(count: shape.intermediate * Self.intermediateBlocks * Self.lanes)
        scores = AlignedFloats(count: 2 * Self.lanes * tokens)
    }

    /// One vector a text: the mean of its tokens in the last layer, at unit length.
    ///
    /// - Parameter texts: Token ids below the vocabulary's count, special ones included; each text has at least one, all
    ///   together at most ``maximumBatchTokens``.
    func encode(_ texts: [[Int32]]) -> [[Float]] {
        let tokens = texts.reduce(0) { $0 + $1.count }
        precondition(tokens <= Self.maximumBatchTokens, "\(tokens) tokens in a batch of \(Self.maximumBatchTokens)")
        let blocks = (tokens + Self.lanes - 1) / Self.lanes
        embed(texts, blocks: blocks)
        for layer in weights.layers { run(layer, texts: texts, blocks: blocks) }
        return pool(texts)
    }

    private func embed(_ texts: [[Int32]], blocks: Int) {
        let hidden = weights.shape.hidden
        unsafe stream.pointer.update(repeating: 0, count: hidden * blocks * Self.lanes)
        unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: hidden) { word in
            var token = 0
            for text in texts {
                for (position, id) in text.enumerated() {
                    unsafe weights.words.copy(from: Int(id) * hidden, to: word)
                    let target = unsafe stream.pointer + token / Self.lanes * hidden * Self.lanes + token % Self.lanes
                    for feature in 0..<hidden {
                        unsafe target[feature * Self.lanes] = word[feature] + weights.positions[position * hidden + feature]
                    }
                    token += 1
                }
            }
        }
        normalize(weights.embeddingNorm, blocks: blocks)
    }

    private func run(_ layer: EncoderWeights.Layer, texts: [[Int32]], blocks: Int) {
        let shape = weights.shape
        let lanes = Self.lanes
        let hiddenBlock = shape.hidden * lanes
        unsafe multiply(
            layer.attention, stream.pointer, (hiddenBlock, lanes), into: queriesKeysValues.pointer, (lanes, rowStride), blocks: blocks,
            CE_STORE)
        var first = 0
        for text in texts {
            unsafe kernels.table.pointee.attention(
                queriesKeysValues.pointer + first, rowStride, shape.heads, shape.hidden / shape.heads, text.count,
                context.pointer + first, rowStride, scores.pointer)
            first += text.count
        }
        unsafe multiply(
            layer.attentionOutput, context.pointer, (lanes, rowStride), into: stream.pointer, (hiddenBlock, lanes), blocks: blocks, CE_ADD)
        normalize(layer.attentionNorm, blocks: blocks)
        for block in stride(from: 0, to: blocks, by: Self.intermediateBlocks) {
            let count = min(Self.intermediateBlocks, blocks - block)
            let part = unsafe stream.pointer + block * hiddenBlock
            let middleBlock = shape.intermediate * lanes
            unsafe multiply(
                layer.intermediate, part, (hiddenBlock, lanes), into: middle.pointer, (middleBlock, lanes), blocks: count, CE_STORE_GELU)
            unsafe multiply(layer.output, middle.pointer, (middleBlock, lanes), into: part, (hiddenBlock, lanes), blocks: count, CE_ADD)
        }
        normalize(layer.outputNorm, blocks: blocks)
    }

    private func multiply(
        _ linear: EncoderWeights.Linear, _ input: UnsafeMutablePointer<Float>, _ inputStrides: (block: Int, row: Int),
        into output: UnsafeMutablePointer<Float>, _ outputStrides: (block: Int, row: Int), blocks: Int, _ epilogue: ce_epilogue
    ) {
        unsafe kernels.table.pointee.linear(
            linear.packed.pointer, linear.bias.pointer, linear.outputs, linear.inputs, input, inputStrides.block, inputStrides.row, output,
            outputStrides.block, outputStrides.row, blocks, epilogue)
    }

    private func normalize(_ norm: EncoderWeights.Norm, blocks: Int) {
        unsafe kernels.table.pointee.layer_norm(
            stream.pointer, weights.shape.hidden, blocks, norm.weight.pointer, norm.bias.pointer, weights.shape.epsilon)
    }

    private func pool(_ texts: [[Int32]]) -> [[Float]] {
        let hidden = weights.shape.hidden
        var first = 0
        return texts.map { text in
            var vector = [Float](repeating: 0, count: hidden)
            for token in first..<first + text.count {
                let source = unsafe stream.pointer + token / Self.lanes * hidden * Self.lanes + token % Self.lanes
                for feature in 0..<hidden { unsafe vector[feature] += source[feature * Self.lanes] }
            }
            first += text.count
            // The division by the count of tokens is lost in the scaling to unit length.
            let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            for feature in 0..<hidden { vector[feature] /= length }
            return vector
        }
    }
}

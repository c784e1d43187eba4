import Storage
import VectorMath

/// Writes one ``Tier`` of a segment's index.
struct TierWriter {
    let name: String
    let children: ByteVectors
    /// Each child's b.
    let biases: [Float]
    let parents: ByteVectors
    let parentBiases: [Float]
    /// `[parents + 1]`
    let starts: [UInt32]
    /// How b follows from the vector that codes describe; `nil`: it is the child's own.
    let describedBias: ((Span<Float>) -> Float)?

    func write(_ parameters: IndexParameters, random: inout SplitMix64, into writer: SegmentWriter) throws(SegmentError) {
        let dimension = children.dimension
        let parentOf = self.parentOf
        let quantizer = trained(parameters, parentOf, random: &random)
        try writer.addSection(name + IndexSection.starts, elements: starts)
        try writer.addSection(name + IndexSection.bytes, children.bytes)
        try writer.addSection(name + IndexSection.scales, elements: children.scales)
        try writer.addSection(name + IndexSection.biases, elements: biases)
        try writer.addSection(name + IndexSection.codebooks, elements: quantizer.centroids)

        var offsets = [Float](repeating: 0, count: children.count)
        try writer.beginSection(name + IndexSection.codes)
        var block = CodeBlock(subspaces: quantizer.subspaces)
        var residual = [Float](repeating: 0, count: dimension)
        var described = residual
        var codes = [UInt8](repeating: 0, count: quantizer.subspaces)
        var parent = (index: -1, vector: [Float]())
        for child in 0..<children.count {
            if parent.index != parentOf[child] { parent = (parentOf[child], parents.decoded(parentOf[child])) }
            subtract(parent.vector, from: child, into: &residual)
            quantizer.encode(residual.span, into: &codes)
            block.store(codes, row: child % Kernels.blockRows)
            if let describedBias {
                for element in 0..<dimension { described[element] = parent.vector[element] }
                quantizer.add(codes, to: &described)
                offsets[child] = describedBias(described.span) - parentBiases[parent.index]
            } else {
                offsets[child] = biases[child] - parentBiases[parent.index]
            }
            if child % Kernels.blockRows == Kernels.blockRows - 1 || child == children.count - 1 {
                try writer.append(block.bytes)
                block.clear()
            }
        }
        try writer.endSection()
        try writeOffsets(offsets, into: writer)
    }

    private var parentOf: [Int] {
        var parentOf: [Int] = []
        parentOf.reserveCapacity(children.count)
        for parent in 0..<parents.count { parentOf.append(contentsOf: repeatElement(parent, count: Int(starts[parent + 1] - starts[parent]))) }
        return parentOf
    }

    private func trained(_ parameters: IndexParameters, _ parentOf: [Int], random: inout SplitMix64) -> ProductQuantizer {
        var residuals: [Float] = []
        var residual = [Float](repeating: 0, count: children.dimension)
        for child in random.sample(min(parameters.quantizerSample, children.count), below: children.count) {
            subtract(parents.decoded(parentOf[child]), from: child, into: &residual)
            residuals += residual
        }
        return ProductQuantizer(
            vectors: residuals.span, dimension: children.dimension, subspaces: parameters.subspaceCount(for: children.dimension),
            iterations: parameters.iterations, random: &random)
    }

    private func subtract(_ parent: [Float], from child: Int, into residual: inout [Float]) {
        for element in residual.indices { residual[element] = -parent[element] }
        var out = residual.mutableSpan
        children.add(child, to: &out)
    }

    private func writeOffsets(_ offsets: [Float], into writer: SegmentWriter) throws(SegmentError) {
        let finite = offsets.lazy.filter(\.isFinite)
        let lowest = finite.min() ?? 0
        let unit = ((finite.max() ?? 0) - lowest) / 255
        let inverse = unit >= .leastNormalMagnitude && unit.isFinite ? 1 / unit : 0
        var bytes = offsets.map { UInt8(max(0, min(255, (($0 - lowest) * inverse).rounded()))) }
        bytes += repeatElement(0, count: (Kernels.blockRows - bytes.count % Kernels.blockRows) % Kernels.blockRows)
        try writer.addSection(name + IndexSection.codeBiases, bytes)
        try writer.addSection(name + IndexSection.codeRange, elements: [lowest, inverse == 0 ? 0 : unit])
    }
}

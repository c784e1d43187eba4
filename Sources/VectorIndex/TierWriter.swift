import Storage
import VectorMath

/// Writes one ``Tier`` of a segment's index.
struct TierWriter: Sendable {
    let name: String
    let children: ByteVectors
    /// Each child's b.
    let biases: [Float]
    let parents: ByteVectors
    let parentBiases: [Float]
    /// `[parents + 1]`
    let starts: [UInt32]
    /// b of what codes describe, over its squared length; `nil`: it is the child's own.
    let describedBias: Float?
    /// Of each parent the children that are described from it, too.
    let spills: Groups?
    /// Children whose codes' error is written.
    let measured: RowBitmap?

    /// Rows encoded in one piece: some milliseconds.
    private static let pieceRows = 64 * Kernels.blockRows

    /// - Parameter shares: Of the build, after training and after encoding.
    func write(
        _ parameters: IndexParameters, subspaces: Int, random: inout SplitMix64, work: BuildWork, until shares: (trained: Double, encoded: Double), into writer: SegmentWriter
    ) throws(SegmentError) {
        let sample = random.sample(min(parameters.quantizerSample, children.count), below: children.count)
        let parentsOfSample = sample.map(parent(of:))
        let (children, parents) = (children, parents)
        let quantizer = try ProductQuantizer(
            dimension: children.dimension, subspaces: subspaces, iterations: parameters.iterations,
            random: &random, work: work, until: shares.trained
        ) { elements in
            var residuals = [Float](repeating: 0, count: sample.count * elements.count)
            var out = residuals.mutableSpan
            for (place, (child, parent)) in zip(sample, parentsOfSample).enumerated() {
                var residual = out._mutatingExtracting(place * elements.count..<(place + 1) * elements.count)
                parents.add(parent, elements, times: -1, to: &residual)
                children.add(child, elements, to: &residual)
            }
            return residuals
        }
        try writer.addSection(name + IndexSection.starts, elements: starts)
        try writer.addSection(name + IndexSection.bytes, children.bytes)
        try writer.addSection(name + IndexSection.scales, elements: children.scales)
        try writer.addSection(name + IndexSection.biases, elements: biases)
        try writer.addSection(name + IndexSection.codebooks, elements: quantizer.centroids)

        var offsets: [Float] = []
        var error = 0.0
        offsets.reserveCapacity(children.count + (spills?.members.count ?? 0))
        try writer.beginSection(name + IndexSection.codes)
        try work.forEach(pieces, until: shares.encoded) { encoded($0, quantizer) } take: {
            (part: (codes: [UInt8], offsets: [Float], error: Double)) throws(SegmentError) in
            try writer.append(part.codes)
            offsets += part.offsets
            error += part.error
        }
        try writer.endSection()
        try writeOffsets(offsets, into: writer)
        if let spills {
            try writer.addSection(name + IndexSection.spillStarts, elements: spills.starts)
            try writer.addSection(name + IndexSection.spills, elements: spills.members)
        }
        if let measured { try writer.addSection(name + IndexSection.error, elements: [Float(error / Double(measured.count))]) }
    }

    private func parent(of child: Int) -> Int { Clusters.list(of: child, starts) }

    /// The children in pieces of whole blocks, which begin anew with each parent.
    private var pieces: [Range<Int>] {
        var pieces: [Range<Int>] = []
        var begin = 0
        for parent in 0..<parents.count {
            let (first, end) = (Int(starts[parent]), Int(starts[parent + 1]))
            while end - begin > Self.pieceRows {
                let cut = first + (begin + Self.pieceRows - first) / Kernels.blockRows * Kernels.blockRows
                pieces.append(begin..<cut)
                begin = cut
            }
        }
        if begin < children.count { pieces.append(begin..<children.count) }
        return pieces
    }

    /// The codes of some children, whole blocks of them, what their b exceeds the parent's by, and the sum of the squared distances between
    /// the measured ones and what codes describe.
    private func encoded(_ piece: Range<Int>, _ quantizer: ProductQuantizer) -> (codes: [UInt8], offsets: [Float], error: Double) {
        var blocks: [UInt8] = []
        var offsets: [Float] = []
        var error = 0.0
        var block = CodeBlock(subspaces: quantizer.subspaces)
        var residual = [Float](repeating: 0, count: children.dimension)
        var codes = [UInt8](repeating: 0, count: quantizer.subspaces)
        var parent = parent(of: piece.lowerBound)
        var parentVector = parents.decoded(parent)
        var described = parentVector
        func encode(_ child: Int, isLast: Bool) {
            for element in residual.indices { residual[element] = -parentVector[element] }
            var out = residual.mutableSpan
            children.add(child, to: &out)
            quantizer.encode(residual.span, into: &codes)
            block.add(codes)
            if let describedBias {
                for element in described.indices { described[element] = parentVector[element] }
                quantizer.add(codes, to: &described)
                offsets.append(Kernels.best.dot(described.span, described.span) * describedBias - parentBiases[parent])
            } else {
                offsets.append(biases[child] - parentBiases[parent])
            }
            if block.isFull || isLast { block.write(to: &blocks) }
        }
        for child in piece {
            if child >= Int(starts[parent + 1]) {
                while child >= Int(starts[parent + 1]) { parent += 1 }
                parentVector = parents.decoded(parent)
            }
            let isLast = child + 1 == Int(starts[parent + 1])
            encode(child, isLast: isLast)
            if measured?.contains(child) ?? false { error += quantizer.squaredError(of: codes, for: residual) }
            guard isLast, let spills else { continue }
            let spilled = spills[parent]
            for child in spilled { encode(Int(child), isLast: child == spilled.last) }
        }
        return (blocks, offsets, error)
    }

    private func writeOffsets(_ offsets: [Float], into writer: SegmentWriter) throws(SegmentError) {
        let finite = offsets.lazy.filter(\.isFinite)
        let lowest = finite.min() ?? 0
        let unit = ((finite.max() ?? 0) - lowest) / 255
        let inverse = unit >= .leastNormalMagnitude && unit.isFinite ? 1 / unit : 0
        try writer.addSection(name + IndexSection.codeBiases, offsets.map { UInt8(max(0, min(255, (($0 - lowest) * inverse).rounded()))) })
        try writer.addSection(name + IndexSection.codeRange, elements: [lowest, inverse == 0 ? 0 : unit])
    }
}

import Model
import Storage
import VectorMath

/// Turns vectors into the sections of a searchable segment.
///
/// The same vectors, parameters and seed give the same bytes on every machine.
package struct IndexBuilder: Sendable {
    package let dimension: Int
    package let metric: Metric
    package let parameters: IndexParameters
    package let seed: UInt64

    package init(dimension: Int, metric: Metric, parameters: IndexParameters = IndexParameters(), seed: UInt64 = 0) {
        precondition((1...CollectionSchema.maximumDimension).contains(dimension), "dimension \(dimension)")
        self.dimension = dimension
        self.metric = metric
        self.parameters = parameters
        self.seed = seed
    }

    /// Writes the index's sections.
    ///
    /// - Parameter vectors: Row-major `[n, dimension]`, finite, n ≥ 1; of unit length if the metric is cosine. Give them in
    ///   the order in which ties are to be broken: equal vectors keep their order.
    /// - Returns: Which vector became which row: row i of the segment is vector `order[i]` of the input. The caller stores
    ///   what else belongs to the rows in this order.
    /// - Complexity: about n · √n · `dimension` multiplications; the memory of a sample of the vectors.
    package func build(_ vectors: Span<Float>, into writer: SegmentWriter) throws(SegmentError) -> [UInt32] {
        let count = vectors.count / dimension
        precondition(count > 0 && vectors.count == count * dimension, "\(vectors.count) elements in rows of \(dimension)")
        precondition(count <= Int(UInt32.max) - 64, "\(count) rows")
        var random = SplitMix64(seed: seed)

        let listCount = parameters.listCount(for: count)
        let coarseSample = sample(min(count, max(listCount * parameters.samplePerList, parameters.quantizerSample)), of: vectors, random: &random)
        let coarse = KMeans(
            vectors: coarseSample.span, dimension: dimension, count: listCount, iterations: parameters.iterations, random: &random)
        var assigned = [UInt32](repeating: 0, count: count)
        coarse.assign(vectors, into: &assigned)
        let (starts, order) = Self.sortByList(assigned, listCount: coarse.count)

        var residuals = sample(min(count, parameters.quantizerSample), of: coarseSample.span, random: &random)
        subtractMeans(coarse, from: &residuals)
        let quantizer = ProductQuantizer(
            vectors: residuals.span, dimension: dimension, subspaces: parameters.subspaceCount(for: dimension),
            iterations: parameters.iterations, random: &random)

        let header: [UInt32] = [
            IndexSection.formatVersion, metric.sectionCode, UInt32(dimension), UInt32(count), UInt32(coarse.count), UInt32(quantizer.subspaces),
        ]
        try writer.addSection(IndexSection.header, elements: header)
        try writer.addSection(IndexSection.lists, elements: starts)
        try writer.addSection(IndexSection.centroids, elements: coarse.centroids)
        try writer.addSection(IndexSection.spreads, elements: spreads(vectors, assigned: assigned, coarse: coarse))
        try writer.addSection(IndexSection.codebooks, elements: quantizer.centroids)
        try writeCodes(vectors, order: order, assigned: assigned, coarse: coarse, quantizer: quantizer, into: writer)
        try writeVectors(vectors, order: order, into: writer)
        return order
    }

    private func sample(_ size: Int, of vectors: Span<Float>, random: inout SplitMix64) -> [Float] {
        let count = vectors.count / dimension
        var sample: [Float] = []
        sample.reserveCapacity(min(size, count) * dimension)
        for row in random.sample(min(size, count), below: count) {
            for element in row * dimension..<(row + 1) * dimension { sample.append(vectors[element]) }
        }
        return sample
    }

    /// A counting sort: rows of a list follow each other and keep their order.
    private static func sortByList(_ assigned: [UInt32], listCount: Int) -> (starts: [UInt32], order: [UInt32]) {
        var starts = [UInt32](repeating: 0, count: listCount + 1)
        for list in assigned { starts[Int(list) + 1] += 1 }
        for list in 0..<listCount { starts[list + 1] += starts[list] }
        var next = starts
        var order = [UInt32](repeating: 0, count: assigned.count)
        for (row, list) in assigned.enumerated() {
            order[Int(next[Int(list)])] = UInt32(row)
            next[Int(list)] += 1
        }
        return (starts, order)
    }

    private func subtractMeans(_ coarse: KMeans, from vectors: inout [Float]) {
        var assigned = [UInt32](repeating: 0, count: vectors.count / dimension)
        coarse.assign(vectors.span, into: &assigned)
        for (row, list) in assigned.enumerated() {
            for element in 0..<dimension { vectors[row * dimension + element] -= coarse.centroids[Int(list) * dimension + element] }
        }
    }

    private func spreads(_ vectors: Span<Float>, assigned: [UInt32], coarse: KMeans) -> [Float] {
        var sums = [Double](repeating: 0, count: coarse.count)
        var sizes = [Double](repeating: 0, count: coarse.count)
        for (row, list) in assigned.enumerated() {
            let vector = vectors.extracting(row * dimension..<(row + 1) * dimension)
            let mean = coarse.centroids.span.extracting(Int(list) * dimension..<(Int(list) + 1) * dimension)
            sums[Int(list)] += Double(Kernels.best.squaredDistance(vector, mean))
            sizes[Int(list)] += 1
        }
        return zip(sums, sizes).map { $1 == 0 ? 0 : Float(($0 / $1).squareRoot()) }
    }

    private func writeCodes(
        _ vectors: Span<Float>, order: [UInt32], assigned: [UInt32], coarse: KMeans, quantizer: ProductQuantizer, into writer: SegmentWriter
    ) throws(SegmentError) {
        try writer.beginSection(IndexSection.codes)
        var block = CodeBlock(subspaces: quantizer.subspaces)
        var residual = [Float](repeating: 0, count: dimension)
        var codes = [UInt8](repeating: 0, count: quantizer.subspaces)
        for (row, source) in order.enumerated() {
            let mean = Int(assigned[Int(source)]) * dimension
            for element in 0..<dimension { residual[element] = vectors[Int(source) * dimension + element] - coarse.centroids[mean + element] }
            quantizer.encode(residual.span, into: &codes)
            block.store(codes, row: row % Kernels.blockRows)
            if row % Kernels.blockRows == Kernels.blockRows - 1 || row == order.count - 1 {
                try writer.append(block.bytes)
                block.clear()
            }
        }
        try writer.endSection()
    }

    private func writeVectors(_ vectors: Span<Float>, order: [UInt32], into writer: SegmentWriter) throws(SegmentError) {
        try writer.beginSection(IndexSection.vectors)
        for source in order {
            let row = vectors.extracting(Int(source) * dimension..<(Int(source) + 1) * dimension)
            try writer.append(row)
        }
        try writer.endSection()
    }
}

extension Metric {
    var sectionCode: UInt32 {
        switch self {
        case .cosine: 0
        case .dot: 1
        case .euclid: 2
        }
    }

    init?(sectionCode: UInt32) {
        switch sectionCode {
        case 0: self = .cosine
        case 1: self = .dot
        case 2: self = .euclid
        default: return nil
        }
    }
}

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
    /// - Complexity: That of ``Clusters``; the memory of a byte for each element and the vectors.
    package func build(_ vectors: Span<Float>, into writer: SegmentWriter) throws(SegmentError) -> [UInt32] {
        let count = vectors.count / dimension
        precondition(count > 0 && vectors.count == count * dimension, "\(vectors.count) elements in rows of \(dimension)")
        precondition(count <= Int(UInt32.max) - 64, "\(count) rows")
        var random = SplitMix64(seed: seed)

        let mean = mean(vectors)
        var bytes = ByteVectors(dimension: dimension, capacity: count)
        for row in 0..<count { bytes.append(vectors.extracting(row * dimension..<(row + 1) * dimension), origin: mean.span) }
        // Rows that shape no list, as queries' vectors do not: what recall searches for them have is what others will have.
        let heldOut = random.sample(min(Calibrator.queries, count / 20), below: count)
        let clusters = Clusters(bytes, heldOut: heldOut, parameters: parameters, random: &random)
        var rows = ByteVectors(dimension: dimension, capacity: count)
        for source in clusters.order { rows.append(Int(source), of: bytes) }
        bytes = ByteVectors(dimension: dimension)

        let norms = (0..<count).map { Self.squaredNorm(rows.decoded($0).span) }
        let meanSquare = norms.reduce(0) { $0 + Double($1) } / Double(count)
        let (regionBiases, listBiases) = biases(rows, clusters)
        let subspaces = parameters.subspaceCount(for: dimension)
        let header: [UInt32] = [
            IndexSection.formatVersion, metric.sectionCode, UInt32(dimension), UInt32(count), UInt32(clusters.lists.count), UInt32(clusters.regions.count),
            UInt32(subspaces),
        ]
        try writer.addSection(IndexSection.header, elements: header)
        try writer.addSection(IndexSection.mean, elements: mean)
        try writer.addSection(IndexSection.norm, elements: [Float(meanSquare.squareRoot())])
        try writer.addSection(IndexSection.regions + IndexSection.bytes, clusters.regions.bytes)
        try writer.addSection(IndexSection.regions + IndexSection.scales, elements: clusters.regions.scales)
        try writer.addSection(IndexSection.regions + IndexSection.biases, elements: regionBiases)
        try TierWriter(
            name: IndexSection.lists, children: clusters.lists, biases: listBiases, parents: clusters.regions, parentBiases: regionBiases,
            starts: clusters.regionStarts, describedBias: metric == .dot ? nil : { Self.squaredNorm($0) * Tier.rankingBias }
        ).write(parameters, random: &random, into: writer)
        try TierWriter(
            name: IndexSection.rows, children: rows, biases: metric == .dot ? [Float](repeating: 0, count: count) : norms.map { $0 / 2 },
            parents: clusters.lists, parentBiases: listBiases.map { $0 * Tier.rowBias(metric) }, starts: clusters.listStarts,
            describedBias: metric == .dot ? nil : { Self.squaredNorm($0) / 2 }
        ).write(parameters, random: &random, into: writer)
        try writeVectors(vectors, order: clusters.order, into: writer)
        var calibrator = Calibrator(try SegmentIndex(writer.written()))
        let calibration = calibrator.measure(clusters.rows(of: heldOut))
        try writer.addSection(IndexSection.calibration, elements: calibration?.numbers ?? [])
        return clusters.order
    }

    private func mean(_ vectors: Span<Float>) -> [Float] {
        var sums = [Double](repeating: 0, count: dimension)
        let count = vectors.count / dimension
        for row in 0..<count {
            for element in 0..<dimension { sums[element] += Double(vectors[row * dimension + element]) }
        }
        return sums.map { Float($0 / Double(count)) }
    }

    private static func squaredNorm(_ vector: Span<Float>) -> Float { Kernels.best.dot(vector, vector) }

    /// b of the regions and lists, see ``Tier``.
    private func biases(_ rows: ByteVectors, _ clusters: Clusters) -> (regions: [Float], lists: [Float]) {
        func ranking(_ vectors: ByteVectors) -> [Float] {
            (0..<vectors.count).map { Self.squaredNorm(vectors.decoded($0).span) * Tier.rankingBias }
        }
        guard metric == .dot else { return (ranking(clusters.regions), ranking(clusters.lists)) }
        // Rows of a list scatter along a query by about spread · |query| / √dimension around the centre's product.
        let reach = -Self.reach / Float(dimension).squareRoot()
        let lists = (0..<clusters.lists.count).map { list in
            let centre = clusters.lists.decoded(list)
            let members = Int(clusters.listStarts[list])..<Int(clusters.listStarts[list + 1])
            let sum = members.reduce(0.0) { $0 + Double(Kernels.best.squaredDistance(rows.decoded($1).span, centre.span)) }
            return Float((sum / Double(members.count)).squareRoot()) * reach
        }
        let regions = (0..<clusters.regions.count).map { region in
            let members = lists[Int(clusters.regionStarts[region])..<Int(clusters.regionStarts[region + 1])]
            return members.reduce(0, +) / Float(members.count)
        }
        return (regions, lists)
    }

    /// How far above its mean, in standard deviations, a list's best row is expected along the query.
    private static let reach: Float = 3

    private func writeVectors(_ vectors: Span<Float>, order: [UInt32], into writer: SegmentWriter) throws(SegmentError) {
        try writer.beginSection(IndexSection.vectors)
        for source in order {
            let row = vectors.extracting(Int(source) * dimension..<(Int(source) + 1) * dimension)
            try writer.append(row)
        }
        try writer.endSection()
    }
}

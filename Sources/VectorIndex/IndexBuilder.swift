import Model
import Storage
import VectorMath

/// Turns vectors into the sections of a searchable segment.
///
/// The same vectors, parameters and seed give the same bytes on every machine.
package struct IndexBuilder: Sendable {
    package let dimension: Int
    package let metric: Metric
    package let datatype: VectorDatatype
    package let parameters: IndexParameters
    package let seed: UInt64

    package init(dimension: Int, metric: Metric, datatype: VectorDatatype = .float32, parameters: IndexParameters = IndexParameters(), seed: UInt64 = 0) {
        precondition((1...CollectionSchema.maximumDimension).contains(dimension), "dimension \(dimension)")
        self.dimension = dimension
        self.metric = metric
        self.datatype = datatype
        self.parameters = parameters
        self.seed = seed
    }

    /// Writes the index's sections.
    ///
    /// - Parameters:
    ///   - vectors: `[n, dimension]`, what ``VectorDatatype/stored(_:)`` gave, 1 ≤ n < 2³² − 64; floats are of unit length if the metric is
    ///     cosine. Give them in the order in
    ///     which ties are to be broken: equal vectors keep their order.
    ///   - threads: Threads that work, the caller's included; the bytes do not depend on it.
    ///   - progress: Gets the share that is done, 0…1, rising, every few milliseconds; returns false to stop.
    /// - Returns: Which vector became which row: row i of the segment is vector `order[i]` of the input. The caller stores
    ///   what else belongs to the rows in this order.
    /// - Throws: ``SegmentError/stopped(path:)`` if `progress` stopped it.
    /// - Complexity: That of ``Clusters``. Memory besides the vectors: 9/8 of a byte an element, 32 bytes a row, and for each thread
    ///   pieces of some megabytes.
    package func build(
        _ vectors: VectorSource, into writer: SegmentWriter, threads: Int = 1, progress: @escaping (Double) -> Bool = { _ in true }
    ) throws(SegmentError) -> [UInt32] {
        let count = vectors.count
        precondition(count > 0 && count <= Int(UInt32.max) - 64, "\(count) rows")
        let work = BuildWork(threads: threads, path: writer.path, progress: progress)
        var random = SplitMix64(seed: seed)

        let compared = vectors.compared(as: datatype, under: metric)
        let mean = try mean(compared, work)
        var rows = try rounded(compared, less: mean, work)
        // Rows that shape no list, as queries' vectors do not: what recall searches for them have is what others will have.
        let heldOut = random.sample(Calibrator.queryCount(of: count), below: count)
        let clusters = try Clusters(rows, heldOut: heldOut, parameters: parameters, random: &random, work: work)
        rows.permute(clusters.order)

        let norms = try squaredNorms(rows, work)
        let meanSquare = norms.reduce(0) { $0 + Double($1) } / Double(count)
        let (regionBiases, listBiases) = try biases(rows, clusters, work)
        let subspaces = parameters.subspaceCount(dimension: dimension, count: count)
        let header: [UInt32] = [
            IndexSection.formatVersion, metric.sectionCode, datatype.sectionCode, UInt32(dimension), UInt32(count), UInt32(clusters.lists.count), UInt32(clusters.regions.count),
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
            starts: clusters.regionStarts, describedBias: metric == .dot ? nil : Tier.rankingBias, spills: nil, measured: nil
        ).write(parameters, subspaces: subspaces, random: &random, work: work, until: (BuildShare.listCodebooks, BuildShare.listCodes), into: writer)
        try TierWriter(
            name: IndexSection.rows, children: rows, biases: metric == .dot ? [Float](repeating: 0, count: count) : norms.map { $0 / 2 },
            parents: clusters.lists, parentBiases: listBiases.map { $0 * Tier.rowBias(metric) }, starts: clusters.listStarts,
            describedBias: metric == .dot ? nil : 0.5, spills: clusters.spills, measured: measured(heldOut, clusters)
        ).write(parameters, subspaces: subspaces, random: &random, work: work, until: (BuildShare.rowCodebooks, BuildShare.rowCodes), into: writer)
        try writeVectors(vectors, clusters, mean: mean, work, into: writer)
        let calibration = try Calibrator(SegmentIndex(writer.written())).measure(clusters.rows(of: heldOut), work)
        try writer.addSection(IndexSection.calibration, elements: calibration?.numbers ?? [])
        return clusters.order
    }

    /// Rows that the codes' error is measured on: those that shaped no list, all where there are none.
    private func measured(_ heldOut: [Int], _ clusters: Clusters) -> RowBitmap {
        var measured = RowBitmap(rowCount: clusters.order.count, filled: heldOut.isEmpty)
        for row in clusters.rows(of: heldOut) { measured.insert(row) }
        return measured
    }

    private func mean(_ vectors: VectorSource, _ work: BuildWork) throws(SegmentError) -> [Float] {
        let dimension = dimension
        var sums = [Double](repeating: 0, count: dimension)
        try work.forEach(pieces(vectors.count, elements: 1 << 17), until: BuildShare.mean) { piece in
            var sums = [Double](repeating: 0, count: dimension)
            var buffer = [Float](repeating: 0, count: dimension)
            vectors.forEach(piece, buffer: &buffer) { vector in
                for element in vector.indices { sums[element] += Double(vector[element]) }
            }
            return sums
        } take: { (part: [Double]) in
            for element in part.indices { sums[element] += part[element] }
        }
        return sums.map { Float($0 / Double(vectors.count)) }
    }

    private func rounded(_ vectors: VectorSource, less mean: [Float], _ work: BuildWork) throws(SegmentError) -> ByteVectors {
        let dimension = dimension
        var all = ByteVectors(dimension: dimension, capacity: vectors.count)
        try work.forEach(pieces(vectors.count, elements: 1 << 17), until: BuildShare.bytes) { piece in
            var part = ByteVectors(dimension: dimension, capacity: piece.count)
            var (buffer, difference) = (mean, mean)
            vectors.forEach(piece, buffer: &buffer) { part.append($0, origin: mean.span, difference: &difference) }
            return part
        } take: { all.append(contentsOf: $0) }
        return all
    }

    private func squaredNorms(_ rows: ByteVectors, _ work: BuildWork) throws(SegmentError) -> [Float] {
        try work.joined(pieces(rows.count, elements: 1 << 18), count: rows.count, until: BuildShare.norms) { piece in
            piece.map { Self.squaredNorm(rows.decoded($0).span) }
        }
    }

    /// 0..<`count` in pieces of about so many elements.
    private func pieces(_ count: Int, elements: Int) -> [Range<Int>] { BuildWork.pieces(count, of: elements / dimension) }

    private static func squaredNorm(_ vector: Span<Float>) -> Float { Kernels.best.dot(vector, vector) }

    /// b of the regions and lists, see ``Tier``.
    private func biases(_ rows: ByteVectors, _ clusters: Clusters, _ work: BuildWork) throws(SegmentError) -> (regions: [Float], lists: [Float]) {
        func ranking(_ vectors: ByteVectors) -> [Float] {
            (0..<vectors.count).map { Self.squaredNorm(vectors.decoded($0).span) * Tier.rankingBias }
        }
        guard metric == .dot else { return (ranking(clusters.regions), ranking(clusters.lists)) }
        // Rows of a list scatter along a query by about spread · |query| / √dimension around the centre's product.
        let reach = -Self.reach / Float(dimension).squareRoot()
        let (centres, starts) = (clusters.lists, clusters.listStarts)
        let lists = try work.joined(BuildWork.pieces(centres.count, of: 64), count: centres.count, until: BuildShare.biases) { piece in
            piece.map { list in
                let centre = centres.decoded(list)
                let members = Int(starts[list])..<Int(starts[list + 1])
                let sum = members.reduce(0.0) { $0 + Double(Kernels.best.squaredDistance(rows.decoded($1).span, centre.span)) }
                return Float((sum / Double(members.count)).squareRoot()) * reach
            }
        }
        let regions = (0..<clusters.regions.count).map { region in
            let members = lists[Int(clusters.regionStarts[region])..<Int(clusters.regionStarts[region + 1])]
            return members.reduce(0, +) / Float(members.count)
        }
        return (regions, lists)
    }

    /// How far above its mean, in standard deviations, a list's best row is expected along the query.
    private static let reach: Float = 3

    /// The vectors as they came, and what is bounded of them as they are compared.
    private func writeVectors(_ vectors: VectorSource, _ clusters: Clusters, mean: [Float], _ work: BuildWork, into writer: SegmentWriter) throws(SegmentError) {
        let (dimension, datatype) = (dimension, datatype)
        let (order, lists, starts) = (clusters.order, clusters.lists, clusters.listStarts)
        let needsNorms = datatype.dividesByLength(under: metric)
        var inverseNorms: [Float] = []
        var radii = [Float](repeating: 0, count: lists.count)
        var (shortest, longest) = (Float.infinity, 0 as Float)
        try writer.beginSection(IndexSection.vectors)
        try work.forEach(pieces(order.count, elements: 1 << 15), until: BuildShare.vectors) { piece in
            var (bytes, norms, vector): ([UInt8], [Float], [Float]) = ([], [], [Float](repeating: 0, count: dimension))
            var (radii, lengths): ([(list: Int, radius: Float)], [Float]) = ([], [.infinity, 0])
            var centre = BallCentre(dimension: dimension)
            var list = Clusters.list(of: piece.lowerBound, starts) - 1
            bytes.reserveCapacity(piece.count * dimension * datatype.byteCount)
            for row in piece {
                while radii.isEmpty || row >= Int(starts[list + 1]) {
                    list += 1
                    radii.append((list, 0))
                    centre.set(mean.span, lists.bytes.span.extracting(list * dimension..<(list + 1) * dimension), scale: lists.scales[list])
                }
                var out = vector.mutableSpan
                vectors.copy(Int(order[row]), &out)
                FullVectors.append(vector.span, as: datatype, to: &bytes)
                if needsNorms {
                    norms.append(FullVectors.inverseNorm(of: vector.span))
                    var scaled = vector.mutableSpan
                    FullVectors.scale(&scaled, by: norms[norms.count - 1])
                }
                radii[radii.count - 1].radius = max(radii[radii.count - 1].radius, BallCentre.roundedUp(centre.distance(to: vector.span)))
                let length = BallCentre.length(of: vector.span)
                lengths = [min(lengths[0], BallCentre.roundedDown(length)), max(lengths[1], BallCentre.roundedUp(length))]
            }
            return (bytes, norms, radii, lengths)
        } take: { (part: (bytes: [UInt8], norms: [Float], radii: [(list: Int, radius: Float)], lengths: [Float])) throws(SegmentError) in
            try writer.append(part.bytes)
            inverseNorms += part.norms
            for (list, radius) in part.radii { radii[list] = max(radii[list], radius) }
            (shortest, longest) = (min(shortest, part.lengths[0]), max(longest, part.lengths[1]))
        }
        try writer.endSection()
        if needsNorms { try writer.addSection(IndexSection.inverseNorms, elements: inverseNorms) }
        try writer.addSection(IndexSection.lists + IndexSection.radii, elements: radii)
        try writer.addSection(IndexSection.lengths, elements: [shortest, longest])
    }
}

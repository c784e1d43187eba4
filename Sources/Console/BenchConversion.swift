import Model

/// Brings the floats of a set to what a datatype holds: integers are spread over its range by one factor for the whole set.
struct BenchConversion: Sendable {
    let datatype: VectorDatatype
    private let normalizes: Bool
    private var factor: Float = 1
    private var offset: Float = 0

    /// - Throws: ``BenchFileError``; `invalidArgument` for negative numbers as uint8 where they cannot be shifted without changing the answers.
    init(_ base: BenchVectorFile, metric: Metric, datatype: VectorDatatype) throws {
        self.datatype = datatype
        normalizes = metric == .cosine
        guard datatype.isInteger else { return }
        var (least, greatest): (Float, Float) = (0, 0)
        var vector = [Float](repeating: 0, count: base.dimension)
        for row in 0..<base.count {
            try base.copy(row, to: &vector)
            normalize(&vector)
            for element in vector { (least, greatest) = (min(least, element), max(greatest, element)) }
        }
        if datatype == .uint8 && least < 0 {
            guard metric == .euclid else {
                throw ClusterError(.invalidArgument, "the base has negative numbers, which uint8 does not hold: only distances may be shifted (--metric euclid)")
            }
            offset = 128
        }
        let room = datatype == .uint8 && offset == 0 ? 255 : 127 as Float
        factor = room / max(greatest, -least, .leastNormalMagnitude)
    }

    /// A vector of the base as it is stored.
    func store(_ vector: inout [Float]) throws {
        normalize(&vector)
        if datatype.isInteger { vector = vector.map { ($0 * factor).rounded() + offset } }
        vector = try datatype.stored(vector)
    }

    /// A query, of unit length if the metric is cosine, on the scale of the stored vectors.
    func query(_ vector: [Float]) -> [Float] { normalizes ? vector : vector.map { $0 * factor + offset } }

    private func normalize(_ vector: inout [Float]) {
        if normalizes { BenchVectors.normalize(&vector, vector.indices) }
    }
}

import VectorMath

/// How a segment's index is built. The defaults serve all data; see `covey bench` for what they cost.
package struct IndexParameters: Hashable, Sendable {
    /// Rows of a list on average. Default: 48: the finer the lists, the fewer rows a search has to look at, and the more lists it has to
    /// find. Measured at recall@10 0.95, queries/s with 24, 40, 48, 64 rows: 22,000, 26,100, 25,100, 21,900 on `ann-minilm-384`; 17,400, 21,700,
    /// 25,200, 27,500 on `ann-glove-50`; at 0.99: 9,200, 12,800, 13,000, 11,700; 8,400, 14,200, 14,100, 13,600.
    package var listSize = 48
    /// 4-bit codes per vector, a multiple of 8; `nil` chooses by dimension, see ``automaticSubspaces(dimension:)``.
    package var subspaces: Int?
    /// Passes of k-means over its vectors. Default: 8; more changes recall by less than its spread over seeds.
    package var iterations = 8
    /// Vectors per region of the sample that regions are trained on. Default: 64.
    package var samplePerRegion = 64
    /// Vectors that the quantizer is trained on at most. Default: 16,384, a thousand per centroid.
    package var quantizerSample = 16_384

    package init() {}

    /// Dimensions up to which every element gets 4 bits of its own.
    private static let fineDimension = 64

    /// One 4-bit code per element for short vectors, per two elements for longer ones, so that codes take 1/8 or 1/16 of
    /// the vectors' bytes; a multiple of 8, rounded down.
    package static func automaticSubspaces(dimension: Int) -> Int {
        max(Kernels.groupSubspaces, (dimension <= fineDimension ? dimension : dimension / 2) / Kernels.groupSubspaces * Kernels.groupSubspaces)
    }

    func subspaceCount(for dimension: Int) -> Int {
        let count = subspaces ?? Self.automaticSubspaces(dimension: dimension)
        precondition(count > 0 && count % Kernels.groupSubspaces == 0, "\(count) subspaces")
        return count
    }
}

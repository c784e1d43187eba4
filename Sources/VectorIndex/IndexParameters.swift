import VectorMath

/// How a segment's index is built. The defaults serve all data; see `covey bench` for what they cost.
package struct IndexParameters: Hashable, Sendable {
    /// Coarse lists; `nil` chooses by the number of vectors: its square root, so that choosing lists and scanning
    /// them grow alike.
    package var lists: Int?
    /// 4-bit codes per vector, a multiple of 4; `nil` chooses by dimension, see ``automaticSubspaces(dimension:)``.
    package var subspaces: Int?
    /// Passes of k-means over its sample. Default: 12; more changes recall by less than its spread over seeds.
    package var iterations = 12
    /// Vectors of the sample per coarse list. Default: 128; see `iterations`.
    package var samplePerList = 128
    /// Vectors that the quantizer is trained on at most. Default: 16,384, a thousand per centroid.
    package var quantizerSample = 16_384

    package init() {}

    /// Dimensions up to which every element gets 4 bits of its own.
    private static let fineDimension = 64

    /// One 4-bit code per element for short vectors, per two elements for longer ones, so that codes take 1/8 or 1/16 of
    /// the vectors' bytes; a multiple of 4, rounded down.
    package static func automaticSubspaces(dimension: Int) -> Int {
        max(4, (dimension <= fineDimension ? dimension : dimension / 2) & ~3)
    }

    func listCount(for vectorCount: Int) -> Int {
        min(max(1, lists ?? Int(Double(vectorCount).squareRoot().rounded())), vectorCount)
    }

    func subspaceCount(for dimension: Int) -> Int {
        let count = subspaces ?? Self.automaticSubspaces(dimension: dimension)
        precondition(count > 0 && count % Kernels.groupSubspaces == 0, "\(count) subspaces")
        return count
    }
}

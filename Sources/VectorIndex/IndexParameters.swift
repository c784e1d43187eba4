import VectorMath

/// How a segment's index is built. The defaults serve all data; see `covey bench` for what they cost.
package struct IndexParameters: Hashable, Sendable {
    /// Rows of a list on average; `nil` chooses, see ``automaticListSize(count:)``.
    package var listSize: Int?
    /// 4-bit codes per vector, a multiple of 8; `nil` chooses, see ``automaticSubspaces(dimension:count:)``.
    package var subspaces: Int?
    /// Whether each row is in a second list, too; `nil`: where that pays, see ``Spills``.
    package var spills: Bool?
    /// Passes of k-means over its vectors. Default: 8; more changes recall by less than its spread over seeds.
    package var iterations = 8
    /// Vectors per region of the sample that regions are trained on. Default: 64.
    package var samplePerRegion = 64
    /// Vectors that the quantizer is trained on at most. Default: 16,384, a thousand per centroid.
    package var quantizerSample = 16_384

    package init() {}

    /// 48, and of more than 250,000 rows as many more as the fourth root of their number: the finer the lists, the fewer rows a search has to look at, and the more lists
    /// it has to find.
    ///
    /// Measured at recall@10 0.95, queries/s with 24, 40, 48, 64 rows: 22,000, 26,100, 25,100, 21,900 on `ann-minilm-384`; 17,400, 21,700,
    /// 25,200, 27,500 on `ann-glove-50`; at 0.99: 9,200, 12,800, 13,000, 11,700; 8,400, 14,200, 14,100, 13,600. Of many rows, whose codes come from memory, which likes long spans (2026-11-30), at 0.95, 0.99:
    /// a million with 48, 72: 55,000, 38,000; 67,000, 49,000; three millions with 48, 96, 144: 34,000, 19,900; 35,800, 22,800 (beside the run with 48); 32,500, 18,500 (less than 96 in that run, too); ten millions with 48, 80, 128: 18,300, 9,000; 19,900, 9,300; 20,500, 9,700.
    package static func automaticListSize(count: Int) -> Int {
        Int(48 * max(1, (Double(count) / 250_000).squareRoot().squareRoot()))
    }

    func listSize(count: Int) -> Int { listSize ?? Self.automaticListSize(count: count) }

    /// Dimensions up to which every element gets 4 bits of its own.
    private static let fineDimension = 64
    /// Dimensions from which on codes are made shorter where they do not fit into a cache, and the bytes of codes that do not.
    private static let (coarseDimension, cachedBytes) = (192, 32 << 20)

    /// One 4-bit code per element for short vectors, per two elements for longer ones, so that codes take 1/8 or 1/16 of
    /// the vectors' bytes; a multiple of 8, rounded down.
    ///
    /// Of many long vectors, whose codes come from memory, one per 16/5 elements: three eighths less to fetch. Measured with 64, 72, 80, 96 on the million of `debian-docs-256`
    /// (2026-11-30), queries/s and recall@10 aiming at 0.90, 0.95, 0.99: 31,900, 22,100, 8,800 (0.9901); 31,800, 23,400, 8,400 (0.9901); 33,200, 23,700, 9,500 (0.9900); 33,600, 24,100, 7,900 (0.9914).
    /// With 40, 48, 64 on a million of 128 dimensions: 25,000, 15,500, 5,500; 25,500, 18,800, 5,500; 25,000, 20,000, 6,900 (an earlier scan).
    package static func automaticSubspaces(dimension: Int, count: Int) -> Int {
        func multiple(_ subspaces: Int) -> Int { max(Kernels.groupSubspaces, subspaces / Kernels.groupSubspaces * Kernels.groupSubspaces) }
        if dimension <= fineDimension { return multiple(dimension) }
        let usual = multiple(dimension / 2)
        return dimension < coarseDimension || count * usual / 2 <= cachedBytes ? usual : multiple(dimension * 5 / 16)
    }

    func subspaceCount(dimension: Int, count: Int) -> Int {
        let subspaces = subspaces ?? Self.automaticSubspaces(dimension: dimension, count: count)
        precondition(subspaces > 0 && subspaces % Kernels.groupSubspaces == 0, "\(subspaces) subspaces")
        return subspaces
    }
}

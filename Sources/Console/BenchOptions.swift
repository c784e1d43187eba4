import Model
import VectorIndex

/// What `covey bench` measures.
package struct BenchOptions: Sendable {
    /// Vectors to build the segment from: `.fvecs` or `.f16bin`.
    package var base: String
    /// Vectors to ask with, of the same dimension.
    package var query: String
    /// The queries' exact nearest rows of the base, nearest first: `.ivecs`.
    package var truth: String
    package var metric: Metric
    /// What the base's vectors are stored as. Default: float32.
    package var datatype = VectorDatatype.float32
    /// Hits asked for, and neighbours of the truth that should be among them.
    package var k: Int
    /// Queries asked at most, the first of the file. Default: all.
    package var maximumQueries = Int.max
    /// Decides k-means' starting points.
    package var seed: UInt64
    /// Settings to measure beside the defaults and the exact scan, in order.
    package var sweep: [SearchEffort]
    /// Threads that share the queries of a batch. Default: 1, to compare with other programs.
    package var batchThreads = 1
    /// Threads that build the segment. Default: 1, to compare with other programs.
    package var buildThreads = 1
    /// Whether to measure the scan of all full vectors, which others are told beside, and exact searches.
    package var exact = true
    /// Whether to measure searches under filters, with the first setting of the sweep, instead of the sweep.
    package var filters = false
    /// The instruction set to build and search with: portable, avx2 or avx512. Default: the best that the processor has.
    package var instructions: String?
    /// How the segment is built.
    package var parameters = IndexParameters()

    package init(
        base: String, query: String, truth: String, metric: Metric, k: Int = 10, seed: UInt64 = 0, sweep: [SearchEffort] = BenchOptions.defaultSweep
    ) {
        self.base = base
        self.query = query
        self.truth = truth
        self.metric = metric
        self.k = k
        self.seed = seed
        self.sweep = sweep
    }

    /// Recalls to aim at.
    package static let defaultSweep = [0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997].map { SearchEffort(targetRecall: $0) }
}

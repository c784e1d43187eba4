import Foundation
import Model
import Storage
import VectorIndex
import VectorMath

/// A segment built from vectors, in a folder that goes with the object.
final class BuiltSegment {
    let dimension: Int
    let metric: Metric
    /// Row-major, as stored.
    let vectors: [Float]
    let order: [UInt32]
    let path: String
    let index: SegmentIndex
    let folder: URL

    init(
        _ vectors: [Float], dimension: Int, metric: Metric, datatype: VectorDatatype = .float32, parameters: IndexParameters = IndexParameters()
    ) throws {
        self.dimension = dimension
        self.metric = metric
        self.vectors = vectors
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("covey-built-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appendingPathComponent("segment").path
        let writer = try SegmentWriter(path: path)
        order = try IndexBuilder(dimension: dimension, metric: metric, datatype: datatype, parameters: parameters, seed: 1)
            .build(source(vectors, dimension), into: writer)
        _ = try writer.finish()
        index = try SegmentIndex(SegmentFile(path: path))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    var count: Int { order.count }

    /// The same file, searched by another instruction set; `nil` if the processor lacks it.
    func index(_ level: Kernels.Level) throws -> SegmentIndex? {
        guard let kernels = Kernels(level) else { return nil }
        return try SegmentIndex(SegmentFile(path: path), kernels: kernels)
    }

    /// The score of a row in double precision.
    func truth(_ row: Int, _ query: [Float]) -> Double {
        let start = Int(order[row]) * dimension
        var sum = 0.0
        for element in 0..<dimension {
            let (a, b) = (Double(vectors[start + element]), Double(query[element]))
            sum += metric == .euclid ? (a - b) * (a - b) : a * b
        }
        return metric == .euclid ? sum.squareRoot() : sum
    }

    /// Vectors scattered around centres; of unit length for cosine.
    static func clustered(_ count: Int, dimension: Int, metric: Metric, centres: Int = 20, seed: UInt64) -> [Float] {
        var random = SplitMix64(seed: seed)
        func spread() -> Float { Float.random(in: -1...1, using: &random) + Float.random(in: -1...1, using: &random) }
        let middles = (0..<centres).map { _ in (0..<dimension).map { _ in spread() } }
        var vectors: [Float] = []
        vectors.reserveCapacity(count * dimension)
        for _ in 0..<count {
            let middle = middles[Int(random.next() % UInt64(centres))]
            var vector = middle.map { $0 + 0.4 * spread() }
            if metric == .cosine {
                let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
                vector = vector.map { $0 / norm }
            }
            vectors += vector
        }
        return vectors
    }
}

extension SegmentIndex {
    /// A span cannot be made of an array that an expression yields, so tests pass arrays.
    func hits(
        of query: [Float], limit: Int, effort: SearchEffort = SearchEffort(), exactBelow: Int = 0, admits: RowBitmap? = nil,
        scratch: inout SearchScratch
    ) -> SegmentSearchResult {
        search(query.span, limit: limit, effort: effort, exactBelow: exactBelow, admits: admits, scratch: &scratch)
    }

    func trace(
        _ row: Int, of query: [Float], limit: Int, effort: SearchEffort = SearchEffort(), exactBelow: Int = 0, admits: RowBitmap? = nil,
        scratch: inout SearchScratch, shouldStop: () -> Bool = { false }
    ) -> RowTrace? {
        explain(row, query.span, limit: limit, effort: effort, exactBelow: exactBelow, admits: admits, scratch: &scratch, shouldStop: shouldStop)
    }
}

/// Row-major vectors, as the builder wants them.
func source(_ vectors: [Float], _ dimension: Int) -> VectorSource {
    VectorSource(count: vectors.count / dimension) { row, out in
        for element in 0..<dimension { out[element] = vectors[row * dimension + element] }
    }
}

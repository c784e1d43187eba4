import Model
import Storage
import VectorMath

/// Searches the vectors of one segment, by code or exactly.
///
/// It reads mapped memory: opening costs the checksums of the index's sections and no copy. Any thread may use it; each
/// search at a time needs a ``SearchScratch``.
@safe package final class SegmentIndex: Sendable {
    package let dimension: Int
    package let metric: Metric
    /// Rows of the segment.
    package let count: Int
    package let listCount: Int
    package let subspaces: Int

    /// Root of the mean squared length of the vectors less their mean.
    let norm: Float
    /// What searches that aim at a recall go by; `nil` for a segment too small to measure it.
    let calibration: Calibration?
    /// See ``quantizationError``.
    let squaredError: Float

    /// Keeps the memory mapped that pointers below and in the tiers point into.
    private let file: SegmentFile
    let regions: Regions
    let lists: Tier
    let rows: Tier
    let vectors: FullVectors
    /// `[listCount]`, see ``IndexSection``.
    nonisolated(unsafe) let radii: UnsafeBufferPointer<Float>
    /// Of the shortest and of the longest vector.
    let lengths: (least: Float, greatest: Float)
    let kernels: Kernels
    /// What queries and vectors are compared less: the vectors' mean; nothing for inner products, which it would only shift.
    let origin: [Float]
    let mean: [Float]

    /// Verifies the index's sections and keeps the file.
    ///
    /// - Parameter kernels: The instruction set to use; results do not depend on it.
    /// - Throws: ``SegmentError`` naming file and section.
    package init(_ file: SegmentFile, kernels: Kernels = .best) throws(SegmentError) {
        func malformed(_ reason: String) -> SegmentError {
            .malformedSection(path: file.path, section: IndexSection.header, reason: reason)
        }
        let header = try unsafe Array(file.elements(of: IndexSection.header, as: UInt32.self, count: 8))
        guard header[0] == IndexSection.formatVersion else { throw malformed("version \(header[0]) is not supported") }
        guard let metric = Metric(sectionCode: header[1]) else { throw malformed("unknown metric \(header[1])") }
        guard let datatype = VectorDatatype(sectionCode: header[2]) else { throw malformed("unknown datatype \(header[2])") }
        let (dimension, count, listCount, regionCount, subspaces) = (Int(header[3]), Int(header[4]), Int(header[5]), Int(header[6]), Int(header[7]))
        guard (1...CollectionSchema.maximumDimension).contains(dimension), count > 0, (1...count).contains(listCount),
            (1...listCount).contains(regionCount), subspaces > 0, subspaces % Kernels.groupSubspaces == 0,
            subspaces <= 2 * CollectionSchema.maximumDimension
        else { throw malformed("\(count) rows of \(dimension), \(listCount) lists, \(regionCount) regions, \(subspaces) subspaces") }
        self.dimension = dimension
        self.metric = metric
        self.count = count
        self.listCount = listCount
        self.subspaces = subspaces
        self.file = file
        self.kernels = kernels
        regions = try Regions(file, count: regionCount, dimension: dimension)
        lists = try Tier(IndexSection.lists, of: file, count: listCount, parents: regionCount, dimension: dimension, subspaces: subspaces)
        rows = try Tier(IndexSection.rows, of: file, count: count, parents: listCount, dimension: dimension, subspaces: subspaces)
        norm = try unsafe file.floats(of: IndexSection.norm, count: 1, "a number from 0 on") { $0 >= 0 }[0]
        calibration = try Calibration(file)
        squaredError = try unsafe file.floats(of: IndexSection.rows + IndexSection.error, count: 1, "a number from 0 on") { $0 >= 0 }[0]
        mean = try unsafe Array(file.floats(of: IndexSection.mean, count: dimension, "a finite number") { $0.isFinite })
        origin = metric == .dot ? [Float](repeating: 0, count: dimension) : mean
        unsafe radii = try unsafe file.floats(of: IndexSection.lists + IndexSection.radii, count: listCount, "a number from 0 on") { $0 >= 0 }
        let lengths = try unsafe file.floats(of: IndexSection.lengths, count: 2, "a number from 0 on") { $0 >= 0 }
        self.lengths = unsafe (lengths[0], lengths[1])
        vectors = try FullVectors(file, datatype: datatype, metric: metric, count: count, dimension: dimension, kernels: kernels)
    }

    /// Bytes of the vectors' codes.
    package var codeByteCount: Int { rows.codeByteCount }
    /// Bytes that a search by code needs in memory: everything but the full vectors.
    package var memoryByteCount: Int { regions.memoryByteCount + lists.memoryByteCount + rows.memoryByteCount + 4 * dimension }
    /// Bytes of full vectors, which are read from the mapped file for rescoring.
    package var vectorByteCount: Int { vectors.byteCount }
    /// What the full vectors are stored as.
    package var datatype: VectorDatatype { vectors.datatype }

    /// A row's full vector as it is stored, `[dimension]`.
    package func vector(_ row: Int) -> [Float] {
        var vector = [Float](repeating: 0, count: dimension)
        var out = vector.mutableSpan
        vectors.copy(row, to: &out)
        return vector
    }

    /// Writes a row's full vector as it is stored to `out`, `[dimension]`.
    package func copyVector(_ row: Int, to out: inout MutableSpan<Float>) { vectors.copy(row, to: &out) }

    /// Has all full vectors read into memory, as far as there is room: whoever is about to read them all reads here and there.
    package func fetchVectors() { vectors.fetch(0..<count) }

    /// A row's vector as a query: of unit length if the metric is cosine.
    func query(like row: Int) -> [Float] {
        var query = [Float](repeating: 0, count: dimension)
        var out = query.mutableSpan
        vectors.copy(row, compared: true, to: &out)
        return query
    }

    /// The score of one row, as a search by this query gives it.
    package func score(of row: Int, to query: Span<Float>) -> Float {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        precondition(query.count == dimension, "expected \(dimension) dimensions, found \(query.count)")
        var scores: InlineArray<1, Float> = [0]
        var out = scores.mutableSpan
        vectors.compare(query, row..<row + 1, into: &out)
        return metric == .euclid ? scores[0].squareRoot() : scores[0]
    }
}

/// A row of a segment with its score under the segment's metric.
package struct RowHit: Hashable, Sendable {
    package var row: Int
    package var score: Float

    package init(row: Int, score: Float) {
        self.row = row
        self.score = score
    }
}

/// What a search of one segment found and what it touched.
package struct SegmentSearchResult: Hashable, Sendable {
    /// Best first; equal scores in the order of the search's `precedes`.
    package var hits: [RowHit] = []
    /// Whether codes chose the candidates; otherwise every admitted row was compared, see ``SegmentIndex/searchExactly(_:limit:admits:bytesFrom:scratch:precedes:shouldStop:)``.
    package var byCode = false
    /// Lists that were looked into.
    package var listsScanned = 0
    /// Rows whose codes were compared.
    package var codesScanned = 0
    /// Rows scored with their full vectors.
    package var rescored = 0
    /// Expected share of the true best rows among the hits; `nil` where no calibration says. A search of all rows has 1.
    package var recall: Float?
    /// Whether the caller stopped the search: then `hits` is empty.
    package var stopped = false

    package init() {}
}

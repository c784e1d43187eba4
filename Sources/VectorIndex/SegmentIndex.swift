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

    /// Keeps the memory mapped that the pointers below point into.
    private let file: SegmentFile
    nonisolated(unsafe) private let listPointer: UnsafeBufferPointer<UInt32>
    nonisolated(unsafe) private let centroidPointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let spreadPointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let codebookPointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let codePointer: UnsafeBufferPointer<UInt8>
    nonisolated(unsafe) private let vectorPointer: UnsafeBufferPointer<Float>
    let bounds: [UInt32]
    let kernels: Kernels

    /// Verifies the index's sections and keeps the file.
    ///
    /// - Parameter kernels: The instruction set to use; results do not depend on it.
    /// - Throws: ``SegmentError`` naming file and section.
    package init(_ file: SegmentFile, kernels: Kernels = .best) throws(SegmentError) {
        func malformed(_ section: String, _ reason: String) -> SegmentError {
            .malformedSection(path: file.path, section: section, reason: reason)
        }
        let header = try unsafe Array(file.elements(of: IndexSection.header, as: UInt32.self, count: 6))
        guard header[0] == IndexSection.formatVersion else { throw malformed(IndexSection.header, "version \(header[0]) is not supported") }
        guard let metric = Metric(sectionCode: header[1]) else { throw malformed(IndexSection.header, "unknown metric \(header[1])") }
        let (dimension, count, listCount, subspaces) = (Int(header[2]), Int(header[3]), Int(header[4]), Int(header[5]))
        guard (1...CollectionSchema.maximumDimension).contains(dimension), count > 0, (1...count).contains(listCount),
            subspaces > 0, subspaces % Kernels.groupSubspaces == 0, subspaces <= 2 * CollectionSchema.maximumDimension
        else { throw malformed(IndexSection.header, "\(count) rows of \(dimension), \(listCount) lists, \(subspaces) subspaces") }
        self.dimension = dimension
        self.metric = metric
        self.count = count
        self.listCount = listCount
        self.subspaces = subspaces
        self.file = file
        self.kernels = kernels
        bounds = ProductQuantizer.bounds(dimension: dimension, subspaces: subspaces)

        let lists = try unsafe file.elements(of: IndexSection.lists, as: UInt32.self, count: listCount + 1)
        let isAscending = (0..<listCount).allSatisfy { unsafe lists[$0] <= lists[$0 + 1] }
        guard isAscending, unsafe lists[0] == 0, unsafe lists[listCount] == UInt32(count) else {
            throw malformed(IndexSection.lists, "lists do not divide \(count) rows")
        }
        unsafe listPointer = unsafe lists
        let blockCount = (count + Kernels.blockRows - 1) / Kernels.blockRows
        unsafe centroidPointer = try unsafe file.elements(of: IndexSection.centroids, as: Float.self, count: listCount * dimension)
        unsafe spreadPointer = try unsafe file.elements(of: IndexSection.spreads, as: Float.self, count: listCount)
        unsafe codebookPointer = try unsafe file.elements(of: IndexSection.codebooks, as: Float.self, count: dimension * 16)
        unsafe codePointer = try unsafe file.elements(of: IndexSection.codes, as: UInt8.self, count: blockCount * subspaces * 16)
        unsafe vectorPointer = try unsafe file.elements(of: IndexSection.vectors, as: Float.self, count: count * dimension)
    }

    /// Bytes of codes.
    package var codeByteCount: Int { unsafe codePointer.count }
    /// Bytes that a search by code needs in memory: codes, coarse lists, codebooks.
    package var memoryByteCount: Int {
        unsafe codePointer.count + 4 * (centroidPointer.count + codebookPointer.count + listPointer.count + spreadPointer.count)
    }
    /// Bytes of full vectors, which are read from the mapped file for rescoring.
    package var vectorByteCount: Int { unsafe 4 * vectorPointer.count }

    /// A row's full vector, `[dimension]`.
    package func vector(_ row: Int) -> [Float] {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        return unsafe Array(vectorPointer[row * dimension..<(row + 1) * dimension])
    }

    /// The score of one row, as a search by this query gives it.
    package func score(of row: Int, to query: Span<Float>) -> Float {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        precondition(query.count == dimension, "expected \(dimension) dimensions, found \(query.count)")
        let vector = vectors.extracting(row * dimension..<(row + 1) * dimension)
        return metric == .euclid ? kernels.squaredDistance(query, vector).squareRoot() : kernels.dot(query, vector)
    }

    var centroids: Span<Float> { @_lifetime(borrow self) get { unsafe span(over: centroidPointer) } }
    /// `[lists]`: root of the mean squared distance of a list's rows to its mean.
    var spreads: Span<Float> { @_lifetime(borrow self) get { unsafe span(over: spreadPointer) } }
    var codebooks: Span<Float> { @_lifetime(borrow self) get { unsafe span(over: codebookPointer) } }
    var codes: Span<UInt8> { @_lifetime(borrow self) get { unsafe span(over: codePointer) } }
    var vectors: Span<Float> { @_lifetime(borrow self) get { unsafe span(over: vectorPointer) } }

    /// The rows of a coarse list.
    func rows(ofList list: Int) -> Range<Int> { unsafe Int(listPointer[list])..<Int(listPointer[list + 1]) }

    @_lifetime(borrow self)
    private func span<Element>(over elements: UnsafeBufferPointer<Element>) -> Span<Element> {
        let span = unsafe Span(_unsafeElements: elements)
        return unsafe _overrideLifetime(span, borrowing: self)
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
    /// Whether codes chose the candidates; otherwise every admitted row was scored with its full vector.
    package var byCode = false
    /// Rows whose codes were compared.
    package var codesScanned = 0
    /// Rows scored with their full vectors.
    package var rescored = 0
    /// Whether the caller stopped the search: then `hits` is empty.
    package var stopped = false

    package init() {}
}

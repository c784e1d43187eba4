import Foundation
import Model
import Storage
import VectorMath

/// A segment's vectors as they are stored, in mapped memory: what hits are scored with.
///
/// Integers under the metric cosine are not of unit length: a score is their product with the query times the inverse of their length.
@safe package struct FullVectors: Sendable {
    let datatype: VectorDatatype
    private let metric: Metric
    private let dimension: Int
    private let count: Int
    private let kernels: Kernels
    private let isReadHereAndThere: Bool
    nonisolated(unsafe) private let elements: UnsafeRawBufferPointer
    /// `[count]`; `nil` where scores are not divided.
    nonisolated(unsafe) private let inverseNorms: UnsafeBufferPointer<Float>?

    /// The pointers stay valid as long as the caller keeps `file`.
    init(_ file: SegmentFile, datatype: VectorDatatype, metric: Metric, count: Int, dimension: Int, kernels: Kernels) throws(SegmentError) {
        self.datatype = datatype
        self.metric = metric
        self.count = count
        self.dimension = dimension
        self.kernels = kernels
        switch datatype {
        case .float32: unsafe elements = UnsafeRawBufferPointer(try unsafe file.elements(of: IndexSection.vectors, as: Float.self, count: count * dimension))
        case .float16: unsafe elements = UnsafeRawBufferPointer(try unsafe file.elements(of: IndexSection.vectors, as: UInt16.self, count: count * dimension))
        case .uint8, .int8: unsafe elements = UnsafeRawBufferPointer(try unsafe file.elements(of: IndexSection.vectors, as: UInt8.self, count: count * dimension))
        }
        isReadHereAndThere = unsafe elements.count >= Self.leastAdvised
        unsafe inverseNorms = datatype.dividesByLength(under: metric)
            ? try unsafe file.floats(of: IndexSection.inverseNorms, count: count, "a finite number from 0 on") { $0 >= 0 && $0.isFinite } : nil
        if isReadHereAndThere { advise(0..<count, MADV_RANDOM) }
    }

    /// Bytes of vectors from which rows are said to be read here and there: then a page that is not in memory is read alone, not with the 128 KiB
    /// around it, which where memory is short would take the place of pages that are needed. Fewer had better be read together.
    private static let leastAdvised = 64 << 20

    /// Has rows that are about to be read one after the other read ahead. Costs some microseconds a MiB if they are in memory.
    func fetch(_ rows: Range<Int>) {
        if isReadHereAndThere { advise(rows, MADV_WILLNEED) }
    }

    private func advise(_ rows: Range<Int>, _ advice: Int32) {
        let width = dimension * datatype.byteCount
        let pageSize = sysconf(Int32(_SC_PAGESIZE))
        guard rows.count > 0, let start = unsafe elements.baseAddress else { return }
        let begin = unsafe start + rows.lowerBound * width
        let lead = unsafe Int(bitPattern: begin) % pageSize
        // A hint: nothing is wrong if it is not taken.
        unsafe _ = madvise(UnsafeMutableRawPointer(mutating: begin - lead), rows.count * width + lead, advice)
    }

    var byteCount: Int { unsafe elements.count + 4 * (inverseNorms?.count ?? 0) }

    /// Writes a row's vector to `out`, `[dimension]`.
    ///
    /// - Parameter compared: As it is compared: of unit length if the metric is cosine. Otherwise as it is stored.
    func copy(_ row: Int, compared: Bool = false, to out: inout MutableSpan<Float>) {
        precondition(row >= 0 && row < count && out.count == dimension, "row \(row) of \(count), room for \(out.count) of \(dimension)")
        kernels.decode(span(row..<row + 1), of: datatype, into: &out)
        guard compared, let inverseNorms = unsafe inverseNorms else { return }
        Self.scale(&out, by: unsafe inverseNorms[row])
    }

    /// What a kernel says of rows that follow each other: inner products, or, under the metric euclid, squared distances.
    func compare(_ query: Span<Float>, _ rows: Range<Int>, into out: inout MutableSpan<Float>) {
        kernels.compare(comparison, query, rows: span(rows), of: datatype, into: &out)
        guard let inverseNorms = unsafe inverseNorms else { return }
        for row in rows { out[row - rows.lowerBound] *= unsafe inverseNorms[row] }
    }

    /// The same of some rows.
    func compare(_ query: Span<Float>, at rows: Span<UInt32>, into out: inout MutableSpan<Float>) {
        kernels.compare(comparison, query, rows: span(0..<count), of: datatype, at: rows, into: &out)
        guard let inverseNorms = unsafe inverseNorms else { return }
        for place in rows.indices { out[place] *= unsafe inverseNorms[Int(rows[place])] }
    }

    private var comparison: Kernels.Comparison { metric == .euclid ? .squaredDistance : .dot }

    @_lifetime(borrow self)
    private func span(_ rows: Range<Int>) -> RawSpan {
        let width = dimension * datatype.byteCount
        let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: elements[rows.lowerBound * width..<rows.upperBound * width]))
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    // MARK: - Writing

    /// The inverse of a vector's length, 0 for zeros.
    package static func inverseNorm(of vector: Span<Float>) -> Float {
        var squares = 0.0
        for element in vector.indices { squares += Double(vector[element]) * Double(vector[element]) }
        return squares > 0 ? Float(1 / squares.squareRoot()) : 0
    }

    static func scale(_ vector: inout MutableSpan<Float>, by factor: Float) {
        for element in vector.indices { vector[element] *= factor }
    }

    /// Appends a vector's elements, little-endian.
    ///
    /// - Parameter vector: What ``VectorDatatype/stored(_:)`` gave.
    static func append(_ vector: Span<Float>, as datatype: VectorDatatype, to bytes: inout [UInt8]) {
        switch datatype {
        case .float32: unsafe vector.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
        case .float16:
            for element in vector.indices {
                let bits = Float16(vector[element]).bitPattern
                bytes.append(UInt8(truncatingIfNeeded: bits))
                bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
            }
        case .uint8:
            for element in vector.indices { bytes.append(UInt8(vector[element])) }
        case .int8:
            for element in vector.indices { bytes.append(UInt8(bitPattern: Int8(vector[element]))) }
        }
    }
}

extension VectorSource {
    /// Stored vectors as they are compared: integers under the metric cosine are brought to unit length.
    func compared(as datatype: VectorDatatype, under metric: Metric) -> VectorSource {
        guard datatype.dividesByLength(under: metric) else { return self }
        return VectorSource(count: count) { row, out in
            copy(row, &out)
            let factor = FullVectors.inverseNorm(of: out.span)
            FullVectors.scale(&out, by: factor)
        }
    }
}

import CVectorKernels
import Model

/// Comparisons with rows of vectors as they are stored.
extension Kernels {
    package enum Comparison: Sendable {
        case dot, squaredDistance
    }

    /// Compares the query with rows that follow each other.
    ///
    /// An element counts as the float that it stands for, so the same numbers have the same scores whatever they are stored as.
    ///
    /// - Parameters:
    ///   - rows: `[n, query.count]` elements.
    ///   - out: Room for n scores or more.
    package func compare(
        _ comparison: Comparison, _ query: Span<Float>, rows: RawSpan, of datatype: VectorDatatype, into out: inout MutableSpan<Float>
    ) {
        let count = rowCount(rows, query.count, datatype)
        precondition(count <= out.count, "\(count) rows, room for \(out.count)")
        let functions = unsafe functions(datatype)
        unsafe query.withUnsafeBufferPointer { query in
            unsafe rows.withUnsafeBytes { rows in
                unsafe out.withUnsafeMutableBufferPointer { out in
                    switch comparison {
                    case .dot: unsafe functions.dot(query.baseAddress, rows.baseAddress, count, query.count, out.baseAddress)
                    case .squaredDistance: unsafe functions.squared_distance(query.baseAddress, rows.baseAddress, count, query.count, out.baseAddress)
                    }
                }
            }
        }
    }

    /// Compares the query with the rows that `indices` names, wherever they lie in `rows` (`[any, query.count]`); fetches ahead.
    ///
    /// - Precondition: every index is below the number of rows; this is checked.
    package func compare(
        _ comparison: Comparison, _ query: Span<Float>, rows: RawSpan, of datatype: VectorDatatype, at indices: Span<UInt32>,
        into out: inout MutableSpan<Float>
    ) {
        let rowCount = rowCount(rows, query.count, datatype)
        precondition(indices.count <= out.count, "\(indices.count) rows asked, room for \(out.count)")
        for position in indices.indices { precondition(Int(indices[position]) < rowCount, "row \(indices[position]) of \(rowCount)") }
        let functions = unsafe functions(datatype)
        unsafe query.withUnsafeBufferPointer { query in
            unsafe rows.withUnsafeBytes { rows in
                unsafe indices.withUnsafeBufferPointer { indices in
                    unsafe out.withUnsafeMutableBufferPointer { out in
                        switch comparison {
                        case .dot:
                            unsafe functions.dot_gather(
                                query.baseAddress, rows.baseAddress, indices.baseAddress, indices.count, query.count, out.baseAddress)
                        case .squaredDistance:
                            unsafe functions.squared_distance_gather(
                                query.baseAddress, rows.baseAddress, indices.baseAddress, indices.count, query.count, out.baseAddress)
                        }
                    }
                }
            }
        }
    }

    /// Writes the floats that elements stand for.
    package func decode(_ elements: RawSpan, of datatype: VectorDatatype, into out: inout MutableSpan<Float>) {
        let count = out.count
        precondition(elements.byteCount == count * datatype.byteCount, "\(elements.byteCount) bytes for \(count) elements")
        unsafe elements.withUnsafeBytes { elements in
            unsafe out.withUnsafeMutableBufferPointer { unsafe functions(datatype).decode(elements.baseAddress, count, $0.baseAddress) }
        }
    }

    private func functions(_ datatype: VectorDatatype) -> vk_rows {
        switch datatype {
        case .float32: unsafe table.pointee.floats
        case .float16: unsafe table.pointee.halves
        case .uint8: unsafe table.pointee.uint8s
        case .int8: unsafe table.pointee.int8s
        }
    }

    private func rowCount(_ rows: RawSpan, _ dimension: Int, _ datatype: VectorDatatype) -> Int {
        let width = dimension * datatype.byteCount
        let count = width > 0 ? rows.byteCount / width : 0
        precondition(rows.byteCount == count * width, "\(rows.byteCount) bytes in rows of \(width)")
        return count
    }
}

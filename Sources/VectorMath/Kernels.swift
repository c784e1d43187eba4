import CVectorKernels

/// The numeric kernels of one instruction set.
///
/// All instruction sets return the same bits, so results do not depend on the machine; see `CVectorKernels.h`. Lengths are
/// compared here, once, so that the kernels need not.
@safe package struct Kernels: Sendable {
    package enum Level: UInt32, Sendable, CaseIterable {
        case portable, avx2, avx512
    }

    nonisolated(unsafe) let table: UnsafePointer<vk_kernels>

    /// The fastest that this processor runs.
    package static let best = unsafe Kernels(table: vk_kernels_best())

    /// - Returns: `nil` if this processor lacks the instruction set.
    package init?(_ level: Level) {
        guard let table = unsafe vk_kernels_at(vk_level(rawValue: level.rawValue)) else { return nil }
        unsafe self.table = unsafe table
    }

    private init(table: UnsafePointer<vk_kernels>) { unsafe self.table = unsafe table }

    /// Inner product.
    package func dot(_ a: Span<Float>, _ b: Span<Float>) -> Float {
        precondition(a.count == b.count, "vectors of \(a.count) and \(b.count) elements")
        return unsafe a.withUnsafeBufferPointer { a in
            unsafe b.withUnsafeBufferPointer { b in unsafe table.pointee.dot(a.baseAddress, b.baseAddress, a.count) }
        }
    }

    /// Squared Euclidean distance.
    package func squaredDistance(_ a: Span<Float>, _ b: Span<Float>) -> Float {
        precondition(a.count == b.count, "vectors of \(a.count) and \(b.count) elements")
        return unsafe a.withUnsafeBufferPointer { a in
            unsafe b.withUnsafeBufferPointer { b in unsafe table.pointee.squared_distance(a.baseAddress, b.baseAddress, a.count) }
        }
    }

    /// Compares the query with rows that follow each other, `[n, query.count]`; `out` has room for n scores or more.
    package func dot(_ query: Span<Float>, rows: Span<Float>, into out: inout MutableSpan<Float>) {
        let count = rowCount(rows, query.count, room: out.count)
        unsafe query.withUnsafeBufferPointer { query in
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe out.withUnsafeMutableBufferPointer { out in
                    unsafe table.pointee.dot_rows(query.baseAddress, rows.baseAddress, count, query.count, out.baseAddress)
                }
            }
        }
    }

    package func squaredDistance(_ query: Span<Float>, rows: Span<Float>, into out: inout MutableSpan<Float>) {
        let count = rowCount(rows, query.count, room: out.count)
        unsafe query.withUnsafeBufferPointer { query in
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe out.withUnsafeMutableBufferPointer { out in
                    unsafe table.pointee.squared_distance_rows(query.baseAddress, rows.baseAddress, count, query.count, out.baseAddress)
                }
            }
        }
    }

    /// Compares the query with the rows that `indices` names, wherever they lie in `rows` (`[any, query.count]`); fetches ahead.
    ///
    /// - Precondition: every index is below the number of rows; this is checked.
    package func dot(_ query: Span<Float>, rows: Span<Float>, at indices: Span<UInt32>, into out: inout MutableSpan<Float>) {
        checkGather(query.count, rows.count, indices, out.count)
        unsafe query.withUnsafeBufferPointer { query in
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe indices.withUnsafeBufferPointer { indices in
                    unsafe out.withUnsafeMutableBufferPointer { out in
                        unsafe table.pointee.dot_gather(
                            query.baseAddress, rows.baseAddress, indices.baseAddress, indices.count, query.count, out.baseAddress)
                    }
                }
            }
        }
    }

    package func squaredDistance(_ query: Span<Float>, rows: Span<Float>, at indices: Span<UInt32>, into out: inout MutableSpan<Float>) {
        checkGather(query.count, rows.count, indices, out.count)
        unsafe query.withUnsafeBufferPointer { query in
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe indices.withUnsafeBufferPointer { indices in
                    unsafe out.withUnsafeMutableBufferPointer { out in
                        unsafe table.pointee.squared_distance_gather(
                            query.baseAddress, rows.baseAddress, indices.baseAddress, indices.count, query.count, out.baseAddress)
                    }
                }
            }
        }
    }

    private func rowCount(_ rows: Span<Float>, _ dimension: Int, room: Int) -> Int {
        let count = dimension > 0 ? rows.count / dimension : 0
        precondition(rows.count == count * dimension && count <= room, "\(rows.count) elements in rows of \(dimension), room for \(room)")
        return count
    }

    func checkGather(_ dimension: Int, _ elementCount: Int, _ indices: Span<UInt32>, _ outCount: Int) {
        precondition(indices.count <= outCount, "\(indices.count) rows asked, room for \(outCount)")
        precondition(dimension > 0 && elementCount % dimension == 0, "\(elementCount) elements in rows of \(dimension)")
        let rowCount = elementCount / dimension
        for position in indices.indices { precondition(Int(indices[position]) < rowCount, "row \(indices[position]) of \(rowCount)") }
    }

    /// Moves the `keep` largest of the first `count` keys to the front, in no order. O(`count`).
    package func keepLargest(_ keep: Int, ofFirst count: Int, in keys: inout MutableSpan<UInt64>) {
        precondition(keep <= count && count <= keys.count, "\(keep) of \(count) of \(keys.count) keys")
        unsafe keys.withUnsafeMutableBufferPointer { unsafe table.pointee.keep_largest($0.baseAddress, count, keep) }
    }
}

import CVectorKernels

/// The numeric kernels of one instruction set.
///
/// All instruction sets return the same bits, so results do not depend on the machine; see `CVectorKernels.h`. Lengths are
/// compared here, once, so that the kernels need not.
@safe package struct Kernels: Sendable {
    package enum Level: UInt32, Sendable, CaseIterable {
        case portable, avx2, avx512
    }

    nonisolated(unsafe) private let table: UnsafePointer<vk_kernels>

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

    private func checkGather(_ dimension: Int, _ elementCount: Int, _ indices: Span<UInt32>, _ outCount: Int) {
        precondition(indices.count <= outCount, "\(indices.count) rows asked, room for \(outCount)")
        precondition(dimension > 0 && elementCount % dimension == 0, "\(elementCount) elements in rows of \(dimension)")
        let rowCount = elementCount / dimension
        for position in indices.indices { precondition(Int(indices[position]) < rowCount, "row \(indices[position]) of \(rowCount)") }
    }

    /// Where `a[i] − b[i]` is largest, the first of equals; 0 if every difference is NaN.
    package func indexOfLargestDifference(_ a: Span<Float>, _ b: Span<Float>) -> Int {
        precondition(a.count == b.count, "\(a.count) and \(b.count) elements")
        return unsafe a.withUnsafeBufferPointer { a in
            unsafe b.withUnsafeBufferPointer { b in unsafe table.pointee.largest_difference(a.baseAddress, b.baseAddress, a.count) }
        }
    }

    /// What a part of a query is compared with centroids by.
    package enum Similarity: Sendable {
        case dot, negatedDistance
    }

    /// Fills a table with the similarity of each part of a query to the 16 centroids of its subspace, in bytes.
    ///
    /// A row of 16 bytes a subspace: byte c is (similarity − lowest of the row) / step. The step is the same for all rows,
    /// the smallest with which no byte exceeds 255 and no sum over the subspaces 65535.
    ///
    /// - Parameters:
    ///   - query: `[dimension]`.
    ///   - centroids: `[dimension, 16]`: row i holds element i of the 16 centroids of its subspace.
    ///   - bounds: `[subspaces + 1]`, ascending from 0 to `dimension`: where subspaces begin and end.
    ///   - floats: Scratch, `[subspaces · 18]`.
    ///   - bytes: Output, `[subspaces · 16]`.
    /// - Returns: What a sum of bytes means: similarity ≈ `base` + `step` · sum.
    package func fillTables(
        _ similarity: Similarity, query: Span<Float>, centroids: Span<Float>, bounds: Span<UInt32>, floats: inout MutableSpan<Float>,
        bytes: inout MutableSpan<UInt8>
    ) -> (base: Float, step: Float) {
        let subspaces = bounds.count - 1
        precondition(subspaces > 0 && Int(bounds[subspaces]) == query.count, "\(subspaces) subspaces of \(query.count) elements")
        precondition(centroids.count == query.count * 16, "\(centroids.count) elements of centroids")
        precondition(floats.count >= subspaces * 18 && bytes.count >= subspaces * 16, "tables of \(floats.count) and \(bytes.count)")
        return unsafe floats.withUnsafeMutableBufferPointer { floats in
            let lowest = unsafe floats.baseAddress! + subspaces * 16
            let highest = unsafe lowest + subspaces
            unsafe query.withUnsafeBufferPointer { query in
                unsafe centroids.withUnsafeBufferPointer { centroids in
                    unsafe bounds.withUnsafeBufferPointer { bounds in
                        let fill = unsafe similarity == .dot ? table.pointee.dot_tables : table.pointee.negated_distance_tables
                        unsafe fill!(query.baseAddress, centroids.baseAddress, bounds.baseAddress, subspaces, floats.baseAddress, lowest, highest)
                    }
                }
            }
            var base: Float = 0
            var widest: Float = 0
            var total: Float = 0
            for subspace in 0..<subspaces {
                let range = unsafe highest[subspace] - lowest[subspace]
                unsafe base += lowest[subspace]
                widest = max(widest, range)
                total += range
            }
            // Rounding adds up to half a unit a subspace, hence the allowance in the second bound.
            var step = max(widest / 255, total / Float(65_535 - subspaces))
            if !(step > 0 && step.isFinite) { step = 1 }
            unsafe bytes.withUnsafeMutableBufferPointer {
                unsafe table.pointee.quantize_tables(floats.baseAddress, lowest, subspaces, 1 / step, $0.baseAddress)
            }
            return (base, step)
        }
    }

    /// The nearest centroid of each part of `vector`, the first of equals.
    ///
    /// - Parameters:
    ///   - centroids: `[dimension, 16]`, `bounds`: `[subspaces + 1]`, as for ``fillTables(_:query:centroids:bounds:floats:bytes:)``.
    ///   - codes: Output, `[subspaces]`, each 0…15.
    package func encode(_ vector: Span<Float>, centroids: Span<Float>, bounds: Span<UInt32>, into codes: inout MutableSpan<UInt8>) {
        precondition(Int(bounds[bounds.count - 1]) == vector.count && centroids.count == vector.count * 16, "\(vector.count) elements")
        precondition(codes.count == bounds.count - 1, "room for \(codes.count) codes of \(bounds.count - 1)")
        unsafe vector.withUnsafeBufferPointer { vector in
            unsafe centroids.withUnsafeBufferPointer { centroids in
                unsafe bounds.withUnsafeBufferPointer { bounds in
                    unsafe codes.withUnsafeMutableBufferPointer { codes in
                        unsafe table.pointee.encode(
                            vector.baseAddress, centroids.baseAddress, bounds.baseAddress, codes.count, codes.baseAddress)
                    }
                }
            }
        }
    }

    /// Rows of a block of codes.
    package static let blockRows = 32
    /// Subspaces whose codes share 64 bytes.
    package static let groupSubspaces = 4

    /// Adds up the table entries of 4-bit codes and reports the rows whose sum is above `floor`, ascending.
    ///
    /// - Parameters:
    ///   - codes: Blocks of 32 rows, `[blocks, groups, 64]`; byte 16·s + j of a group holds subspace s of row j in its low
    ///     nibble and of row j + 16 in its high nibble.
    ///   - tables: `[groups · 4, 16]`; the entries of a row add up to at most 65535.
    ///   - admitted: One word a block, bit j for row j; empty admits all rows.
    ///   - floor: Sums up to it are left out; −1 leaves none out.
    ///   - rows: Output, room for every row; counted from the first block's first row.
    ///   - sums: Output, as `rows`.
    /// - Returns: How many rows are reported.
    package func scan(
        codes: Span<UInt8>, tables: Span<UInt8>, admitted: Span<UInt32>, floor: Int32, rows: inout MutableSpan<UInt32>, sums: inout MutableSpan<UInt16>
    ) -> Int {
        let groups = tables.count / 64
        precondition(tables.count == groups * 64 && groups > 0, "tables of \(tables.count) bytes")
        let blockCount = codes.count / (groups * 64)
        precondition(codes.count == blockCount * groups * 64, "\(codes.count) bytes of codes in \(groups) groups")
        precondition(admitted.isEmpty || admitted.count == blockCount, "\(admitted.count) words for \(blockCount) blocks")
        precondition(rows.count >= blockCount * 32 && sums.count >= blockCount * 32, "room for \(rows.count) rows of \(blockCount) blocks")
        return unsafe codes.withUnsafeBufferPointer { codes in
            unsafe tables.withUnsafeBufferPointer { tables in
                unsafe admitted.withUnsafeBufferPointer { admitted in
                    unsafe rows.withUnsafeMutableBufferPointer { rows in
                        unsafe sums.withUnsafeMutableBufferPointer { sums in
                            unsafe table.pointee.scan(
                                codes.baseAddress, groups, tables.baseAddress, blockCount, admitted.isEmpty ? nil : admitted.baseAddress, floor,
                                rows.baseAddress, sums.baseAddress)
                        }
                    }
                }
            }
        }
    }

    /// Moves the `keep` largest of the first `count` keys to the front, in no order. O(`count`).
    package static func keepLargest(_ keep: Int, ofFirst count: Int, in keys: inout MutableSpan<UInt64>) {
        precondition(keep <= count && count <= keys.count, "\(keep) of \(count) of \(keys.count) keys")
        unsafe keys.withUnsafeMutableBufferPointer { unsafe vk_keep_largest($0.baseAddress, count, keep) }
    }
}

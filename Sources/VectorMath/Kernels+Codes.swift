import CVectorKernels

/// Vectors described by 4-bit codes: one of 16 centroids for each subspace.
extension Kernels {
    /// Fills a table with the inner product of each part of a query and the 16 centroids of its subspace, in bytes.
    ///
    /// A row of 16 bytes a subspace: byte c is (product − lowest of the row) / step. The step is the same for all rows, the
    /// smallest from `leastStep` on with which no byte exceeds 255.
    ///
    /// - Parameters:
    ///   - query: `[dimension]`.
    ///   - centroids: `[dimension, 16]`: row i holds element i of the 16 centroids of its subspace.
    ///   - bounds: `[subspaces + 1]`, ascending from 0 to `dimension`: where subspaces begin and end.
    ///   - floats: Scratch, `[subspaces · 18]`.
    ///   - bytes: Output, `[subspaces · 16]`.
    /// - Returns: What a sum of bytes means: product ≈ `base` + `step` · sum; `step` is above 0 and finite.
    /// - Complexity: O(16 · `dimension`), no allocation.
    package func fillTables(
        query: Span<Float>, centroids: Span<Float>, bounds: Span<UInt32>, leastStep: Float = 0, floats: inout MutableSpan<Float>,
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
                        unsafe table.pointee.dot_tables(
                            query.baseAddress, centroids.baseAddress, bounds.baseAddress, subspaces, floats.baseAddress, lowest, highest)
                    }
                }
            }
            var (base, widest): (Float, Float) = (0, 0)
            unsafe vk_table_range(lowest, highest, subspaces, &base, &widest)
            var step = max(widest / 255, leastStep)
            if !(step > .leastNormalMagnitude && step.isFinite) { step = 1 }
            unsafe bytes.withUnsafeMutableBufferPointer {
                unsafe table.pointee.quantize_tables(floats.baseAddress, lowest, subspaces, 1 / step, $0.baseAddress)
            }
            return (base, step)
        }
    }

    /// The nearest centroid of each part of `vector`, the first of equals.
    ///
    /// - Parameters:
    ///   - centroids: `[dimension, 16]`, `bounds`: `[subspaces + 1]`, as for ``fillTables(query:centroids:bounds:leastStep:floats:bytes:)``.
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

    /// Rows of a block of codes at most.
    package static let blockRows = Int(VK_BLOCK)
    /// Subspaces whose codes share 64 bytes.
    package static let groupSubspaces = Int(VK_GROUP)
    /// What `biasWeight` counts in: this many add one to a score for each unit of a bias.
    package static let biasUnit: Float = 4_096

    /// Scores the rows of spans by their codes and reports those above `floor` as ``RankKey``, in the spans' order.
    ///
    /// A row's score is its span's base, plus the sum of its codes' table entries, less bias · `biasWeight` / 4096 (rounded down).
    ///
    /// - Parameters:
    ///   - codes: 4 · groups bytes a place, in blocks: every 16 rows of a span from its first on, and what is left. A block of w rows is `[groups, 4 · w]`:
    ///     byte 4·j + t of group g holds subspace 8·g + t of its row j in the low nibble and subspace 8·g + 4 + t in the high nibble.
    ///   - biases: One a place.
    ///   - tables: `[groups · 8, 16]`.
    ///   - spans: Rows as they were laid out, or whole blocks of those; empty ones too.
    ///   - admitted: Bit i of word w admits row 64·w + i; rows beyond are admitted. A span is of the former or of the latter.
    ///   - floor: Scores up to it are left out.
    ///   - keys: Output, with room for all rows of the spans and 15 more.
    /// - Returns: How many rows are reported.
    package func scan(
        codes: Span<UInt8>, biases: Span<UInt8>, biasWeight: Int32, tables: Span<UInt8>, spans: Span<RowSpan>, admitted: Span<UInt64>, floor: Int32,
        keys: inout MutableSpan<UInt64>
    ) -> Int {
        let groups = tables.count / (Self.groupSubspaces * 16)
        precondition(groups > 0 && tables.count == groups * Self.groupSubspaces * 16, "tables of \(tables.count) bytes")
        let places = codes.count / (groups * 4)
        precondition(codes.count == places * groups * 4, "\(codes.count) bytes of codes in \(groups) groups")
        precondition(biases.count >= places, "\(biases.count) biases for \(places) places")
        let admittedRows = admitted.count * 64
        var spanRows = 0
        for index in spans.indices {
            let span = spans[index]
            precondition(span.begin <= span.end && Int(span.place) + Int(span.end - span.begin) <= places, "rows \(span.begin)..<\(span.end) at \(span.place) of \(places)")
            precondition(Int(span.begin) >= admittedRows || Int(span.end) <= admittedRows, "rows \(span.begin)..<\(span.end), admitted of \(admittedRows)")
            spanRows += Int(span.end - span.begin)
        }
        precondition(keys.count >= spanRows + 15, "room for \(keys.count) keys of \(spanRows) rows")
        return unsafe codes.withUnsafeBufferPointer { codes in
            unsafe biases.withUnsafeBufferPointer { biases in
                unsafe tables.withUnsafeBufferPointer { tables in
                    unsafe spans.withUnsafeBytes { spans in
                        unsafe admitted.withUnsafeBufferPointer { admitted in
                            unsafe keys.withUnsafeMutableBufferPointer { keys in
                                var arguments = unsafe vk_codes(
                                    codes: codes.baseAddress, groups: groups, biases: biases.baseAddress, bias_weight: biasWeight,
                                    tables: tables.baseAddress, admitted: admitted.isEmpty ? nil : admitted.baseAddress, admitted_rows: admittedRows)
                                let items = unsafe spans.bindMemory(to: vk_span.self)
                                return unsafe table.pointee.scan(&arguments, items.baseAddress, items.count, floor, keys.baseAddress)
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rows that share a base score. Public, as the compiler does not inline `package` functions of another module. Laid out as the kernels' `vk_span`.
public struct RowSpan: Sendable, BitwiseCopyable {
    @usableFromInline let begin: UInt32
    @usableFromInline let end: UInt32
    @usableFromInline let place: UInt32
    @usableFromInline let base: Int32

    /// - Parameter place: Where the first row's codes and bias stand.
    @inlinable @inline(__always)
    public init(_ rows: Range<Int>, at place: Int, base: Int32) {
        (begin, end, self.place, self.base) = (UInt32(rows.lowerBound), UInt32(rows.upperBound), UInt32(place), base)
    }

    @inlinable @inline(__always)
    public var count: Int { Int(end - begin) }
}

/// Public for the same reason. A score and a row in one integer: larger keys are better, of equal scores the smaller row.
public enum RankKey {
    @inlinable @inline(__always)
    public static func make(_ score: Int32, _ row: UInt32) -> UInt64 {
        UInt64(UInt32(bitPattern: score) ^ 0x8000_0000) << 32 | UInt64(~row)
    }

    /// With a score that is a float; NaN has no place.
    @inlinable @inline(__always)
    public static func make(_ score: Float, _ row: UInt32) -> UInt64 {
        // Flipping the sign bit, or all bits of a negative number, makes floats compare as integers.
        let bits = score.bitPattern
        let ordered = bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
        return UInt64(ordered) << 32 | UInt64(~row)
    }

    @inlinable @inline(__always)
    public static func row(_ key: UInt64) -> UInt32 { ~UInt32(truncatingIfNeeded: key) }
    @inlinable @inline(__always)
    public static func score(_ key: UInt64) -> Int32 { Int32(bitPattern: UInt32(key >> 32) ^ 0x8000_0000) }
    @inlinable @inline(__always)
    public static func floatScore(_ key: UInt64) -> Float {
        let ordered = UInt32(key >> 32)
        return Float(bitPattern: ordered >> 31 == 1 ? ordered & 0x7fff_ffff : ~ordered)
    }
}

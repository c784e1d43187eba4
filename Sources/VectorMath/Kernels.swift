import CVectorKernels

/// The numeric kernels of one instruction set.
///
/// All instruction sets return the same bits, so results do not depend on the machine; see `CVectorKernels.h`. Lengths are
/// compared here, once, so that the kernels need not.
@safe package struct Kernels: Sendable {
    package enum Level: UInt32, Sendable, CaseIterable {
        case portable, avx2, avx512

        package init?(name: String) {
            guard let level = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
            self = level
        }
    }

    nonisolated(unsafe) let table: UnsafePointer<vk_kernels>

    /// The fastest that this processor runs, or what ``use(_:)`` said.
    package static var best: Kernels { unsafe Kernels(table: vk_kernels_best()) }

    /// Makes an instruction set's kernels the best, to measure what other processors get. To be called before there are threads.
    ///
    /// - Returns: `false` if this processor lacks it.
    package static func use(_ level: Level) -> Bool { vk_kernels_use(vk_level(rawValue: level.rawValue)) != 0 }

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
        compare(.dot, query, rows: rows.bytes, of: .float32, into: &out)
    }

    package func squaredDistance(_ query: Span<Float>, rows: Span<Float>, into out: inout MutableSpan<Float>) {
        compare(.squaredDistance, query, rows: rows.bytes, of: .float32, into: &out)
    }
}

import CEmbeddingKernels

/// The arithmetic of the encoder for one instruction set.
@safe package struct EncoderKernels: Sendable {
    package enum Level: UInt32, Sendable, CaseIterable {
        case portable, avx2, avx512
    }

    package let level: Level
    nonisolated(unsafe) let table: UnsafePointer<ce_kernels>

    /// - Returns: `nil` if this processor lacks the instruction set.
    package init?(_ level: Level) {
        guard let table = unsafe ce_kernels_at(ce_level(rawValue: level.rawValue)) else { return nil }
        self.level = level
        unsafe self.table = unsafe table
    }

    /// Those that this processor runs, the portable reference first, the fastest last.
    package static let all = Level.allCases.compactMap(EncoderKernels.init)
    package static let best = all[all.count - 1]
}

import CScanLimit
import Foundation
import Testing
import VectorMath

/// How fast codes are scanned beside how fast memory is read, and beside look-ups and adds on registers alone: `BENCHMARK=1 swift test -c release --filter ScanBenchmark`.
@Suite("scan benchmark", .serialized)
struct ScanBenchmark {
    private static let isWanted = ProcessInfo.processInfo.environment["BENCHMARK"] != nil
    private static let rounds = 15

    /// In nanoseconds.
    private func median(_ seconds: [Double]) -> Double { seconds.sorted()[Self.rounds / 2] * 1e9 }

    @Test("benchmark: codes out of cache and in cache", .enabled(if: isWanted, "a benchmark: set BENCHMARK=1"), arguments: [8, 16, 48])
    func scan(groups: Int) {
        // 384 MiB are beyond every cache; 256 KiB are within the second level.
        for byteCount in [384 << 20, 256 << 10] {
            let blocks = byteCount / (groups * 64)
            let rows = blocks * Kernels.blockRows
            // In a segment's file they begin at a multiple of 64 bytes.
            let codes = UnsafeMutableBufferPointer<UInt8>(
                start: UnsafeMutableRawPointer.allocate(byteCount: blocks * groups * 64, alignment: 64).assumingMemoryBound(to: UInt8.self), count: blocks * groups * 64)
            defer { unsafe codes.deallocate() }
            for place in codes.indices { unsafe codes[place] = UInt8(truncatingIfNeeded: place &* 37 &+ place >> 11) }
            let biases = [UInt8](repeating: 3, count: rows)
            let tables = (0..<groups * Kernels.groupSubspaces * 16).map { UInt8(truncatingIfNeeded: $0 &* 91) }
            // As a search does: some thousands of rows at a time.
            let parts = stride(from: 0, to: rows, by: 8_192).map { RowSpan($0..<min($0 + 8_192, rows), at: $0, base: 0) }
            var keys = [UInt64](repeating: 0, count: 8_192 + 16)
            let repeats = max(1, (64 << 20) / byteCount)
            func once() -> Int {
                var found = 0
                for _ in 0..<repeats {
                    for part in parts {
                        let spans = [part]
                        var out = keys.mutableSpan
                        found += Kernels.best.scan(
                            codes: unsafe Span(_unsafeElements: codes), biases: biases.span, biasWeight: 9, tables: tables.span, spans: spans.span, admitted: Span(), floor: .max,
                            keys: &out)
                    }
                }
                return found
            }
            func read() -> UInt64 {
                var sum: UInt64 = 0
                for _ in 0..<repeats {
                    do {
                        let words = unsafe UnsafeRawBufferPointer(codes).bindMemory(to: SIMD8<UInt64>.self)
                        var (a, b, c, d) = (SIMD8<UInt64>(), SIMD8<UInt64>(), SIMD8<UInt64>(), SIMD8<UInt64>())
                        for index in stride(from: 0, to: words.count - 3, by: 4) {
                            unsafe a &+= words[index]
                            unsafe b &+= words[index + 1]
                            unsafe c &+= words[index + 2]
                            unsafe d &+= words[index + 3]
                        }
                        sum &+= (a &+ b &+ c &+ d).wrappedSum()
                    }
                }
                return sum
            }
            var (scans, reads, limits, check) = ([Double](), [Double](), [Double](), UInt64(0))
            for _ in 0..<Self.rounds {
                let begin = ContinuousClock.now
                check &+= UInt64(once())
                let middle = ContinuousClock.now
                check &+= read()
                scans.append(begin.duration(to: middle) / .seconds(1))
                let end = ContinuousClock.now
                check &+= scan_limit(blocks * groups * repeats)
                reads.append(middle.duration(to: end) / .seconds(1))
                limits.append(end.duration(to: .now) / .seconds(1))
            }
            let bytes = Double(byteCount * repeats)
            let (scan, read, limit) = (bytes / median(scans), bytes / median(reads), bytes / median(limits))
            print(String(
                format: "%d bytes of codes a row, %.1f MB: scan %.1f GB/s, read %.1f GB/s, ratio %.2f; registers alone %.1f GB/s, %.2f times the scan (%llx)", groups * 4, Double(byteCount) / 1e6,
                scan, read, scan / read, limit, limit / scan, check))
        }
    }
}

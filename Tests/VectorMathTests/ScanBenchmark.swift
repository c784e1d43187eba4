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

    /// In a segment's file codes begin at a multiple of 64 bytes.
    private func makeCodes(_ byteCount: Int) -> UnsafeMutableBufferPointer<UInt8> {
        let start = UnsafeMutableRawPointer.allocate(byteCount: byteCount + 64, alignment: 2 << 20)
        unsafe madvise(start, byteCount, MADV_HUGEPAGE)
        let codes = unsafe UnsafeMutableBufferPointer<UInt8>(start: start.assumingMemoryBound(to: UInt8.self), count: byteCount)
        for place in codes.indices { unsafe codes[place] = UInt8(truncatingIfNeeded: place &* 37 &+ place >> 11) }
        return unsafe codes
    }

    @Test("benchmark: codes out of cache and in cache", .enabled(if: isWanted, "a benchmark: set BENCHMARK=1"), arguments: [8, 16, 48])
    func scan(groups: Int) {
        // 384 MiB are beyond every cache; 256 KiB are within the second level.
        for byteCount in [384 << 20, 256 << 10] {
            let blocks = byteCount / (groups * 64)
            let rows = blocks * Kernels.blockRows
            let codes = makeCodes(blocks * groups * 64)
            defer { unsafe codes.deallocate() }
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

    /// As a search of many lists does: 34 to 101 rows of each, wherever it lies.
    @Test("benchmark: lists out of cache, in any order", .enabled(if: isWanted, "a benchmark: set BENCHMARK=1"), arguments: [8, 10, 12, 16, 24, 48])
    func scanLists(groups: Int) {
        let (rowSize, count) = (4 * groups, (384 << 20) / (4 * groups))
        let codes = makeCodes(count * rowSize)
        defer { unsafe codes.deallocate() }
        let biases = [UInt8](repeating: 3, count: count)
        let tables = (0..<groups * Kernels.groupSubspaces * 16).map { UInt8(truncatingIfNeeded: $0 &* 91) }
        var random = SplitMix64(seed: 5)
        var (rows, place) = ([Range<Int>](), 0)
        while place < count {
            let end = min(count, place + Int.random(in: 34...101, using: &random))
            rows.append(place..<end)
            place = end
        }
        rows.shuffle(using: &random)
        let spans = rows.map { RowSpan($0, at: $0.lowerBound, base: 0) }
        let bounds = rows.flatMap { [$0.lowerBound * rowSize, $0.upperBound * rowSize] }
        var keys = [UInt64](repeating: 0, count: 1 << 17)
        let atOnce = 600
        var (scans, reads, check) = ([Double](), [Double](), UInt64(0))
        for _ in 0..<Self.rounds {
            let begin = ContinuousClock.now
            for first in stride(from: 0, to: spans.count, by: atOnce) {
                var out = keys.mutableSpan
                check &+= UInt64(Kernels.best.scan(
                    codes: unsafe Span(_unsafeElements: UnsafeBufferPointer(codes)), biases: biases.span, biasWeight: 9, tables: tables.span,
                    spans: spans.span.extracting(first..<min(first + atOnce, spans.count)), admitted: Span(), floor: .max, keys: &out))
            }
            let middle = ContinuousClock.now
            check &+= unsafe read_spans(codes.baseAddress, bounds, spans.count)
            scans.append(begin.duration(to: middle) / .seconds(1))
            reads.append(middle.duration(to: .now) / .seconds(1))
        }
        let bytes = Double(count * rowSize)
        let (scan, read) = (bytes / median(scans), bytes / median(reads))
        print(String(
            format: "%d bytes of codes a row, lists of 67 rows in any order, %.1f MB: scan %.1f GB/s, read %.1f GB/s, ratio %.2f (%llx)", rowSize, bytes / 1e6, scan, read, scan / read, check))
    }
}

import Foundation
import Storage
import VectorIndex

/// Builds the segment that `covey bench` measures and says what that took.
struct BenchBuild {
    /// Which vector of the base became which row.
    let order: [UInt32]
    let seconds: Double
    /// Of all threads.
    private let processorSeconds: Double
    /// Memory that building added at most, without pages of mapped files.
    private let peakMegabytes: Double
    private let baseMegabytes: Double

    init(_ base: BenchVectorFile, _ options: BenchOptions, _ conversion: BenchConversion, path: String, _ terminal: Terminal) throws {
        terminal.note("reading \(base.count) vectors of \(base.dimension) dimensions")
        let vectorPath = path + ".vectors"
        defer { try? FileManager.default.removeItem(atPath: vectorPath) }
        let vectors = try MappedVectors(base, conversion, path: vectorPath)

        terminal.note("building a segment of \(base.count) vectors of \(base.dimension) dimensions on \(options.buildThreads) threads")
        let line = terminal.isWatched ? ProgressLine(total: 100, unit: "% built", terminal: terminal) : nil
        let before = Self.anonymousMegabytes()
        var (peak, shown, sampled) = (before, 0, ContinuousClock.now)
        let (started, processor) = (ContinuousClock.now, Bench.processorSeconds(CLOCK_PROCESS_CPUTIME_ID))
        let writer = try SegmentWriter(path: path)
        order = try IndexBuilder(dimension: base.dimension, metric: options.metric, datatype: options.datatype, parameters: options.parameters, seed: options.seed)
            .build(VectorSource(count: base.count, copy: vectors.copy), into: writer, threads: options.buildThreads) { done in
                while shown < Int(done * 100) {
                    line?.advance()
                    shown += 1
                }
                if sampled.duration(to: .now) > .milliseconds(10) {
                    peak = max(peak, Self.anonymousMegabytes())
                    sampled = .now
                }
                return true
            }
        _ = try writer.finish()
        line?.finish()
        seconds = started.duration(to: .now).seconds
        processorSeconds = Bench.processorSeconds(CLOCK_PROCESS_CPUTIME_ID) - processor
        peakMegabytes = peak - before
        baseMegabytes = Double(4 * base.count * base.dimension) / 1_048_576
    }

    var line: [String: Any] {
        [
            "build_s": Bench.rounded(seconds, 2), "build_cpu_s": Bench.rounded(processorSeconds, 2), "build_peak_mb": Bench.rounded(peakMegabytes, 1),
            "base_mb": Bench.rounded(baseMegabytes, 1),
        ]
    }

    /// Resident memory of the process that is no page of a file.
    private static func anonymousMegabytes() -> Double {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("RssAnon:") }),
            let kibibytes = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Double($0) })
        else { return 0 }
        return kibibytes / 1_024
    }
}

/// The base as a shard has it when it merges segments: float vectors in a mapped file.
@safe private final class MappedVectors: Sendable {
    private let file: SegmentFile
    private let dimension: Int
    private nonisolated(unsafe) let elements: UnsafeBufferPointer<Float>

    init(_ base: BenchVectorFile, _ conversion: BenchConversion, path: String) throws {
        let writer = try SegmentWriter(path: path)
        try writer.beginSection("vectors")
        var vector = [Float](repeating: 0, count: base.dimension)
        for row in 0..<base.count {
            try base.copy(row, to: &vector)
            try conversion.store(&vector)
            try writer.append(elements: vector)
        }
        try writer.endSection()
        _ = try writer.finish()
        file = try SegmentFile(path: path)
        dimension = base.dimension
        unsafe elements = try unsafe file.elements(of: "vectors", as: Float.self, count: base.count * dimension)
    }

    @Sendable func copy(_ row: Int, to out: inout MutableSpan<Float>) {
        let vector = unsafe UnsafeBufferPointer(rebasing: elements[row * dimension..<(row + 1) * dimension])
        unsafe out.withUnsafeMutableBufferPointer { unsafe $0.baseAddress!.update(from: vector.baseAddress!, count: vector.count) }
    }
}

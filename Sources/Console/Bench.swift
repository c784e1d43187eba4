import Foundation
import Model
import Storage
import VectorIndex
import VectorMath

/// Measures the index of one segment on vectors with known neighbours: `covey bench`.
///
/// It builds a real segment file in a temporary folder, opens it as a shard does, and searches it.
package struct Bench {
    private let options: BenchOptions
    private let queries: [[Float]]
    private let truth: [[Int]]
    private let base: BenchVectorFile

    /// Opens and checks the files; what the base's vectors hold is read by ``run(_:)``.
    ///
    /// - Throws: ``BenchFileError``; ``ClusterError`` `invalidArgument` for options that do not fit the files.
    package init(_ options: BenchOptions) throws {
        guard options.k >= 1 else { throw ClusterError(.invalidArgument, "k must be at least 1, found \(options.k)") }
        if let name = options.instructions {
            guard let level = Kernels.Level(name: name) else {
                throw ClusterError(.invalidArgument, "instructions must be one of \(Kernels.Level.allCases.map { "\($0)" }.joined(separator: ", ")), found \"\(name)\"")
            }
            guard Kernels.use(level) else { throw ClusterError(.invalidArgument, "this processor has no \(name)") }
        }
        self.options = options
        let base = try BenchVectorFile(options.base)
        var query = try BenchVectorFile.floats(options.query)
        truth = try BenchVectorFile.rows(options.truth)
        guard base.dimension <= CollectionSchema.maximumDimension else {
            throw ClusterError(.invalidArgument, "\(options.base): dimension must be 1…\(CollectionSchema.maximumDimension), found \(base.dimension)")
        }
        guard query.dimension == base.dimension else {
            throw ClusterError(.invalidArgument, "\(options.query): expected \(base.dimension) dimensions, found \(query.dimension)")
        }
        guard truth.count == query.count else {
            throw ClusterError(.invalidArgument, "\(options.truth): expected \(query.count) rows, one a query, found \(truth.count)")
        }
        guard let width = truth.first?.count, width >= options.k else {
            throw ClusterError(.invalidArgument, "\(options.truth): \(truth.first?.count ?? 0) neighbours a query are fewer than k = \(options.k)")
        }
        for (query, row) in truth.enumerated() {
            if let wrong = row.first(where: { $0 < 0 || $0 >= base.count }) {
                throw ClusterError(.invalidArgument, "\(options.truth): row \(query) names vector \(wrong), the base has \(base.count)")
            }
        }
        if options.metric == .cosine {
            query.normalize()
        }
        self.base = base
        queries = (0..<min(query.count, max(1, options.maximumQueries))).map { Array(query.elements[$0 * query.dimension..<($0 + 1) * query.dimension]) }
    }

    /// Measures everything: one line of JSON per setting; what is being done is said beside.
    ///
    /// - Throws: ``BenchFileError`` for what is wrong inside the base; ``SegmentError``.
    package func run(_ terminal: Terminal) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("covey-bench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("segment").path

        let conversion = try BenchConversion(base, metric: options.metric, datatype: options.datatype)
        let queries = queries.map(conversion.query)
        let built = try BenchBuild(base, options, conversion, path: path, terminal)
        let file = try SegmentFile(path: path)
        let index = try SegmentIndex(file)
        terminal.note("built in \(Self.rounded(built.seconds, 2)) s: \(index.listCount) lists, \(index.subspaces) codes of 4 bits a vector")

        if options.filters {
            let effort = options.sweep.first ?? SearchEffort()
            terminal.note("measuring filters at \(Self.describe(effort))")
            return try BenchFilters(index: index, queries: queries, limit: options.k, effort: effort).run { try print($0, terminal) }
        }
        let queryError = index.quantizationError(of: Array(queries.joined()))
        let judge = RecallJudge(index: index, order: built.order, truth: truth, queries: queries, k: options.k, byRow: options.datatype != .float32)
        var scan: BenchMeasurement?
        let exact: [(SearchEffort, Bool)] = options.exact ? [(SearchEffort(exact: true), true), (SearchEffort(exact: true), false)] : []
        for (effort, isScan) in exact + ([SearchEffort()] + options.sweep).map({ ($0, false) }) {
            terminal.note("measuring \(isScan ? "the exact scan" : Self.describe(effort))")
            let measured = measure(index, effort, isScan: isScan, queries, judge)
            if isScan { scan = measured }
            var line = measured.line
            line["default"] = effort == SearchEffort()
            line["exact"] = isScan
            line["speedup_over_exact"] = scan.map { Self.rounded(measured.queriesPerSecond / $0.queriesPerSecond, 2) as Any } ?? NSNull()
            line["bytes_per_vector"] = isScan ? 0 : Self.rounded(Double(index.memoryByteCount) / Double(index.count), 2)
            line["code_bytes_per_vector"] = isScan ? 0 : Self.rounded(Double(index.codeByteCount) / Double(index.count), 2)
            line["raw_bytes_per_vector"] = Self.rounded(Double(index.vectorByteCount) / Double(index.count), 2)
            line["file_bytes_per_vector"] = Self.rounded(Double(file.byteCount) / Double(index.count), 2)
            line.merge(built.line) { $1 }
            line["quantization_error"] = index.quantizationError.map { Self.rounded($0, 5) as Any } ?? NSNull()
            line["query_quantization_error"] = queryError.map { Self.rounded($0, 5) as Any } ?? NSNull()
            line["peak_mb"] = Self.rounded(Self.peakMegabytes(), 1)
            line["settings"] = [
                "exact": effort.exact, "target_recall": effort.targetRecall.map { $0 as Any } ?? "automatic", "probes": effort.probes.map { $0 as Any } ?? "automatic",
                "candidates": effort.candidates.map { $0 as Any } ?? "automatic", "lists": index.listCount, "subspaces": index.subspaces,
                "k": options.k, "metric": options.metric.rawValue, "datatype": options.datatype.rawValue, "seed": options.seed, "batch_threads": options.batchThreads,
                "build_threads": options.buildThreads,
            ] as [String: Any]
            try print(line, terminal)
        }
    }

    private func print(_ line: [String: Any], _ terminal: Terminal) throws {
        terminal.print(String(decoding: try JSONSerialization.data(withJSONObject: line, options: [.sortedKeys]), as: UTF8.self))
    }

    private func measure(_ index: SegmentIndex, _ effort: SearchEffort, isScan: Bool, _ queries: [[Float]], _ judge: RecallJudge) -> BenchMeasurement {
        var scratch = SearchScratch()
        var measured = BenchMeasurement()
        // The first pass gives the recall and warms the caches; it is not timed.
        for (number, query) in queries.enumerated() {
            let result = search(index, query, effort, isScan, &scratch)
            measured.recall += judge.recall(of: result.hits, query: number) / Double(queries.count)
            measured.lists += Double(result.listsScanned) / Double(queries.count)
            measured.recallEstimate += Double(result.recall ?? .nan) / Double(queries.count)
            measured.rescoredShare += Double(result.rescored) / Double(index.count) / Double(queries.count)
            measured.scannedShare += Double(result.codesScanned) / Double(index.count) / Double(queries.count)
        }
        // Whole passes until there is enough to measure. The median pass counts; processor time leaves out what other programs took.
        let clock = ContinuousClock()
        let begin = clock.now
        var passes: [(seconds: Double, processor: Double)] = []
        let faults = Self.diskFaults()
        repeat {
            let (started, processor) = (clock.now, Self.processorSeconds(CLOCK_THREAD_CPUTIME_ID))
            for query in queries { _ = search(index, query, effort, isScan, &scratch) }
            passes.append((started.duration(to: clock.now).seconds, Self.processorSeconds(CLOCK_THREAD_CPUTIME_ID) - processor))
        } while passes.count < 3 || (passes.count < 20 && begin.duration(to: clock.now) < .seconds(1))
        measured.diskFaults = Double(Self.diskFaults() - faults) / Double(passes.count * queries.count)
        measured.queriesPerSecond = Double(queries.count) / Self.median(passes.map(\.seconds))
        measured.queriesPerProcessorSecond = Double(queries.count) / Self.median(passes.map(\.processor))

        passes = []
        let threads = options.batchThreads
        for _ in 0..<3 {
            let (started, processor) = (clock.now, Self.processorSeconds(CLOCK_PROCESS_CPUTIME_ID))
            DispatchQueue.concurrentPerform(iterations: threads) { thread in
                var scratch = SearchScratch()
                for number in stride(from: thread, to: queries.count, by: threads) { _ = search(index, queries[number], effort, isScan, &scratch) }
            }
            passes.append((started.duration(to: clock.now).seconds, Self.processorSeconds(CLOCK_PROCESS_CPUTIME_ID) - processor))
        }
        measured.batchQueriesPerSecond = Double(queries.count) / Self.median(passes.map(\.seconds))
        measured.batchQueriesPerProcessorSecond = Double(queries.count) / Self.median(passes.map(\.processor))
        return measured
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    static func processorSeconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    private func search(_ index: SegmentIndex, _ query: [Float], _ effort: SearchEffort, _ isScan: Bool, _ scratch: inout SearchScratch) -> SegmentSearchResult {
        if isScan { return index.searchExactly(query.span, limit: options.k, bytesFrom: .max, scratch: &scratch) }
        // Threshold 0: what is measured are the codes, however few the vectors.
        return index.search(query.span, limit: options.k, effort: effort, exactBelow: 0, scratch: &scratch)
    }

    private static func describe(_ effort: SearchEffort) -> String {
        if effort.exact { return "exact searches" }
        if let probes = effort.probes, let candidates = effort.candidates { return "\(probes) lists, \(candidates) candidates" }
        return effort.targetRecall.map { "recall \($0)" } ?? "the defaults"
    }

    static func rounded(_ value: Double, _ digits: Int) -> Double {
        let scale = pow(10, Double(digits))
        return (value * scale).rounded() / scale
    }

    /// Page faults of this process so far that had to read a file.
    private static func diskFaults() -> Int {
        var usage = rusage()
        guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return usage.ru_majflt
    }

    /// The most memory that this process has had resident, mapped files included.
    private static func peakMegabytes() -> Double {
        var usage = rusage()
        guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return Double(usage.ru_maxrss) / 1_024
    }
}

/// What one setting gave.
private struct BenchMeasurement {
    var recall = 0.0
    /// What the searches expected; not a number where they did not.
    var recallEstimate = 0.0
    var lists = 0.0
    var rescoredShare = 0.0
    var scannedShare = 0.0
    var queriesPerSecond = 0.0
    var queriesPerProcessorSecond = 0.0
    /// Pages that a query had to wait for, one query at a time.
    var diskFaults = 0.0
    var batchQueriesPerSecond = 0.0
    var batchQueriesPerProcessorSecond = 0.0

    var line: [String: Any] {
        [
            "recall": Bench.rounded(recall, 5), "qps": Bench.rounded(queriesPerSecond, 1), "qps_batch": Bench.rounded(batchQueriesPerSecond, 1),
            "qps_cpu": Bench.rounded(queriesPerProcessorSecond, 1), "qps_batch_cpu": Bench.rounded(batchQueriesPerProcessorSecond, 1),
            "recall_estimate": recallEstimate.isNaN ? NSNull() : Bench.rounded(recallEstimate, 5), "lists_scanned": Bench.rounded(lists, 1),
            "rescored_share": Bench.rounded(rescoredShare, 6), "scanned_share": Bench.rounded(scannedShare, 6), "disk_faults": Bench.rounded(diskFaults, 3),
        ]
    }
}

/// Judges hits against the truth: by score, so that any of several equally near neighbours counts; or by row, where vectors were rounded and
/// scores are no longer those that the truth was made with.
private struct RecallJudge {
    private let index: SegmentIndex
    private let queries: [[Float]]
    private let k: Int
    /// For each query, the score of the truth's k-th neighbour.
    private let bounds: [Float]
    /// For each query, the rows of the k neighbours, if they are what counts.
    private let rows: [Set<Int>]?

    init(index: SegmentIndex, order: [UInt32], truth: [[Int]], queries: [[Float]], k: Int, byRow: Bool) {
        self.index = index
        self.queries = queries
        self.k = k
        var rowOf = [Int](repeating: 0, count: order.count)
        for (row, source) in order.enumerated() { rowOf[Int(source)] = row }
        rows = byRow ? queries.indices.map { Set(truth[$0][..<k].map { rowOf[$0] }) } : nil
        bounds = queries.indices.map { query in
            // The worst of the k: the file's order may come from a computation that rounds differently.
            let asked = queries[query]
            return truth[query][..<k].map { index.score(of: rowOf[$0], to: asked.span) }.max { index.metric.isBetter($0, than: $1) }!
        }
    }

    func recall(of hits: [RowHit], query: Int) -> Double {
        if let rows { return Double(hits.prefix(k).count { rows[query].contains($0.row) }) / Double(k) }
        let found = hits.prefix(k).count { !index.metric.isBetter(bounds[query], than: $0.score) }
        return Double(found) / Double(k)
    }
}

extension BenchVectors {
    /// Brings every vector to unit length; a zero vector stays.
    fileprivate mutating func normalize() {
        for row in 0..<count { BenchVectors.normalize(&elements, row * dimension..<(row + 1) * dimension) }
    }

    static func normalize(_ elements: inout [Float], _ range: Range<Int>) {
        let norm = elements[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        guard norm > 0 else { return }
        for index in range { elements[index] = Float(Double(elements[index]) / norm) }
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

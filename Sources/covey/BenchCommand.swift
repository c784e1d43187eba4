import ArgumentParser
import Console
import Foundation
import Model

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Build a segment from vector files and measure recall and speed over a sweep of settings.",
        discussion: """
            Prints one JSON line per setting on standard output: recall, qps (one thread, queries one at a time), qps_batch, bytes_per_vector, \
            build_s, build_cpu_s (all threads), build_peak_mb (memory that building added, without mapped files), base_mb (the mapped base), peak_mb \
            (of the process, pages of mapped files included), settings. Progress goes to standard error.
            """)
    @Option(help: "Vectors to index: .fvecs or .f16bin.") var base: String
    @Option(help: "Vectors to ask with.") var query: String
    @Option(help: "The exact nearest rows of each query: .ivecs.") var truth: String
    @Option(help: "cosine, dot or euclid.") var metric: String
    @Option(help: "What vectors are stored as: float32, float16, uint8 or int8; integers are spread over the range by one factor.") var datatype = "float32"
    @Option(name: .customLong("k"), help: "Neighbours asked for.") var k = 10
    @Option(help: "Decides k-means' starting points.") var seed: UInt64 = 0
    @Option(help: "Settings to measure instead of the built-in ones: recalls to aim at, or LISTS:CANDIDATES, such as 0.9,0.95,64:100.") var sweep: String?
    @Option(help: "Queries asked at most, the first of the file. Default: all.") var queries: Int?
    @Flag(inversion: .prefixedNo, help: "Measure the exact scan, too.") var exact = true
    @Option(help: "Threads that share the queries of a batch.") var batchThreads = 1
    @Option(help: "Threads that build the segment; it is the same with any number.") var buildThreads = 1
    @Flag(help: "Measure searches under filters of several shares and places, at the first setting of --sweep (default: the defaults).") var filters = false
    @Option(help: "Rows of a list on average.") var listSize: Int?
    @Option(help: "4-bit codes of a vector, a multiple of 8.") var subspaces: Int?
    @Option(help: "portable, avx2 or avx512: what processors with no more than that would do. Default: the best of this one.") var instructions: String?
    @Flag(inversion: .prefixedNo, help: "Put each row into a second list, too. Default: where that pays.") var spills: Bool?

    func run() async throws {
        guard let metric = Metric(rawValue: metric) else {
            throw ValidationError("--metric must be one of \(Metric.allCases.map(\.rawValue).joined(separator: ", ")), found \"\(metric)\"")
        }
        var options = BenchOptions(base: base, query: query, truth: truth, metric: metric, k: k, seed: seed)
        guard let datatype = VectorDatatype(rawValue: datatype) else {
            throw ValidationError("--datatype must be one of \(VectorDatatype.allCases.map(\.rawValue).joined(separator: ", ")), found \"\(datatype)\"")
        }
        options.datatype = datatype
        options.batchThreads = batchThreads
        options.buildThreads = buildThreads
        options.filters = filters
        options.exact = exact
        if let queries { options.maximumQueries = queries }
        if filters { options.sweep = [] }
        if let sweep { options.sweep = try sweep.split(separator: ",").map(Self.effort) }
        if let listSize { options.parameters.listSize = listSize }
        options.parameters.subspaces = subspaces
        options.parameters.spills = spills
        options.instructions = instructions
        do {
            try Bench(options).run(.standard)
        } catch {
            FileHandle.standardError.write(Data("covey: \(error)\n".utf8))
            throw ExitCode(1)
        }
    }

    func validate() throws {
        if batchThreads < 1 { throw ValidationError("--batch-threads must be at least 1, found \(batchThreads)") }
        if buildThreads < 1 { throw ValidationError("--build-threads must be at least 1, found \(buildThreads)") }
        if let queries, queries < 1 { throw ValidationError("--queries must be at least 1, found \(queries)") }
        if let listSize, listSize < 1 { throw ValidationError("--list-size must be at least 1, found \(listSize)") }
        if let subspaces, subspaces < 8 || subspaces % 8 != 0 { throw ValidationError("--subspaces must be a multiple of 8, found \(subspaces)") }
    }

    private static func effort(_ text: Substring) throws -> SearchEffort {
        if let recall = Double(text), recall > 0, recall <= 1 { return SearchEffort(targetRecall: recall) }
        let numbers = text.split(separator: ":").map { Int($0) }
        guard numbers.count == 2, let probes = numbers[0], let candidates = numbers[1], probes >= 1, candidates >= 1 else {
            throw ValidationError("--sweep wants recalls above 0 and at most 1, or LISTS:CANDIDATES pairs, such as 0.9,0.95,64:100, found \"\(text)\"")
        }
        return SearchEffort(probes: probes, candidates: candidates)
    }
}

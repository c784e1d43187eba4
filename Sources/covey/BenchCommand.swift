import ArgumentParser
import Console
import Foundation
import Model

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Build a segment from vector files and measure recall and speed over a sweep of settings.",
        discussion: """
            Prints one JSON line per setting on standard output: recall, qps (one thread, queries one at a time), qps_batch, bytes_per_vector, \
            build_s, peak_mb, settings. Progress goes to standard error.
            """)
    @Option(help: "Vectors to index: .fvecs or .f16bin.") var base: String
    @Option(help: "Vectors to ask with.") var query: String
    @Option(help: "The exact nearest rows of each query: .ivecs.") var truth: String
    @Option(help: "cosine, dot or euclid.") var metric: String
    @Option(name: .customLong("k"), help: "Neighbours asked for.") var k = 10
    @Option(help: "Decides k-means' starting points.") var seed: UInt64 = 0

    func run() async throws {
        guard let metric = Metric(rawValue: metric) else {
            throw ValidationError("--metric must be one of \(Metric.allCases.map(\.rawValue).joined(separator: ", ")), found \"\(metric)\"")
        }
        do {
            try Bench(BenchOptions(base: base, query: query, truth: truth, metric: metric, k: k, seed: seed)).run(
                emit: { line in
                    print(line)
                    fflush(nil)
                },
                progress: { FileHandle.standardError.write(Data("\($0)\n".utf8)) })
        } catch {
            FileHandle.standardError.write(Data("covey: \(error)\n".utf8))
            throw ExitCode(1)
        }
    }
}

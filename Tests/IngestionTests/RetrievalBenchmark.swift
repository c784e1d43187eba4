import Embedding
import Foundation
import Ingestion
import Model
import Testing

/// Retrieval over a folder of documents by exact search, documents ranked by their best chunk.
///
/// `BENCHMARK=1 DATA=<folder with docs/, queries.jsonl, qrels/> QRELS=intent.tsv MODEL=<folder> swift test -c release --filter RetrievalBenchmark`.
/// `SAMPLE=4` takes each fourth query, and each fourth of the documents that answer none.
@Suite struct RetrievalBenchmark {
    private static let environment = ProcessInfo.processInfo.environment

    @Test("benchmark: retrieval over a folder", .enabled(if: environment["BENCHMARK"] != nil && environment["DATA"] != nil, "needs BENCHMARK=1 and DATA"))
    func retrieval() async throws {
        let environment = Self.environment
        let data = try #require(environment["DATA"])
        let model = environment["MODEL"] ?? NSHomeDirectory() + "/.cache/covey/models/all-MiniLM-L6-v2"
        let sample = environment["SAMPLE"].flatMap(Int.init) ?? 1
        let embedder = try MiniLMEmbedder(directory: model, workers: 2)
        var configuration = IngestionConfiguration()
        func set(_ name: String, _ path: WritableKeyPath<IngestionConfiguration, Int>) {
            if let value = environment[name].flatMap(Int.init) { configuration[keyPath: path] = value }
        }
        set("MAXIMUM_TOKENS", \.maximumTokens)
        set("OVERLAP_TOKENS", \.overlapTokens)
        set("SMALL_SECTION_TOKENS", \.smallSectionTokens)

        let right = try Self.judgements(data + "/qrels/" + (environment["QRELS"] ?? "faq.tsv"))
        let queries = try Self.queries(data + "/queries.jsonl").filter { right[$0.id] != nil }.enumerated().filter { $0.offset % sample == 0 }.map(\.element)
        let wanted = Set(queries.flatMap { right[$0.id]! })
        let suffix = environment["SUFFIX"] ?? ""
        var files = DocumentFolder([data + "/docs"]).files.filter { $0.name.hasSuffix(suffix) }
        files = files.enumerated().filter { wanted.contains($0.element.name) || $0.offset % sample == 0 }.map(\.element)

        let ingestor = Ingestor(embedder: embedder, configuration: configuration)
        let start = ContinuousClock.now
        var chunks: [(document: Int, vector: [Float])] = []
        var tokens = 0
        for (index, file) in files.enumerated() {
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file.path)))
            let prepared = try await ingestor.prepare(bytes, name: file.name)
            chunks += prepared.points.map { (index, $0.vector) }
            tokens += prepared.tokens
        }
        let seconds = Double((ContinuousClock.now - start).components.seconds)
        let vectors = try await embedder.embed(queries.map(\.text))
        var (gain, first, five, ten) = (0.0, 0.0, 0.0, 0.0)
        for (query, vector) in zip(queries, vectors) {
            var best = [Float](repeating: -2, count: files.count)
            for chunk in chunks { best[chunk.document] = max(best[chunk.document], zip(chunk.vector, vector).reduce(0) { $0 + $1.0 * $1.1 }) }
            let ranked = files.indices.sorted { (best[$0], files[$1].name) > (best[$1], files[$0].name) }.prefix(10).map { files[$0].name }
            let answers = right[query.id]!
            let ideal = (0..<min(10, answers.count)).reduce(0.0) { $0 + 1 / log2(Double($1) + 2) }
            gain += ranked.enumerated().reduce(0.0) { $0 + (answers.contains($1.element) ? 1 / log2(Double($1.offset) + 2) : 0) } / ideal
            func recall(_ k: Int) -> Double { Double(ranked.prefix(k).filter(answers.contains).count) / Double(answers.count) }
            first += recall(1)
            five += recall(5)
            ten += recall(10)
        }
        let count = Double(queries.count)
        print(
            "RETRIEVAL queries \(queries.count) documents \(files.count) chunks \(chunks.count) tokens \(tokens) nDCG@10 \(format(gain / count))",
            "recall@1 \(format(first / count)) recall@5 \(format(five / count)) recall@10 \(format(ten / count)) ingest \(seconds) s")
        #expect(chunks.count >= files.count)
    }

    private func format(_ value: Double) -> String { String(format: "%.4f", value) }

    private static func judgements(_ path: String) throws -> [String: Set<String>] {
        var right: [String: Set<String>] = [:]
        for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").dropFirst() {
            let fields = line.split(separator: "\t").map(String.init)
            if fields.count == 3, fields[2] != "0" { right[fields[0], default: []].insert(fields[1]) }
        }
        return right
    }

    private static func queries(_ path: String) throws -> [(id: String, text: String)] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            let value = try JSONValue(parsing: Array(line.utf8))
            return (value["_id"]?.string ?? "", value["text"]?.string ?? "")
        }
    }
}

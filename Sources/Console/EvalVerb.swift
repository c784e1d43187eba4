import Foundation
import Model
import Synchronization

/// `covey eval DIR`: how well the whole cluster finds the right documents, measured on a set with judgements.
///
/// Documents are loaded through the running cluster like a user's, into a collection of their own, which is sealed and then
/// asked the queries. A document ranks by its best chunk.
package struct EvalVerb: Sendable {
    package var folder: String
    package var corpora: [String] = []
    package var documents: String?
    package var qrels: String?
    /// Keeps the documents under this name: a second run sends only what changed. `nil`: a fresh collection, deleted afterwards.
    package var collection: String?
    /// Queries asked at the same time. Default: 4. For latencies without waiting, 1.
    package var concurrency = 4
    /// Score every point with its full vector: the yardstick.
    package var exact = false
    /// Candidates rescored per segment; `nil` for the cluster's default.
    package var candidates: Int?
    package var targetRecall: Double?

    package init(folder: String) { self.folder = folder }

    /// Prints one JSON object.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let set = try EvaluationSet(folder: folder, corpora: corpora, documents: documents, qrels: qrels)
        let name = collection ?? "eval-\(fixedHex(.random(in: 0...UInt64.max)))"
        let result: Result<JSONValue, ConsoleError>
        do throws(ConsoleError) { result = .success(try await evaluate(set, in: name, client, terminal)) } catch { result = .failure(error) }
        if collection == nil { _ = try? await client.json(.delete, try client.collection(name), timeout: .seconds(600)) }
        terminal.print(String(decoding: try result.get().serialized(), as: UTF8.self))
        return 0
    }

    private func evaluate(_ set: EvaluationSet, in name: String, _ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> JSONValue {
        try await client.ensureStore(name)
        terminal.note("loading \(set.documents.count) documents into \(name)")
        var ingest = IngestVerb(paths: [], collection: name)
        ingest.concurrency = max(4, concurrency)
        var started = ContinuousClock.now
        let tally = try await ingest.send(set.documents, client, terminal)
        let loadSeconds = started.duration(to: .now) / .seconds(1)
        started = .now
        _ = try await client.seal(name)
        let sealSeconds = started.duration(to: .now) / .seconds(1)

        let store = try await client.json(.get, try client.store(name))
        guard let model = store["covey"]?["embedding_model"]?.string else { throw ConsoleError("\(name) does not say with which model it was filled") }
        terminal.note("asking \(set.queries.count) queries")
        let answers = try await ask(set.queries, of: name, model: model, client, terminal)
        let measures = RankingMeasures(zip(answers, set.queries).map { ($0.ranking, $1.grades) })
        let milliseconds = answers.map(\.milliseconds)
        let loaded = tally.count(.added) + tally.count(.updated)
        let state = try await client.json(.get, try client.collection(name))["result"]
        func rounded(_ value: Double, _ digits: Double) -> JSONValue { .number((value * digits).rounded() / digits) }
        return [
            "set": .string(folder), "queries": .integer(Int64(set.queries.count)), "documents": .integer(Int64(set.documents.count)),
            "documents_skipped": .integer(Int64(tally.count(.failed) + tally.count(.skipped))),
            "ndcg@10": rounded(measures.ndcg10, 1e4), "mrr@10": rounded(measures.mrr10, 1e4),
            "recall@1": rounded(measures.recall[1]!, 1e4), "recall@5": rounded(measures.recall[5]!, 1e4),
            "recall@10": rounded(measures.recall[10]!, 1e4), "recall@100": rounded(measures.recall[100]!, 1e4),
            "latency_ms": [
                "p50": rounded(percentile(0.5, of: milliseconds), 100), "p95": rounded(percentile(0.95, of: milliseconds), 100),
                "p99": rounded(percentile(0.99, of: milliseconds), 100),
            ],
            "load_s": rounded(loadSeconds, 1e3), "documents_per_s": loaded > 0 ? rounded(Double(loaded) / loadSeconds, 10) : .null,
            "seal_s": rounded(sealSeconds, 1e3), "partial_answers": .integer(Int64(answers.count { $0.isPartial })),
            "points": state?["points_count"] ?? .null, "points_by_code": state?["covey"]?["points_by_code"] ?? .null,
            "settings": [
                "collection": .string(name), "model": .string(model), "exact": .bool(exact),
                "target_recall": targetRecall.map { JSONValue.number($0) } ?? .null, "candidates": candidates.map { .integer(Int64($0)) } ?? .null, "concurrency": .integer(Int64(concurrency)),
            ],
        ]
    }

    private struct Answer: Sendable {
        /// Documents, best first.
        var ranking: [String] = []
        /// From the question's text to its ten best chunks.
        var milliseconds = 0.0
        var isPartial = false
    }

    private func ask(
        _ queries: [EvaluationSet.Query], of name: String, model: String, _ client: CoveyClient, _ terminal: Terminal
    ) async throws(ConsoleError) -> [Answer] {
        let answers = Mutex([Answer](repeating: Answer(), count: queries.count))
        let progress = ProgressLine(total: queries.count, unit: "queries", terminal: terminal)
        defer { progress.finish() }
        try await forEachConcurrently(Array(queries.enumerated()), width: concurrency) { (index, query) throws(ConsoleError) in
            let started = ContinuousClock.now
            let embedded = try await client.json(.post, "/v1/embeddings", ["model": .string(model), "input": .string(query.text)])
            guard let vector = embedded["data"]?.array?.first?["embedding"] else { throw ConsoleError("the cluster embedded nothing") }
            var hits = try await nearest(vector, limit: 10, name, client)
            let milliseconds = started.duration(to: .now) / .milliseconds(1)
            let isPartial = hits.isPartial
            // Recall@100 wants a hundred documents, each by its best chunk: as deep as that takes, outside of the measured time.
            var limit = 400
            repeat {
                hits = try await nearest(vector, limit: limit, name, client)
                limit *= 5
            } while hits.documents.count < 100 && hits.count * 5 >= limit && limit <= 10_000
            answers.withLock { $0[index] = Answer(ranking: hits.documents, milliseconds: milliseconds, isPartial: isPartial || hits.isPartial) }
            progress.advance()
        }
        return answers.withLock { $0 }
    }

    private func nearest(
        _ vector: JSONValue, limit: Int, _ name: String, _ client: CoveyClient
    ) async throws(ConsoleError) -> (documents: [String], count: Int, isPartial: Bool) {
        var body: [String: JSONValue] = ["query": vector, "limit": .integer(Int64(limit)), "with_payload": [.string(Chunk.Key.document)]]
        var params: [String: JSONValue] = [:]
        if exact { params["exact"] = true }
        if let targetRecall { params["target_recall"] = .number(targetRecall) }
        if let candidates { params["hnsw_ef"] = .integer(Int64(candidates)) }
        if !params.isEmpty { body["params"] = .object(params) }
        let answer = try await client.json(.post, try client.collection(name) + "/points/query", .object(body))
        let hits = answer["result"]?["points"]?.array ?? []
        var seen: Set<String> = []
        let documents = hits.compactMap { $0["payload"]?[Chunk.Key.document]?.string }.filter { seen.insert($0).inserted }
        return (documents, hits.count, answer["covey"]?["coverage"]?["complete"]?.bool == false)
    }
}

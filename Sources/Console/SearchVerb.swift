import Model

/// `covey search "…"`: the chunks nearest to a text.
package struct SearchVerb: Sendable {
    package var query: String
    package var collection: String
    /// 1…50.
    package var limit = 10
    package var exact = false
    /// Coarse lists probed and candidates rescored per segment; `nil` for the cluster's defaults.
    package var probes: Int?
    package var candidates: Int?
    /// Share of the true best that is wanted on average; `nil` for the cluster's default.
    package var targetRecall: Double?
    package var wholeOnly = false
    package var json = false

    package init(query: String, collection: String) {
        self.query = query
        self.collection = collection
    }

    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        var covey: [String: JSONValue] = [:]
        if exact { covey["exact"] = true }
        if let probes { covey["probes"] = .integer(Int64(probes)) }
        if let targetRecall { covey["target_recall"] = .number(targetRecall) }
        if let candidates { covey["candidates"] = .integer(Int64(candidates)) }
        if wholeOnly { covey["partial"] = "fail" }
        var body: [String: JSONValue] = ["query": .string(query), "max_num_results": .integer(Int64(limit))]
        if !covey.isEmpty { body["covey"] = .object(covey) }
        let answer = try await client.json(.post, try client.store(collection) + "/search", .object(body))
        if json {
            terminal.print(String(decoding: answer.serialized(), as: UTF8.self))
            return 0
        }
        let hits = answer["data"]?.array ?? []
        for (rank, hit) in hits.enumerated() {
            let score = ((hit["score"]?.double ?? 0) * 10_000).rounded() / 10_000
            terminal.print("\(rank + 1). \(score)  \(hit["covey"].map { SourceLine($0).text } ?? hit["filename"]?.string ?? "?")")
            let text = (hit["content"]?.array ?? []).compactMap { $0["text"]?.string }.joined(separator: " ")
            terminal.print("   " + SearchVerb.excerpt(text, width: max(40, terminal.width - 4)))
        }
        if hits.isEmpty { terminal.note("nothing found in \(collection)") }
        if let coverage = answer["covey"]?["coverage"] { CoverageNote(coverage).note(on: terminal) }
        return 0
    }

    /// The beginning of a text on one line.
    static func excerpt(_ text: String, width: Int) -> String {
        let line = Terminal.harmless(text.split(whereSeparator: \.isWhitespace).joined(separator: " "))
        return line.count <= width ? line : line.prefix(width - 1) + "…"
    }
}

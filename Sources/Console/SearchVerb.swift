import Model

/// `covey search "…"`: the chunks nearest to a text.
package struct SearchVerb: Sendable {
    package var query: String
    package var collection: String
    /// 1…50.
    package var limit = 10
    package var effort = SearchEffort()
    package var wholeOnly = false
    package var json = false

    package init(query: String, collection: String) {
        self.query = query
        self.collection = collection
    }

    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        var covey: [String: JSONValue] = [:]
        effort.add(to: &covey)
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

extension SearchEffort {
    /// What a request says under `covey` about it; nothing for what is left to the cluster.
    func add(to covey: inout [String: JSONValue]) {
        if exact { covey["exact"] = true }
        if let targetRecall { covey["target_recall"] = .number(targetRecall) }
        if let probes { covey["probes"] = .integer(Int64(probes)) }
        if let candidates { covey["candidates"] = .integer(Int64(candidates)) }
    }
}

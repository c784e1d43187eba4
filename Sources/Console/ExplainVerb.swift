import Model

/// `covey explain "…" ID`: where a search for a text left a point.
package struct ExplainVerb: Sendable {
    package var query: String
    package var collection: String
    package var ids: [PointID]
    /// 1…50.
    package var limit = 10
    package var effort = SearchEffort()
    package var json = false

    package init(query: String, collection: String, ids: [PointID]) {
        self.query = query
        self.collection = collection
        self.ids = ids
    }

    /// - Returns: 1 if one of the points is not in the result.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        var covey: [String: JSONValue] = ["explain": .array(ids.map(Self.json))]
        effort.add(to: &covey)
        let body: [String: JSONValue] = ["query": .string(query), "max_num_results": .integer(Int64(limit)), "covey": .object(covey)]
        let answer = try await client.json(.post, try client.store(collection) + "/search", .object(body))
        guard let explanations = answer["covey"]?["explanations"]?.array else {
            throw ConsoleError("\(client.url) explains nothing: it is older than this program")
        }
        if json {
            terminal.print(String(decoding: JSONValue.array(explanations).serialized(), as: UTF8.self))
        } else {
            for explanation in explanations { Self.lines(explanation, limit: limit).forEach { terminal.print(Terminal.harmless($0)) } }
        }
        return explanations.allSatisfy { $0["step"] == "hit" } ? 0 : 1
    }

    private static func json(_ id: PointID) -> JSONValue {
        if case .integer(let value) = id, let small = Int64(exactly: value) { return .integer(small) }
        return .string("\(id)")
    }

    /// What is known of one point, the conclusion first.
    static func lines(_ explanation: JSONValue, limit: Int) -> [String] {
        let id = explanation["id"].map { $0.string ?? String(decoding: $0.serialized(), as: UTF8.self) } ?? "?"
        var lines = ["\(id): \(conclusion(explanation, limit: limit))"]
        func row(_ name: String, _ text: String) { lines.append("  " + name.padded(to: 10) + text) }
        let index = explanation["index"]
        if let shard = explanation["shard"]?.integer {
            let segment = explanation["segment"]?.integer.map { "segment \($0) of " } ?? ""
            row("where", "\(segment)shard \(shard) on node \(explanation["node"]?.string ?? "?")")
        }
        if let index {
            row("region", "\(index["region"]?.integer ?? 0), ranked \(rank(index["region_rank"]))")
            let probed = index["lists_probed"]?.integer ?? 0
            row("list", "\(index["list"]?.integer ?? 0), ranked \(rank(index["list_rank"])); \(probed) were probed, this one \(index["probed"] == true ? "too" : "not")")
            if let code = index["code"] { row("codes", "ranked \(rank(code)) rows scanned") }
            if let bytes = index["bytes"] { row("bytes", "ranked \(rank(bytes)) candidates; \(index["rescored"]?.integer ?? 0) were scored exactly") }
        }
        if let score = explanation["score"]?.double {
            let order = explanation["exact"].map { ", ranked \(rank($0)) points of its shard that the search admits" } ?? ""
            row("exactly", "score \((score * 10_000).rounded() / 10_000)\(order)")
        }
        return lines
    }

    private static func rank(_ value: JSONValue?) -> String { "\(value?["rank"]?.integer ?? 0) of \(value?["of"]?.integer ?? 0)" }

    private static func conclusion(_ explanation: JSONValue, limit: Int) -> String {
        switch explanation["step"]?.string.flatMap(SearchStep.init(rawValue:)) {
        case .hit: "in the result, at place \(explanation["place"]?.integer ?? 0)"
        case .unknown: "not in the collection"
        case .deleted: "deleted"
        case .unreadable: "not found, but a part of its shard cannot be read: see covey status"
        case .shard: "its shard did not answer: \(explanation["reason"]?.string ?? "?")"
        case .filter: "refused by the filter"
        case .list: "not found: its list was not probed; more probes would reach it"
        case .code: "not found: its codes rank too low; more candidates would keep it"
        case .bytes: "not in the result: its bytes show that \(limit) others are nearer"
        case .rank: "not in the result: others of its shard are nearer"
        case .scoreThreshold: "not in the result: its score is below the threshold"
        case .merge: "not in the result: others of other shards are nearer"
        case .duplicate: "not in the result: a better hit has the same text"
        case .offset: "before the first hit asked for, at place \(explanation["place"]?.integer ?? 0)"
        case .changed: "found, but changed while the search ran"
        case nil: "step \(explanation["step"]?.string ?? "?"), which this program does not know"
        }
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}

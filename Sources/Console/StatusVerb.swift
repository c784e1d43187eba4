import Model

/// `covey status`: whether the cluster serves, its nodes, and what its collections hold.
package struct StatusVerb: Sendable {
    /// One collection only; `nil` for all.
    package var collection: String?
    package var json = false

    package init(collection: String? = nil) { self.collection = collection }

    /// - Returns: The exit status: 0 if everything is reachable and undamaged, 1 otherwise.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let (status, words) = try await client.text("/readyz")
        let readiness = words.split(separator: "\n").first.map(String.init) ?? "status \(status)"
        var names: [String] = []
        if let collection {
            names = [collection]
        } else {
            let list = try await client.json(.get, "/collections")
            names = (list["result"]?["collections"]?.array ?? []).compactMap { $0["name"]?.string }
        }
        var collections: [(name: String, state: JSONValue)] = []
        for name in names {
            do throws(ConsoleError) {
                let state = try await client.json(.get, try client.collection(name))["result"] ?? .null
                collections.append((name, state))
            } catch {
                // A collection none of whose shards answers is a finding, not the end of the report.
                guard collection == nil, error.status != nil else { throw error }
                collections.append((name, ["error": .string(error.description)]))
            }
        }
        let isHealthy = status == 200 && collections.allSatisfy { $0.state["status"]?.string == "green" }
        if json {
            let states = Dictionary(collections.map { ($0.name, $0.state) }) { first, _ in first }
            let report: JSONValue = ["url": .string(client.url), "ready": .bool(status == 200), "readiness": .string(readiness), "collections": .object(states)]
            terminal.print(String(decoding: report.serialized(), as: UTF8.self))
        } else {
            show(readiness, collections, client, terminal)
        }
        return isHealthy ? 0 : 1
    }

    private func show(_ readiness: String, _ collections: [(name: String, state: JSONValue)], _ client: CoveyClient, _ terminal: Terminal) {
        terminal.print("\(client.url): \(Terminal.harmless(readiness))")
        let nodes = StatusVerb.nodes(collections.map(\.state))
        if !nodes.isEmpty { terminal.print("\nnodes") }
        for node in nodes { terminal.print("  \(node.name): \(node.shards) shards, \(node.points) points\(node.trouble.map { " — \($0)" } ?? "")") }
        if collections.isEmpty { terminal.print("\nno collections yet: covey ingest FOLDER --collection NAME makes one") }
        for (name, state) in collections {
            terminal.print("\n\(name)")
            if let error = state["error"]?.string {
                terminal.print("  \(Terminal.harmless(error))")
                continue
            }
            func number(_ value: JSONValue?) -> Int64 { value?.integer ?? 0 }
            let covey = state["covey"]
            terminal.print(
                "  \(number(state["points_count"])) points: \(number(covey?["points_by_code"])) searched by code, \(number(covey?["points_exactly"])) exactly; "
                    + "\(number(state["segments_count"])) segments")
            terminal.print(
                "  \(number(covey?["shards_answered"])) of \(number(covey?["shards_asked"])) shards answer; "
                    + "\(StatusVerb.size(number(covey?["index_bytes"]))) in memory, \(StatusVerb.size(number(covey?["file_bytes"]))) in files")
            for shard in covey?["shards"]?.array ?? [] {
                guard let share = shard["sealing"]?.double else { continue }
                terminal.print("  sealing: shard \(number(shard["shard"])) on node \(shard["node"]?.string ?? "?"), \(Int(100 * share)) %")
            }
            if let line = StatusVerb.codes(covey?["shards"]?.array ?? []) { terminal.print("  codes: \(line)") }
            for gap in covey?["gaps"]?.array ?? [] {
                let reason = Terminal.harmless(gap["reason"]?.string ?? "?")
                terminal.print("  missing: shard \(number(gap["shard"])) on node \(gap["node"]?.string ?? "?"): \(reason)")
            }
            for file in (covey?["damaged"]?.array ?? []).compactMap(\.string) { terminal.print("  damaged: \(Terminal.harmless(file))") }
        }
    }

    struct Node: Hashable {
        var name: String
        var shards = 0
        var points: Int64 = 0
        var trouble: String?
    }

    /// What the collections say about nodes, in the order of names.
    static func nodes(_ states: [JSONValue]) -> [Node] {
        var nodes: [String: Node] = [:]
        for state in states {
            for shard in state["covey"]?["shards"]?.array ?? [] {
                guard let name = shard["node"]?.string else { continue }
                nodes[name, default: Node(name: name)].shards += 1
                nodes[name, default: Node(name: name)].points += shard["points"]?.integer ?? 0
            }
            for gap in state["covey"]?["gaps"]?.array ?? [] {
                guard let name = gap["node"]?.string else { continue }
                nodes[name, default: Node(name: name)].trouble = Terminal.harmless(gap["reason"]?.string ?? "does not answer")
            }
        }
        return nodes.values.sorted { $0.name < $1.name }
    }

    /// How well codes fit, of the shard where they fit new points worst; `nil` where nothing is searched by code.
    private static func codes(_ shards: [JSONValue]) -> String? {
        func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }
        let errors = shards.compactMap { shard in shard["quantization_error"]?.double.map { (shard: shard, error: $0) } }
        guard let worst = errors.max(by: { ($0.shard["drift"]?.double ?? 0, $0.error) < ($1.shard["drift"]?.double ?? 0, $1.error) }) else { return nil }
        let words = "quantization error \(rounded(worst.error))"
        guard let new = worst.shard["new_points_error"]?.double, let drift = worst.shard["drift"]?.double else { return words }
        return "\(words); of new points \(rounded(new)), \(rounded(drift)) times as much (shard \(worst.shard["shard"]?.integer ?? 0))"
    }

    static func size(_ bytes: Int64) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1_024 { return unit == "B" ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(unit)" }
            value /= 1_024
        }
        return "\((value * 10).rounded() / 10) TiB"
    }
}

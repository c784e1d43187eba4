import Model

/// `covey seal`: builds the index over everything written so far; returns when it serves.
package struct SealVerb: Sendable {
    package var collection: String
    package var json = false
    package init(collection: String) { self.collection = collection }

    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let started = ContinuousClock.now
        let answer = try await client.seal(collection)
        if json {
            terminal.print(String(decoding: answer.serialized(), as: UTF8.self))
            return 0
        }
        let shards = answer["covey"]?["shards"]?.array ?? []
        let points = shards.reduce(0) { $0 + ($1["points"]?.integer ?? 0) }
        let segments = shards.reduce(0) { $0 + ($1["segments"]?.integer ?? 0) }
        let seconds = ((started.duration(to: .now) / .seconds(1)) * 10).rounded() / 10
        terminal.print("\(collection): sealed, \(points) points in \(segments) segments of \(shards.count) shards; \(seconds) s")
        return 0
    }
}

/// `covey split`: divides a shard in two while it is read and written.
package struct SplitVerb: Sendable {
    package var collection: String
    package var shard: Int
    package var isDry = false
    package var json = false
    package init(collection: String, shard: Int) {
        self.collection = collection
        self.shard = shard
    }

    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let answer = try await client.reshape(collection, shard: shard, .split, isDry: isDry)
        if json {
            terminal.print(String(decoding: answer.serialized(), as: UTF8.self))
            return 0
        }
        let halves = (answer["result"]?["shards"]?.array ?? []).compactMap { $0["shard"]?.integer }.map(String.init).joined(separator: " and ")
        if isDry {
            terminal.print("\(collection): shard \(shard) of \(answer["result"]?["points"]?.integer ?? 0) points would become shards \(halves)")
            for half in answer["result"]?["shards"]?.array ?? [] {
                let nodes = (half["nodes"]?.array ?? []).compactMap(\.string).joined(separator: ", ")
                terminal.print("  shard \(half["shard"]?.integer ?? 0) on \(nodes)")
            }
        } else {
            terminal.print("\(collection): shards \(halves) took the place of shard \(shard)")
        }
        return 0
    }
}

/// `covey merge`: unites two halves of a shard again.
package struct MergeVerb: Sendable {
    package var collection: String
    package var shard: Int
    package var isDry = false
    package var json = false
    package init(collection: String, shard: Int) {
        self.collection = collection
        self.shard = shard
    }

    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let answer = try await client.reshape(collection, shard: shard, .merge, isDry: isDry)
        if json {
            terminal.print(String(decoding: answer.serialized(), as: UTF8.self))
            return 0
        }
        let halves = (answer["result"]?["merged"]?.array ?? []).compactMap(\.integer).map(String.init).joined(separator: " and ")
        let shard = answer["result"]?["shard"]?.integer ?? 0
        if isDry {
            terminal.print("\(collection): shards \(halves) of \(answer["result"]?["points"]?.integer ?? 0) points would become shard \(shard)")
            terminal.print("  shard \(shard) on \((answer["result"]?["nodes"]?.array ?? []).compactMap(\.string).joined(separator: ", "))")
        } else {
            terminal.print("\(collection): shard \(shard) took the place of shards \(halves)")
        }
        return 0
    }
}

/// `covey documents list|delete`.
package struct DocumentsVerb: Sendable {
    package enum Action: Sendable {
        case list
        /// By name in the collection.
        case delete([String])
    }
    package var collection: String
    package var action: Action
    package var json = false

    package init(collection: String, action: Action) {
        self.collection = collection
        self.action = action
    }

    /// - Returns: The exit status: 1 if a document to be deleted is not there.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let documents = try await client.documents(of: collection)
        switch action {
        case .list:
            list(documents, terminal)
            return 0
        case .delete(let names):
            let known = Dictionary(documents.map { ($0.name, $0) }) { _, last in last }
            var missing = 0
            for name in names {
                guard let document = known[name] else {
                    terminal.note("\(collection) has no document \"\(name)\"")
                    missing += 1
                    continue
                }
                let answer = try await client.json(.delete, try client.store(collection) + "/files/\(document.fileID)")
                terminal.print(json ? String(decoding: answer.serialized(), as: UTF8.self) : "deleted \(name)")
            }
            return missing == 0 ? 0 : 1
        }
    }

    private func list(_ documents: [RemoteDocument], _ terminal: Terminal) {
        let sorted = documents.sorted { $0.name < $1.name }
        if json {
            let list: [JSONValue] = sorted.map { document in
                [
                    "document": .string(document.name), "title": .string(document.title), "file_id": .string(document.fileID),
                    "sha256": .string(document.sha256), "chunks": document.chunks.map { .integer(Int64($0)) } ?? .null,
                    "bytes": document.bytes.map { .integer(Int64($0)) } ?? .null, "created_at": document.createdAt.map(JSONValue.integer) ?? .null,
                ]
            }
            return terminal.print(String(decoding: JSONValue.array(list).serialized(), as: UTF8.self))
        }
        for document in sorted {
            var line = Terminal.harmless(document.name)
            if !document.title.isEmpty, document.title != document.name { line += " — \(Terminal.harmless(document.title))" }
            if let chunks = document.chunks { line += " (\(chunks) chunks)" }
            terminal.print(line)
        }
        if sorted.isEmpty { terminal.note("\(collection) has no documents") }
    }
}

/// `covey collections list|create|delete`.
package struct CollectionsVerb: Sendable {
    package enum Action: Sendable {
        case list
        /// For documents; with a dimension, for vectors that the caller brings.
        case create(String, dimension: Int?, distance: String, datatype: String? = nil, shards: Int?)
        case delete(String)
    }
    package var action: Action
    package var json = false
    package init(action: Action) { self.action = action }

    /// - Returns: The exit status: 1 if a collection to be deleted is not there.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let answer: JSONValue
        var status: Int32 = 0
        var words: [String] = []
        switch action {
        case .list:
            answer = try await client.json(.get, "/collections")
            words = (answer["result"]?["collections"]?.array ?? []).compactMap { $0["name"]?.string }
        case .create(let name, nil, _, let datatype, let shards):
            guard datatype == nil else { throw ConsoleError("--datatype needs --dimension: a collection for documents has float32") }
            guard shards == nil else { throw ConsoleError("--shards needs --dimension: a collection for documents has one shard per node") }
            _ = try client.store(name)  // checks the name
            answer = try await client.json(.post, "/v1/vector_stores", ["name": .string(name)])
            words = ["created \(name)"]
        case .create(let name, let dimension?, let distance, let datatype, let shards):
            var vectors: [String: JSONValue] = ["size": .integer(Int64(dimension)), "distance": .string(distance)]
            if let datatype { vectors["datatype"] = .string(datatype) }
            var body: [String: JSONValue] = ["vectors": .object(vectors)]
            if let shards { body["shard_number"] = .integer(Int64(shards)) }
            answer = try await client.json(.put, try client.collection(name), .object(body))
            words = ["created \(name)"]
        case .delete(let name):
            answer = try await client.json(.delete, try client.collection(name), timeout: .seconds(600))
            let existed = answer["result"]?.bool == true
            words = existed ? ["deleted \(name)"] : []
            if !existed {
                terminal.note("there is no collection \"\(name)\"")
                status = 1
            }
        }
        if json { terminal.print(String(decoding: answer.serialized(), as: UTF8.self)) } else { for line in words { terminal.print(line) } }
        return status
    }
}

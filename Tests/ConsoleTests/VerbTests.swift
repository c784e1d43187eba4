import Console
import Foundation
import Model
import OutboundHTTP
import Synchronization
import TestServers
import Testing

@Suite("Client verbs") struct VerbTests {
    /// A folder with these files, deleted by whoever made it.
    private func folder(_ files: [String: String]) throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appending(path: "console-\(UInt64.random(in: 0...UInt64.max))")
        for (name, text) in files {
            let file = folder.appending(path: name)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return folder
    }

    @Test("without a server the verbs say how to start one")
    func nobodyThere() async throws {
        let server = try await StubServer { _ in .init([:]) }
        await server.stop()
        let error = await #expect(throws: ConsoleError.self) {
            try await SealVerb(collection: "docs").run(CoveyClient(url: server.url), Screen().terminal())
        }
        #expect(error?.description.hasPrefix("no Covey answers at \(server.url): start one with cluster/demo or `covey serve`") == true)
    }

    @Test("a refusal is told in the cluster's words, with the request's id", arguments: [
        (#"{"error":{"message":"no vector store \"docs\"","request_id":"r1"}}"#, 404, "no vector store \"docs\" (request r1)"),
        (#"{"status":{"error":"limit must be 1…10, found 99"},"request_id":"r2"}"#, 400, "limit must be 1…10, found 99 (request r2)"),
        (#"{"error":{"message":"no key"}}"#, 401, "no key: give one with --api-key or COVEY_API_KEY"),
    ])
    func refusals(body: String, status: Int, words: String) async throws {
        let server = try await StubServer { _ in .init(text: body, status: status) }
        let error = await #expect(throws: ConsoleError.self) {
            try await SearchVerb(query: "q", collection: "docs").run(CoveyClient(url: server.url), Screen().terminal())
        }
        #expect(error?.description == words && error?.status == status)
        await server.stop()
    }

    @Test("a collection's name is checked before it becomes part of a path")
    func names() async throws {
        await #expect(throws: ConsoleError.self) {
            try await SealVerb(collection: "../x?y").run(CoveyClient(url: "http://127.0.0.1:1"), Screen().terminal())
        }
    }

    @Test("ingest sends what is new or changed, skips what is there, reports what is refused")
    func ingest() async throws {
        let folder = try folder(["a.md": "alpha", "sub/b.txt": "beta", "bad.md": "bad", "c.bin": "\0"])
        defer { try? FileManager.default.removeItem(at: folder) }
        let alpha = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
        let known: JSONValue = [
            ["id": "file-a", "attributes": ["document": "a.md", "sha256": .string(alpha)]],
            ["id": "file-b", "attributes": ["document": "sub/b.txt", "sha256": "old"]],
        ]
        let server = try await StubServer { request in
            switch (request.method, request.path) {
            case ("GET", "/v1/vector_stores/docs"): .init(["error": ["message": "none"]], status: 404)
            case ("POST", "/v1/vector_stores"): .init(["id": "docs"])
            case ("GET", _): .init(["data": known, "has_more": false])
            case ("POST", "/v1/files"):
                String(decoding: request.body, as: UTF8.self).contains("filename=\"bad.md\"")
                    ? .init(["error": ["message": "bad.md is not text"]], status: 400) : .init(["id": "file-new"])
            default: .init(["id": "file-new", "status": "completed"])
            }
        }
        let screen = Screen()
        let status = try await IngestVerb(paths: [folder.path], collection: "docs").run(CoveyClient(url: server.url), screen.terminal())
        #expect(status == 1)
        #expect(screen.output.hasPrefix("docs: 0 added, 1 changed, 1 unchanged, 1 failed, 1 files of other formats"))
        #expect(screen.notices.contains("failed \(folder.path)/bad.md: bad.md is not text\n"))
        #expect(screen.notices.contains("3 of 3 documents"))
        let attached = server.requests.filter { $0.path == "/v1/vector_stores/docs/files" && $0.method == "POST" }
        #expect(attached.count == 1 && attached[0].json?["attributes"]?["document"]?.string == "sub/b.txt")
        #expect(attached[0].json?["attributes"]?["sha256"]?.string?.count == 64)
        await server.stop()
    }

    @Test("a busy cluster is asked again")
    func busy() async throws {
        let calls = Mutex(0)
        let server = try await StubServer { _ in
            let call = calls.withLock { $0 += 1; return $0 }
            return call == 1 ? .init(["error": ["message": "busy"]], status: 429, headers: "retry-after: 0\r\n") : .init(["result": true])
        }
        #expect(try await CollectionsVerb(action: .delete("docs")).run(CoveyClient(url: server.url), Screen().terminal()) == 0)
        await server.stop()
    }

    private static let streamed = """
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}

        data: {"choices":[{"index":0,"delta":{"content":"Use dpkg -S [1]."}}]}

        data: {"choices":[{"index":0,"delta":{"covey":{"sources":[{"number":1,"document":"ch02.html","title":"Packages","headings":["Packages","Files"],"start":5,"end":90,"in_prompt":true},{"number":2,"document":"x","title":"x","start":0,"end":1,"in_prompt":true}],"citations":[{"source":1}],"coverage":{"complete":false,"shards_asked":4,"shards_answered":3,"points_searched":30,"points_held":40,"gaps":[{"shard":2,"node":"shard-3","reason":"connection refused"}]}}},"finish_reason":"stop"}]}

        data: [DONE]


        """

    @Test("an answer is shown as it comes, then its cited sources and what was not searched")
    func ask() async throws {
        let server = try await StubServer { _ in .init(text: Self.streamed, contentType: "text/event-stream") }
        let screen = Screen()
        #expect(try await AskVerb(question: "which package?", options: QuestionOptions(collection: "docs")).run(CoveyClient(url: server.url), screen.terminal()) == 0)
        #expect(screen.output == "Use dpkg -S [1].\n\nSources:\n  [1] Packages › Files — ch02.html, bytes 5–90\n")
        #expect(screen.notices == "partial: 3 of 4 shards answered, 30 of 40 points searched\n  shard 2 on node shard-3: connection refused\n")
        let body = server.requests[0].json
        #expect(body?["model"]?.string == "docs" && body?["stream"]?.bool == true)
        #expect(body?["messages"]?.array?.last?["content"]?.string == "which package?")
        await server.stop()
    }

    @Test("a conversation takes its earlier turns along, and ends with the input")
    func chat() async throws {
        let server = try await StubServer { request in
            request.path.hasSuffix("completions") ? .init(text: Self.streamed, contentType: "text/event-stream") : .init(["id": "docs"])
        }
        let lines = Mutex(["first", "", "second"])
        let screen = Screen()
        let status = try await ChatVerb(options: QuestionOptions(collection: "docs")).run(
            CoveyClient(url: server.url), screen.terminal(), interrupts: Interrupts(handlesSignal: false),
            nextLine: { lines.withLock { $0.isEmpty ? nil : $0.removeFirst() } })
        #expect(status == 0)
        let asked = server.requests.filter { $0.path.hasSuffix("completions") }.map { $0.json?["messages"]?.array?.compactMap { $0["content"]?.string } ?? [] }
        #expect(asked == [["first"], ["first", "Use dpkg -S [1].", "second"]])
        await server.stop()
    }

    @Test("Ctrl-C at the prompt leaves the conversation")
    func interruption() async throws {
        let server = try await StubServer { _ in .init(["id": "docs"]) }
        let interrupts = Interrupts(handlesSignal: false)
        let status = try await ChatVerb(options: QuestionOptions(collection: "docs")).run(
            CoveyClient(url: server.url), Screen().terminal(), interrupts: interrupts,
            nextLine: {
                interrupts.interrupt()
                return "too late"
            })
        #expect(status == 0)
        #expect(!server.requests.contains { $0.path.hasSuffix("completions") })
        await server.stop()
    }

    @Test("Ctrl-C leaves the conversation as soon as the prompt is to be seen")
    func earlyInterruption() async throws {
        let server = try await StubServer { request in
            request.path.hasSuffix("completions") ? .init(text: Self.streamed, contentType: "text/event-stream") : .init(["id": "docs"])
        }
        let interrupts = Interrupts(handlesSignal: false)
        let terminal = Terminal(isWatched: true, output: { _ in }, notice: { if $0.hasSuffix("> ") { interrupts.interrupt() } })
        let lines = Mutex(["too late"])
        let status = try await ChatVerb(options: QuestionOptions(collection: "docs")).run(
            CoveyClient(url: server.url), terminal, interrupts: interrupts, nextLine: { lines.withLock { $0.popLast() } })
        #expect(status == 0)
        #expect(!server.requests.contains { $0.path.hasSuffix("completions") })
        await server.stop()
    }

    @Test("status tells of collections, nodes and gaps, and its exit status of trouble")
    func status() async throws {
        let state: JSONValue = [
            "result": [
                "status": "yellow", "points_count": 30, "segments_count": 3,
                "covey": [
                    "points_by_code": 20, "points_exactly": 10, "shards_asked": 2, "shards_answered": 1, "index_bytes": 2_048, "file_bytes": 10,
                    "damaged": [], "shards": [["shard": 0, "node": "shard-1", "points": 30, "sealing": 0.43, "quantization_error": 0.08, "new_points_error": 0.12, "drift": 1.5]],
                    "gaps": [["shard": 1, "node": "shard-2", "reason": "connection refused"]],
                ],
            ]
        ]
        let server = try await StubServer { request in
            switch request.path {
            case "/readyz": .init(text: "ready\n")
            case "/collections": .init(["result": ["collections": [["name": "docs"]]]])
            default: .init(state)
            }
        }
        let screen = Screen()
        #expect(try await StatusVerb().run(CoveyClient(url: server.url), screen.terminal()) == 1)
        for line in [
            "\(server.url): ready", "  shard-1: 1 shards, 30 points", "  shard-2: 0 shards, 0 points — connection refused",
            "  30 points: 20 searched by code, 10 exactly; 3 segments", "  1 of 2 shards answer; 2.0 KiB in memory, 10 B in files",
            "  missing: shard 1 on node shard-2: connection refused", "  sealing: shard 0 on node shard-1, 43 %",
            "  codes: quantization error 0.08; of new points 0.12, 1.5 times as much (shard 0)",
        ] { #expect(screen.output.contains(line + "\n"), "no line \(line)") }
        await server.stop()
    }

    @Test("an evaluation loads, seals, asks the judged queries only, and ranks documents by their best chunk")
    func evaluation() async throws {
        let folder = try folder([
            "corpus.jsonl": #"{"_id":"d/1","title":"A & B","text":"one < two\n\nthree"}"# + "\n" + #"{"_id":"d2","title":"","text":"x"}"# + "\n",
            "queries.jsonl": #"{"_id":"q1","text":"first?"}"# + "\n" + #"{"_id":"q2","text":"not judged"}"# + "\n",
            "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td/1\t1\n",
        ])
        defer { try? FileManager.default.removeItem(at: folder) }
        let server = try await StubServer { request in
            let path = request.path
            if path == "/v1/files" { return .init(["id": "f"]) }
            if path == "/v1/embeddings" { return .init(["data": [["embedding": [1, 0]]]]) }
            if path.hasSuffix("/points/query") {
                let points: JSONValue = [["payload": ["document": "d2"]], ["payload": ["document": "d/1"]], ["payload": ["document": "d2"]]]
                return .init(["result": ["points": points], "covey": ["coverage": ["complete": true]]])
            }
            if path.contains("/files") { return .init(request.method == "GET" ? ["data": [], "has_more": false] : ["id": "f", "status": "completed"]) }
            if path.hasPrefix("/v1/vector_stores/") { return .init(["covey": ["embedding_model": "m"]]) }
            return .init(["result": ["points_count": 2, "covey": ["points_by_code": 2]]])
        }
        let screen = Screen()
        #expect(try await EvalVerb(folder: folder.path).run(CoveyClient(url: server.url), screen.terminal()) == 0)
        let result = try JSONValue(parsing: Array(screen.output.utf8))
        #expect(result["queries"]?.integer == 1 && result["documents"]?.integer == 2)
        #expect(result["recall@1"]?.double == 0 && result["recall@5"]?.double == 1 && result["mrr@10"]?.double == 0.5)
        #expect(result["ndcg@10"]?.double == 0.6309)
        let uploads = server.requests.filter { $0.path == "/v1/files" }.map { String(decoding: $0.body, as: UTF8.self) }
        #expect(uploads.contains { $0.contains("<title>A &amp; B</title>") && $0.contains("<p>one &lt; two</p>\n<p>three</p>") })
        #expect(server.requests.contains { $0.method == "PATCH" })
        #expect(server.requests.last?.method == "DELETE")
        await server.stop()
    }

    @Test("an explanation begins with the step, and shows the ranks that the point got to")
    func explain() async throws {
        let server = try await StubServer { _ in
            .init(["data": [], "covey": ["explanations": [
                [
                    "id": "7f3a0000-0000-4000-8000-000000000001", "step": "code", "shard": 2, "node": "shard-3", "segment": 0, "score": 0.61234,
                    "exact": ["rank": 4, "of": 900],
                    "index": [
                        "region": 3, "region_rank": ["rank": 2, "of": 40], "list": 77, "list_rank": ["rank": 9, "of": 120], "lists_probed": 64,
                        "probed": true, "code": ["rank": 131, "of": 800], "rescored": 12,
                    ],
                ],
                ["id": 18, "step": "shard", "shard": 1, "node": "shard-2", "reason": "unavailable: gone"],
            ]]])
        }
        var verb = ExplainVerb(query: "q", collection: "docs", ids: [PointID(uuid: "7f3a0000-0000-4000-8000-000000000001")!, .integer(18)])
        verb.effort.candidates = 100
        let screen = Screen()
        #expect(try await verb.run(CoveyClient(url: server.url), screen.terminal()) == 1)
        #expect(screen.output == """
            7f3a0000-0000-4000-8000-000000000001: not found: its codes rank too low; more candidates would keep it
              where     segment 0 of shard 2 on node shard-3
              region    3, ranked 2 of 40
              list      77, ranked 9 of 120; 64 were probed, this one too
              codes     ranked 131 of 800 rows scanned
              exactly   score 0.6123, ranked 4 of 900 points of its shard that the search admits
            18: its shard did not answer: unavailable: gone
              where     shard 1 on node shard-2

            """)
        #expect(server.requests[0].json?["covey"] == ["explain": ["7f3a0000-0000-4000-8000-000000000001", 18], "candidates": 100])
        await server.stop()
    }

    @Test("the same options as JSON are what scripts read")
    func json() async throws {
        let server = try await StubServer { _ in .init(["data": [], "covey": ["coverage": ["complete": true]]]) }
        var verb = SearchVerb(query: "q", collection: "docs")
        verb.json = true
        verb.effort.exact = true
        verb.wholeOnly = true
        let screen = Screen()
        #expect(try await verb.run(CoveyClient(url: server.url, apiKey: "k"), screen.terminal()) == 0)
        #expect(screen.output == "{\"covey\":{\"coverage\":{\"complete\":true}},\"data\":[]}\n")
        #expect(server.requests[0].json?["covey"] == ["exact": true, "partial": "fail"])
        #expect(server.requests[0].head.lowercased().contains("authorization: bearer k"))
        await server.stop()
    }
}

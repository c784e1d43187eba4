import Foundation
import Generation
import Model
import OutboundHTTP
import TestServers
import Testing

@Suite struct RemoteLanguageModelTests {
    private static let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    private static func delta(_ text: String, finish: String? = nil) -> String {
        let reason = finish.map { "\"\($0)\"" } ?? "null"
        return "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\(text)\"},\"finish_reason\":\(reason)}]}\n\n"
    }
    private static let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}\n\n"
    private static let done = "data: [DONE]\n\n"
    private static func status(_ status: String, headers: String = "", body: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\(headers)\r\n\(body)"
    }

    /// A server that answers each request with the next of `scripts` and then closes the connection.
    private func server(_ scripts: [String]...) async throws -> StubServer { try await StubServer(scripts.map { .init(raw: $0.joined()) }) }

    private let request = ModelRequest(messages: [ChatTurn(speaker: .user, text: "Say \"hi\"")], maximumTokens: 9, temperature: 0.5)

    private func model(_ server: StubServer, configure: (inout RemoteLanguageModel.Configuration) -> Void = { _ in }) -> RemoteLanguageModel {
        var configuration = RemoteLanguageModel.Configuration(
            endpoint: ModelEndpoint(base: server.url + "/v1", credential: .key("secret")), model: "tiny")
        configuration.retryDelay = .zero
        configure(&configuration)
        return RemoteLanguageModel(client: HTTPClient(), configuration: configuration)
    }

    private func collect(_ model: RemoteLanguageModel) async throws -> [ModelEvent] {
        var events: [ModelEvent] = []
        for try await event in model.generate(request) { events.append(event) }
        return events
    }

    @Test("streams text, reason and counts, and sends what the API wants")
    func streams() async throws {
        let server = try await server([Self.head, ": hello\n\n", Self.delta(""), Self.delta("Hé"), Self.delta("llo", finish: "length"), Self.usage, Self.done])
        let events = try await collect(model(server))
        #expect(events == [.text("Hé"), .text("llo"), .finished(reason: .length, usage: TokenUsage(promptTokens: 12, completionTokens: 3))])
        let sent = try #require(server.requests.first)
        #expect(sent.head.hasPrefix("POST /v1/chat/completions HTTP/1.1\r\n") && sent.head.contains("Authorization: Bearer secret"))
        let body = try JSONValue(parsing: sent.body)
        #expect(body["model"] == "tiny" && body["stream"] == true && body["max_tokens"] == 9 && body["temperature"] == 0.5)
        #expect(body["stream_options"] == ["include_usage": true])
        #expect(body["messages"] == [["role": "user", "content": "Say \"hi\""]])
    }

    @Test(
        "counts of tokens that cannot be are brought into bounds that can be added up",
        arguments: [("9223372036854775807", 1 << 40), ("-1", 0), ("-9223372036854775808", 0), ("12", 12)])
    func counts(sent: String, taken: Int) async throws {
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":\(sent),\"completion_tokens\":\(sent)}}\n\n"
        let server = try await server([Self.head, Self.delta("ok", finish: "stop"), usage, Self.done])
        #expect(try await collect(model(server)).last == .finished(reason: .stop, usage: TokenUsage(promptTokens: taken, completionTokens: taken)))
    }

    @Test("takes a stream that ends without [DONE]")
    func noDone() async throws {
        let server = try await server([Self.head, Self.delta("ok", finish: "stop")])
        #expect(try await collect(model(server)) == [.text("ok"), .finished(reason: .stop, usage: nil)])
    }

    @Test(
        "names each failure",
        arguments: [
            ([status("401 Unauthorized", body: "{\"error\":{\"message\":\"bad key\"}}")], ClusterError.Code.failedPrecondition, "API key (401): bad key"),
            ([status("404 Not Found", body: "{\"error\":{\"message\":\"no such model\"}}")], .failedPrecondition, "tiny not found"),
            ([status("400 Bad Request", body: "too long")], .invalidArgument, "refused the request (400): too long"),
            ([status("500 Oops", body: "boom")], .unavailable, "failed (500): boom"),
            ([head, "data: {broken\n\n"], .internal, "malformed stream: event 1"), ([head, "data: {\"x\":1}\n\n"], .internal, "event 1 has no choices"),
            ([head, "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n"], .unavailable, "out of memory"),
            ([head, delta("half")], .unavailable, "the stream ended after 1 events"),
            (["HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", delta("half")], .unavailable, "connection lost"),
        ] as [([String], ClusterError.Code, String)])
    func failures(script: [String], code: ClusterError.Code, message: String) async throws {
        let server = try await server(script)
        let error = await #expect(throws: ClusterError.self) { try await collect(model(server) { $0.retries = 0 }) }
        #expect(error?.code == code && error?.message.contains(message) == true, "\(String(describing: error))")
    }

    @Test("asks again after 429 and 503, as often as configured")
    func retries() async throws {
        let busy = Self.status("429 Too Many Requests", headers: "Retry-After: 0\r\n", body: "slow down")
        let answered = try await server([busy], [Self.status("503 Loading")], [Self.head, Self.delta("ok", finish: "stop"), Self.done])
        #expect(try await collect(model(answered)).first == .text("ok"))
        #expect(answered.requests.count == 3)
        let refused = try await server([busy], [busy], [busy])
        let error = await #expect(throws: ClusterError.self) { try await collect(model(refused)) }
        #expect(error?.code == .resourceExhausted && error?.message.contains("slow down") == true)
        #expect(refused.requests.count == 3)
    }

    @Test("a server that asks for a long wait is not asked again")
    func longRetryAfter() async throws {
        let server = try await server([Self.status("429 Too Many Requests", headers: "Retry-After: 3600\r\n")])
        let error = await #expect(throws: ClusterError.self) { try await collect(model(server)) }
        #expect(error?.code == .resourceExhausted && server.requests.count == 1)
    }

    @Test("a silent server runs into the timeout")
    func timeout() async throws {
        let server = try await StubServer([.init(raw: Self.head + Self.delta("so "), waitsForClient: true)])
        let error = await #expect(throws: ClusterError.self) { try await collect(model(server) { $0.timeout = .milliseconds(200) }) }
        #expect(error?.code == .deadlineExceeded)
    }

    @Test("no server is a clear error")
    func unreachable() async throws {
        let configuration = RemoteLanguageModel.Configuration(endpoint: ModelEndpoint(base: "http://127.0.0.1:1/v1"), model: "tiny")
        var quick = configuration
        quick.retryDelay = .zero
        let error = await #expect(throws: ClusterError.self) { try await collect(RemoteLanguageModel(client: HTTPClient(), configuration: quick)) }
        #expect(error?.code == .unavailable && error?.message.contains("no connection") == true)
    }

    @Test("a reader that stops closes the connection to the server")
    func cancellation() async throws {
        let server = try await StubServer([.init(raw: Self.head + Self.delta("one"), waitsForClient: true)])
        for try await _ in model(server).generate(request) { break }
        // The server notices within the transfer loop's next turn; the bound is for a test that fails.
        let deadline = ContinuousClock.now + .seconds(20)
        while !server.sawClientLeave, ContinuousClock.now < deadline { await Task.yield() }
        #expect(server.sawClientLeave)
    }
}

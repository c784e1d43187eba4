import Foundation
import OutboundHTTP
import TestServers
import Testing

@Suite("HTTP client", .enabled(if: PythonServer.isPossible, "no python3 for the test server"), .timeLimit(.minutes(2)))
struct HTTPClientTests {
    private let client = HTTPClient()
    private func url(_ path: String) -> String { testServer.base + path }

    private struct Echo: Decodable {
        var method: String
        var body: String
        var headers: [[String]]
        func header(_ name: String) -> String? { headers.first { $0[0] == name }?[1] }
    }

    @Test("sends method, headers and body as they are", arguments: ["POST", "PUT", "PATCH", "DELETE", "GET"], [0, 1, 100_000])
    func echo(method: String, size: Int) async throws {
        let method = try #require(HTTPRequest.Method(rawValue: method))
        let body = Array(repeating: UInt8(ascii: "b"), count: size)
        let response = try await client.send(HTTPRequest(method, url("/echo"), headers: ["X-One": "1", "X-None": ""], body: body))
        #expect(response.status == 200 && response.headers["x-answer"] == "yes" && response.headers["x-empty"] == "")
        let echo = try JSONDecoder().decode(Echo.self, from: Data(response.body))
        #expect(echo.method == method.rawValue && echo.body.utf8.count == size)
        #expect(echo.header("x-one") == "1" && echo.header("x-none") == "" && echo.header("expect") == nil)
    }

    @Test("any status is a response; a redirect is not followed", arguments: [204, 302, 404, 429, 500, 503])
    func statuses(code: Int) async throws {
        let response = try await client.send(HTTPRequest(.get, url("/status?code=\(code)")))
        #expect(response.status == code && response.isSuccess == (code == 204))
    }

    @Test("HEAD has headers and no body")
    func head() async throws {
        let response = try await client.send(HTTPRequest(.head, url("/bytes?count=5000")))
        #expect(response.status == 200 && response.headers["Content-Length"] == "5000" && response.body == [])
    }

    private func request(_ path: String, _ change: (inout HTTPRequest) -> Void = { _ in }) -> HTTPRequest {
        var request = HTTPRequest(.get, url(path))
        change(&request)
        return request
    }

    @Test("a body at the limit is taken, one byte more is an error with the limit")
    func limit() async throws {
        let exact = request("/bytes?count=100000") { $0.maximumResponseBytes = 100_000 }
        #expect(try await client.send(exact).body.count == 100_000)
        let short = request("/bytes?count=100000") { $0.maximumResponseBytes = 99_999 }
        await #expect(throws: HTTPClientError.responseTooLarge(limit: 99_999)) { try await client.send(short) }
        await #expect(throws: HTTPClientError.responseTooLarge(limit: 99_999)) { try await client.stream(short).body.collect() }
    }

    @Test("too many headers, noise, a hang-up and a short body are errors of their kind")
    func broken() async throws {
        await #expect { try await client.send(HTTPRequest(.get, url("/headers"))) } throws: { "\($0)".contains("malformed response") }
        await #expect { try await client.send(HTTPRequest(.get, url("/noise"))) } throws: { "\($0)".contains("malformed response") }
        await #expect { try await client.send(HTTPRequest(.post, url("/hangup"), body: [1])) } throws: { "\($0)".contains("connection lost") }
        await #expect { try await client.send(HTTPRequest(.get, url("/broken"))) } throws: { "\($0)".contains("connection lost") }
        let stream = try await client.stream(HTTPRequest(.get, url("/broken")))
        await #expect { try await stream.body.collect() } throws: { "\($0)".contains("connection lost") }
    }

    @Test("what cannot be sent says why", arguments: ["", "nonsense", "file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://a b/"])
    func invalidURL(url: String) async {
        await #expect { try await client.send(HTTPRequest(.get, url)) } throws: { "\($0)".contains("invalid request: URL") }
    }

    @Test("a header cannot smuggle another", arguments: [("X", "a\r\nY: b"), ("X\r\nY", "a"), ("X:", "a"), ("", "a"), ("X", "a\0")])
    func invalidHeader(name: String, value: String) async {
        let request = request("/echo") { $0.headers.add(name, value) }
        await #expect { try await client.send(request) } throws: { "\($0)".contains("invalid request: header") }
    }

    @Test("a refused connection was never sent")
    func refused() async {
        await #expect { try await client.send(HTTPRequest(.get, "http://127.0.0.1:1/")) } throws: { error in
            guard case HTTPClientError.connectionFailed = error else { return false }
            return (error as? HTTPClientError)?.wasNeverSent == true
        }
    }

    @Test("silence ends by the total or the idle limit, before and after the head")
    func timeouts() async throws {
        let total = request("/silent") { $0.timeout = .milliseconds(100) }
        await #expect(throws: HTTPClientError.timedOut(.total, .milliseconds(100))) { try await client.send(total) }
        let idle = request("/silent?head=1") { $0.idleTimeout = .milliseconds(300) }
        await #expect(throws: HTTPClientError.timedOut(.idle, .milliseconds(300))) { try await client.send(idle) }
        let stream = try await client.stream(idle)
        await #expect(throws: HTTPClientError.timedOut(.idle, .milliseconds(300))) { try await stream.body.collect() }
    }

    @Test("events arrive through a streamed body")
    func events() async throws {
        let response = try await client.stream(HTTPRequest(.get, url("/events")))
        #expect(response.headers["content-type"] == "text/event-stream")
        var parser = ServerSentEvents()
        var data: [String] = []
        for try await bytes in response.body { data += try parser.receive(bytes).map(\.data) }
        #expect(data == ["0", "1", "2", "[DONE]"])
    }

    /// What `/endless` sent so far; negative once its connection is gone.
    private func sent(_ id: String) async throws -> Int {
        let response = try await client.send(HTTPRequest(.get, url("/count?id=\(id)")))
        return Int(String(decoding: response.body, as: UTF8.self)) ?? 0
    }
    private func endless(_ id: String) -> HTTPRequest {
        request("/endless?id=\(id)") { request in
            request.maximumResponseBytes = 1 << 40
            request.timeout = nil
        }
    }

    @Test("a reader that does not read stops the server; a released stream aborts it")
    func backPressure() async throws {
        var stream: HTTPStreamedResponse? = try await client.stream(endless("slow"))
        var iterator = stream?.body.makeAsyncIterator()
        #expect(try await iterator?.next()?.isEmpty == false)
        // The server stands still once the buffers of both sockets and ours are full.
        var before = -1
        var now = try await sent("slow")
        while now != before {
            before = now
            for _ in 0..<50 { now = try await sent("slow") }
        }
        #expect(now > 0 && now < 32 << 20, "the server sent \(now) bytes to a reader that took one block")
        var read = 0
        while read < 64 << 20, let bytes = try await iterator?.next() { read += bytes.count }
        #expect(try await sent("slow") > now)
        iterator = nil
        stream = nil
        while try await sent("slow") > 0 {}
    }

    @Test("cancelling the task aborts the transfer", arguments: [false, true])
    func cancellation(isStreamed: Bool) async throws {
        let id = "cancelled-\(isStreamed)"
        let request = endless(id)
        let task = Task {
            if isStreamed {
                for try await _ in try await client.stream(request).body {}
            } else {
                _ = try await client.send(request)
            }
        }
        while try await sent(id) == 0 {}
        task.cancel()
        await #expect(throws: HTTPClientError.cancelled) { try await task.value }
        while try await sent(id) > 0 {}
    }

    @Test("no more than the bound are at one host at a time, the rest wait in line, a longer line is refused")
    func connectionsPerHost() async throws {
        var configuration = HTTPClientConfiguration()
        configuration.maximumConnectionsPerHost = 3
        configuration.maximumWaiting = 40
        let client = HTTPClient(configuration: configuration)
        let most = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<40 {
                group.addTask {
                    let response = try await client.send(HTTPRequest(.get, url("/together")))
                    return Int(String(decoding: response.body, as: UTF8.self)) ?? 0
                }
            }
            return try await group.reduce(0, max)
        }
        #expect((1...3).contains(most))

        configuration.maximumConnectionsPerHost = 1
        configuration.maximumWaiting = 0
        let narrow = HTTPClient(configuration: configuration)
        let first = try await narrow.stream(HTTPRequest(.get, url("/silent?head=1")))
        await #expect(throws: HTTPClientError.tooManyRequests(limit: 0)) { try await narrow.send(HTTPRequest(.get, url("/echo"))) }
        #expect(first.status == 200)
    }

    @Test("shutdown ends what is in progress, and everything later")
    func shutdown() async throws {
        let client = HTTPClient()
        let stream = try await client.stream(HTTPRequest(.get, url("/silent?head=1")))
        await client.shutdown()
        await #expect(throws: HTTPClientError.shutDown) { try await stream.body.collect() }
        await #expect(throws: HTTPClientError.shutDown) { try await client.send(HTTPRequest(.get, url("/echo"))) }
        await client.shutdown()
    }
}

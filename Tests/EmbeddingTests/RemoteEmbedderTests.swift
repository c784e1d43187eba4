import Embedding
import Foundation
import Model
import OutboundHTTP
import Synchronization
import TestServers
import Testing

/// An `/v1/embeddings` of another make. Each path behaves in its own way and counts its requests. The vector of a text is (length in
/// bytes, 1, 0), so that a test knows it.
private let embeddingsServer = try! PythonServer(
    handler: #"""
        class Handler(Base):
            def answer(self, status, value, headers={}):
                self.reply(status, value if isinstance(value, bytes) else json.dumps(value).encode(), headers)
            def do_GET(self):
                with lock: value = counts.get(self.path.split("/")[1], 0)
                self.answer(200, value)
            def do_POST(self):
                kind = self.path.split("/")[1]
                body = json.loads(self.body())
                with lock: counts[kind] = count = counts.get(kind, 0) + 1
                texts = body["input"]
                data = [{"object": "embedding", "index": i, "embedding": [len(t.encode()), 1, 0]} for i, t in enumerate(texts)]
                busy = {"error": {"message": "slow down", "type": "rate"}}
                if not self.path.endswith("/v1/embeddings") or body["encoding_format"] != "float": self.answer(404, {})
                elif kind == "key" and self.headers["Authorization"] != "Bearer secret": self.answer(401, {"error": {"message": "no key"}})
                elif kind.startswith("busy") and count < 3: self.answer(429, busy, {"Retry-After": "2"})
                elif kind.startswith("failing") and count < 3: self.answer(503, b"upstream is gone")
                elif kind.startswith("always"): self.answer(500, busy)
                elif kind.startswith("patient"): self.answer(429, busy, {"Retry-After": "3600"})
                elif kind.startswith("refusing"): self.answer(400, {"error": {"message": "too long"}})
                elif kind == "wide": self.answer(200, {"data": [dict(d, embedding=[1, 2, 3, 4]) for d in data]})
                elif kind == "short": self.answer(200, {"data": data[1:]})
                elif kind == "twice": self.answer(200, {"data": [dict(d, index=0) for d in data]})
                elif kind == "outside": self.answer(200, {"data": [dict(d, index=d["index"] + 1) for d in data]})
                elif kind == "zero": self.answer(200, {"data": [dict(d, embedding=[0, 0, 0]) for d in data]})
                elif kind == "noise": self.answer(200, b"<html>hello</html>")
                else: self.answer(200, {"object": "list", "data": data[::-1], "model": body["model"], "usage": {}})
        """#)

/// A clock that notes how long it was asked to wait, and does not wait.
private final class RecordingClock: Clock, Sendable {
    let waits = Mutex<[Duration]>([])
    private let time = Mutex(ContinuousClock.now)
    /// Stands still but for the waits, so that a busy machine changes nothing.
    var now: ContinuousClock.Instant { time.withLock { $0 } }
    var minimumResolution: Duration { .zero }
    func sleep(until deadline: ContinuousClock.Instant, tolerance: Duration?) async throws {
        let now = time.withLock { now in
            defer { now = max(now, deadline) }
            return now
        }
        waits.withLock { $0.append(now.duration(to: deadline)) }
    }
}

@Suite("remote embedder", .enabled(if: PythonServer.isPossible, "no python3 for the test server"), .timeLimit(.minutes(10)))
struct RemoteEmbedderTests {
    private let client = HTTPClient()
    private let clock = RecordingClock()

    private func embedder(_ kind: String, _ change: (inout RemoteEmbedderConfiguration) -> Void = { _ in }) throws -> RemoteEmbedder {
        var configuration = RemoteEmbedderConfiguration(endpoint: ModelEndpoint(base: "\(embeddingsServer.base)/\(kind)/v1"), model: "some-model", dimension: 3)
        change(&configuration)
        return try RemoteEmbedder(configuration: configuration, client: client, clock: clock)
    }
    private func requests(_ kind: String) async throws -> Int? {
        Int(String(decoding: try await client.send(HTTPRequest(.get, "\(embeddingsServer.base)/\(kind)")).body, as: UTF8.self))
    }
    /// The error of embedding two texts.
    private func failure(_ kind: String) async throws -> ClusterError? {
        let embedder = try embedder(kind)
        do {
            _ = try await embedder.embed(["a", "bb"])
            return nil
        } catch {
            return error
        }
    }

    @Test("gives vectors of unit length in the order of the texts, whatever the order of the answer and the batches", arguments: [1, 7, 64])
    func order(batch: Int) async throws {
        let texts = (0..<100).map { String(repeating: "é", count: $0 * 7 % 50) }
        let vectors = try await embedder("plain-\(batch)") { $0.maximumBatchTexts = batch }.embed(texts)
        for (text, vector) in zip(texts, vectors) {
            let length = Double(text.utf8.count)
            #expect(cosine(vector, [Float(length), 1, 0]) > 0.999_999 && abs(cosine(vector, vector) - 1) < 1e-6)
        }
        #expect(try await requests("plain-\(batch)") == (100 + batch - 1) / batch)
        #expect(try await embedder("plain-\(batch)").embed([]) == [])
    }

    @Test("cuts batches by bytes too")
    func bytes() async throws {
        _ = try await embedder("bytes") { $0.maximumBatchBytes = 10 }.embed(["1234567890", "12345", "12345", "1", "123456789012345"])
        #expect(try await requests("bytes") == 4)
    }

    @Test("waits as long as the server asks, then goes on")
    func retryAfter() async throws {
        #expect(try await embedder("busy").embed(["a"]).count == 1)
        let waits = clock.waits.withLock { $0 }
        #expect(waits.count == 2 && waits.allSatisfy { $0 > .seconds(1.9) && $0 <= .seconds(2) })
    }

    @Test("backs off longer each time")
    func backOff() async throws {
        #expect(try await embedder("failing").embed(["a"]).count == 1)
        let waits = clock.waits.withLock { $0 }
        #expect(waits.count == 2 && waits[0] <= .milliseconds(250) && waits[1] > .milliseconds(240) && waits[1] <= .milliseconds(500))
    }

    @Test("gives up after the last attempt, or at once when the server asks for more time than allowed")
    func givesUp() async throws {
        let error = try await failure("always")
        #expect(error?.code == .unavailable && error?.message.contains("failed (500): slow down") == true)
        #expect(try await requests("always") == 4)
        let impatient = try await failure("patient")
        #expect(impatient?.reason == .rateLimit && impatient?.retryAfter == .seconds(3_600))
        #expect(impatient?.code == .resourceExhausted && impatient?.message.contains("3600") == true)
        #expect(try await requests("patient") == 1)
    }

    @Test("does not repeat what will not succeed")
    func refusal() async throws {
        let error = try await failure("refusing")
        #expect(error?.code == .invalidArgument && error?.message.hasSuffix("refused the request (400): too long") == true)
        #expect(try await requests("refusing") == 1)
    }

    @Test("names the dimensions expected and found")
    func dimension() async throws {
        let error = try await failure("wide")
        #expect(error?.code == .failedPrecondition && error?.message.hasSuffix("model some-model: expected 3 dimensions, found 4") == true)
    }

    @Test(
        "an answer that does not fit is an error that says how",
        arguments: [
            ("short", "expected 2 vectors, found 1"), ("twice", "index 0 is out of range or twice"), ("outside", "index 2 is out of range"),
            ("zero", "has length 0.0"), ("noise", "not an answer to an embeddings request: <html>"),
        ])
    func malformed(kind: String, message: String) async throws {
        let error = try await failure(kind)
        #expect(error?.code == .internal && error?.message.contains(message) == true, "\(String(describing: error))")
    }

    @Test("sends its key")
    func key() async throws {
        let error = try await failure("key")
        #expect(error?.code == .failedPrecondition && error?.reason == .modelServer)
        #expect(try await embedder("key") { $0.endpoint.credential = .key("secret") }.embed(["a"]).count == 1)
    }

    @Test("an unreachable server is unavailable after its attempts")
    func unreachable() async throws {
        let embedder = try embedder("x") { $0.endpoint.base = "http://127.0.0.1:1/v1" }
        await #expect { try await embedder.embed(["a"]) } throws: { ($0 as? ClusterError)?.code == .unavailable }
        #expect(clock.waits.withLock { $0.count } == 3)
    }

    @Test("an impossible configuration is refused by field and value")
    func validation() {
        #expect(throws: ClusterError(.invalidArgument, "dimension 0 must be above 0")) { try embedder("x") { $0.dimension = 0 } }
        #expect(throws: ClusterError(.invalidArgument, "endpoint ftp://x must begin with http:// or https://")) {
            try embedder("x") { $0.endpoint.base = "ftp://x" }
        }
    }

    @Test("never counts too few tokens", .enabled(if: modelIsCached, "run cluster/fetch-model"))
    func counts() throws {
        let embedder = try embedder("x")
        for reference in ReferenceText.all { #expect(embedder.tokenCount(reference.text) >= reference.count) }
    }
}

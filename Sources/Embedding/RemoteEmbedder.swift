import Foundation
import Model
import OutboundHTTP

/// Where a ``RemoteEmbedder`` asks, and how patiently.
package struct RemoteEmbedderConfiguration: Sendable {
    package var endpoint: ModelEndpoint
    package var model: String
    /// Elements of each vector, as collections record it; an answer of another size is an error.
    package var dimension: Int
    /// Tokens the model sees of one text. Default: 512, that of most small embedding models; the server cuts or refuses the rest.
    package var maximumTokens: Int = 512
    /// Whether requests name `dimension`, which models that can cut their vectors want (OpenAI's of 2024 and later) and older ones refuse. Default: no.
    package var sendsDimension = false
    /// Texts of one request. Default: 64: enough to fill a server's batch, small enough to retry. OpenAI and Azure take 2,048.
    package var maximumBatchTexts: Int = 64
    /// UTF-8 bytes of texts of one request; a longer single text goes alone. Default: 256 KiB, which is fewer than the 300,000 tokens that OpenAI and Azure
    /// take, because a token has a byte at least.
    package var maximumBatchBytes: Int = 256 << 10
    package static let mostBatchTexts = 2_048
    /// Requests of one call in flight. Default: 4.
    package var maximumConcurrentRequests: Int = 4
    /// Time for one request. Default: 60 s.
    package var timeout: Duration = .seconds(60)
    /// How often one request is sent, the first time included. Default: 4.
    package var maximumAttempts: Int = 4
    /// The wait before the second attempt; it doubles each time, and each wait is drawn from its upper half so that clients
    /// do not return together. `Retry-After` counts instead when it is longer. Default: 250 ms.
    package var initialBackOff: Duration = .milliseconds(250)
    /// The longest wait, `Retry-After` included: a server that asks for more fails the call. Default: 60 s, after which limits a minute begin anew.
    package var maximumBackOff: Duration = .seconds(60)

    package init(endpoint: ModelEndpoint, model: String, dimension: Int) {
        self.endpoint = endpoint
        self.model = model
        self.dimension = dimension
    }

    package func validate() throws(ClusterError) {
        func require(_ isValid: Bool, _ message: String) throws(ClusterError) {
            if !isValid { throw ClusterError(.invalidArgument, message) }
        }
        try require(endpoint.base.hasPrefix("http://") || endpoint.base.hasPrefix("https://"), "endpoint \(endpoint.base) must begin with http:// or https://")
        try require(!model.isEmpty, "model must not be empty")
        try require(dimension > 0, "dimension \(dimension) must be above 0")
        try require(maximumTokens > 0, "maximumTokens \(maximumTokens) must be above 0")
        try require((1...Self.mostBatchTexts).contains(maximumBatchTexts), "maximumBatchTexts \(maximumBatchTexts) must be 1…\(Self.mostBatchTexts)")
        try require(maximumBatchBytes > 0, "maximumBatchBytes \(maximumBatchBytes) must be above 0")
        try require(maximumConcurrentRequests > 0, "maximumConcurrentRequests \(maximumConcurrentRequests) must be above 0")
        try require(maximumAttempts > 0, "maximumAttempts \(maximumAttempts) must be above 0")
    }
}

/// Embeds through any OpenAI-compatible `/v1/embeddings`, or through a deployment of Azure OpenAI.
package struct RemoteEmbedder: Embedder {
    private let configuration: RemoteEmbedderConfiguration
    private let client: HTTPClient
    private let clock: any Clock<Duration>

    package var model: String { configuration.model }
    package var dimension: Int { configuration.dimension }
    package var maximumTokens: Int { configuration.maximumTokens }

    /// - Parameter clock: What waits between attempts; a test passes one of its own.
    /// - Throws: `invalidArgument` for an impossible configuration.
    package init(
        configuration: RemoteEmbedderConfiguration, client: HTTPClient, clock: any Clock<Duration> = ContinuousClock()
    ) throws(ClusterError) {
        try configuration.validate()
        self.configuration = configuration
        self.client = client
        self.clock = clock
    }

    /// An upper bound, because the model's tokenizer is not here: byte-level tokenizers make at most one token a byte, and two
    /// special ones are added.
    package func tokenCount(_ text: String) -> Int { text.utf8.count + 2 }

    package func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] {
        let batches = cut(texts)
        var vectors = [[Float]](repeating: [], count: texts.count)
        do {
            try await withThrowingTaskGroup(of: (Range<Int>, [[Float]]).self) { group in
                for (index, batch) in batches.enumerated() {
                    if index >= configuration.maximumConcurrentRequests, let (done, part) = try await group.next() {
                        vectors.replaceSubrange(done, with: part)
                    }
                    group.addTask { (batch, try await request(Array(texts[batch]))) }
                }
                for try await (done, part) in group { vectors.replaceSubrange(done, with: part) }
            }
        } catch {
            throw ClusterError(error)
        }
        return vectors
    }

    private func cut(_ texts: [String]) -> [Range<Int>] {
        var batches: [Range<Int>] = []
        var first = 0
        var bytes = 0
        for (index, text) in texts.enumerated() {
            let size = text.utf8.count
            if index > first, index - first == configuration.maximumBatchTexts || bytes + size > configuration.maximumBatchBytes {
                batches.append(first..<index)
                first = index
                bytes = 0
            }
            bytes += size
        }
        if first < texts.count { batches.append(first..<texts.count) }
        return batches
    }

    /// Sends one batch, again while the failure may pass and attempts are left.
    private func request(_ texts: [String]) async throws(ClusterError) -> [[Float]] {
        var backOff = configuration.initialBackOff
        var attempt = 1
        while true {
            switch await send(texts) {
            case .success(let vectors): return vectors
            case .failure(let failure):
                guard failure.isWorthRepeating, attempt < configuration.maximumAttempts else { throw failure.error }
                try await wait(max(backOff * Double.random(in: 0.5...1), failure.retryAfter ?? .zero), after: failure.error)
            }
            attempt += 1
            backOff = min(backOff * 2, configuration.maximumBackOff)
        }
    }

    /// - Throws: the failure if the server asks for more patience than allowed; `cancelled`.
    private func wait(_ duration: Duration, after failure: ClusterError) async throws(ClusterError) {
        guard duration <= configuration.maximumBackOff else {
            throw ClusterError(
                failure.code, "\(failure.message); it asks to wait \(duration), at most \(configuration.maximumBackOff) is allowed", reason: failure.reason,
                retryAfter: failure.retryAfter)
        }
        do {
            try await clock.sleep(for: duration)
        } catch {
            throw ClusterError(.cancelled, "cancelled while waiting to repeat: \(failure.message)")
        }
    }

    private struct AttemptFailure: Error {
        var error: ClusterError
        var isWorthRepeating: Bool
        var retryAfter: Duration?
    }

    private func send(_ texts: [String]) async -> Result<[[Float]], AttemptFailure> {
        let request: HTTPRequest
        do throws(ClusterError) { request = try self.request(for: texts) } catch { return .failure(AttemptFailure(error: error, isWorthRepeating: false)) }
        let response: HTTPResponse
        do throws(HTTPClientError) {
            response = try await client.send(request)
        } catch { return .failure(AttemptFailure(error: ClusterError(error, from: named), isWorthRepeating: error.isPassing)) }
        guard response.isSuccess else {
            let refusal = ModelRefusal(status: response.status, headers: response.headers, body: response.body, model: named)
            return .failure(AttemptFailure(error: refusal.error, isWorthRepeating: refusal.isWorthRepeating, retryAfter: refusal.retryAfter))
        }
        do throws(ClusterError) {
            return .success(try vectors(in: response.body, count: texts.count))
        } catch {
            return .failure(AttemptFailure(error: error, isWorthRepeating: false))
        }
    }

    /// As messages call it. Where it is asked is the operator's matter, and in the log at the start.
    private var named: String { "embedding model \(model)" }

    private func request(for texts: [String]) throws(ClusterError) -> HTTPRequest {
        var request = HTTPRequest(.post, configuration.endpoint.url("embeddings"), headers: try configuration.endpoint.authorization())
        request.headers["content-type"] = "application/json"
        var body: [String: JSONValue] = ["model": .string(configuration.model), "input": .array(texts.map(JSONValue.string)), "encoding_format": "float"]
        if configuration.sendsDimension { body["dimensions"] = .integer(Int64(configuration.dimension)) }
        request.body = JSONValue.object(body).serialized()
        request.timeout = configuration.timeout
        request.idleTimeout = configuration.timeout
        // A float in JSON takes up to some 25 bytes; the rest is for what stands around them.
        request.maximumResponseBytes = (1 << 20) + texts.count * configuration.dimension * 64
        return request
    }

    /// The answer's parts that count.
    private struct Answer: Decodable {
        struct Item: Decodable {
            var index: Int
            var embedding: [Float]
        }
        var data: [Item]
    }

    /// The vectors in the order of their `index`, scaled to unit length.
    private func vectors(in body: [UInt8], count: Int) throws(ClusterError) -> [[Float]] {
        let answer: Answer
        do {
            answer = try JSONDecoder().decode(Answer.self, from: Data(body))
        } catch {
            throw ClusterError(.internal, "\(named): not an answer to an embeddings request: \(String(decoding: body.prefix(200), as: UTF8.self))")
        }
        guard answer.data.count == count else {
            throw ClusterError(.internal, "\(named): expected \(count) vectors, found \(answer.data.count)")
        }
        var vectors = [[Float]](repeating: [], count: count)
        for item in answer.data {
            guard vectors.indices.contains(item.index), vectors[item.index].isEmpty else {
                throw ClusterError(.internal, "\(named): index \(item.index) is out of range or twice in an answer of \(count)")
            }
            guard item.embedding.count == dimension else {
                throw ClusterError(
                    .failedPrecondition, "\(named): expected \(dimension) dimensions, found \(item.embedding.count)", reason: .modelServer)
            }
            let length = item.embedding.reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard length.isFinite, length > 0 else {
                throw ClusterError(.internal, "\(named): vector \(item.index) has length \(length)")
            }
            vectors[item.index] = item.embedding.map { $0 / length }
        }
        return vectors
    }
}

extension HTTPClientError {
    /// Whether the same request may succeed a moment later. Embedding has no effect, so sending it twice is safe.
    fileprivate var isPassing: Bool {
        switch self {
        case .connectionFailed, .connectionLost, .timedOut, .tooManyRequests: true
        default: false
        }
    }
}

extension ClusterError {
    /// What a failed call of another server means to the caller of ours.
    package init(_ error: HTTPClientError, from server: String) {
        let code: Code =
            switch error {
            case .invalidRequest: .invalidArgument
            case .timedOut: .deadlineExceeded
            case .tooManyRequests: .resourceExhausted
            case .cancelled: .cancelled
            case .responseTooLarge, .malformedResponse: .internal
            case .connectionFailed, .untrusted, .connectionLost, .shutDown: .unavailable
            }
        self.init(code, "\(server): \(error)")
    }
}

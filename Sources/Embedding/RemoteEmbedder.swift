import Foundation
import Model
import OutboundHTTP

/// Where a ``RemoteEmbedder`` asks, and how patiently.
package struct RemoteEmbedderConfiguration: Sendable {
    /// The API's root, with its version: `https://api.openai.com/v1`, `http://127.0.0.1:8080/v1`.
    package var baseURL: String
    package var model: String
    /// Elements of each vector, as collections record it; an answer of another size is an error.
    package var dimension: Int
    /// Tokens the model sees of one text. Default: 512, that of most small embedding models; the server cuts or refuses the rest.
    package var maximumTokens: Int = 512
    /// Sent as `Authorization: Bearer` and, for Azure, as `api-key`. Default: none.
    package var apiKey: String?
    /// Further header fields. Default: none.
    package var headers: HTTPHeaders = [:]
    /// Texts of one request. Default: 64: enough to fill a server's batch, small enough to retry.
    package var maximumBatchTexts: Int = 64
    /// UTF-8 bytes of texts of one request; a longer single text goes alone. Default: 256 KiB.
    package var maximumBatchBytes: Int = 256 << 10
    /// Requests of one call in flight. Default: 4.
    package var maximumConcurrentRequests: Int = 4
    /// Time for one request. Default: 60 s.
    package var timeout: Duration = .seconds(60)
    /// How often one request is sent, the first time included. Default: 4.
    package var maximumAttempts: Int = 4
    /// The wait before the second attempt; it doubles each time, and each wait is drawn from its upper half so that clients
    /// do not return together. `Retry-After` counts instead when it is longer. Default: 250 ms.
    package var initialBackOff: Duration = .milliseconds(250)
    /// The longest wait, `Retry-After` included: a server that asks for more fails the call. Default: 30 s.
    package var maximumBackOff: Duration = .seconds(30)

    package init(baseURL: String, model: String, dimension: Int) {
        self.baseURL = baseURL
        self.model = model
        self.dimension = dimension
    }

    package func validate() throws(ClusterError) {
        func require(_ isValid: Bool, _ message: String) throws(ClusterError) {
            if !isValid { throw ClusterError(.invalidArgument, message) }
        }
        try require(baseURL.hasPrefix("http://") || baseURL.hasPrefix("https://"), "baseURL \(baseURL) must begin with http:// or https://")
        try require(!model.isEmpty, "model must not be empty")
        try require(dimension > 0, "dimension \(dimension) must be above 0")
        try require(maximumTokens > 0, "maximumTokens \(maximumTokens) must be above 0")
        try require(maximumBatchTexts > 0, "maximumBatchTexts \(maximumBatchTexts) must be above 0")
        try require(maximumBatchBytes > 0, "maximumBatchBytes \(maximumBatchBytes) must be above 0")
        try require(maximumConcurrentRequests > 0, "maximumConcurrentRequests \(maximumConcurrentRequests) must be above 0")
        try require(maximumAttempts > 0, "maximumAttempts \(maximumAttempts) must be above 0")
    }
}

/// Embeds through any OpenAI-compatible `/v1/embeddings`.
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
            throw ClusterError(failure.code, "\(failure.message); it asks to wait \(duration), at most \(configuration.maximumBackOff) is allowed")
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
        var request = HTTPRequest(.post, configuration.baseURL.trimmingSlash + "/embeddings", headers: configuration.headers)
        request.headers["content-type"] = "application/json"
        if let key = configuration.apiKey {
            request.headers["authorization"] = "Bearer \(key)"
            request.headers["api-key"] = key
        }
        request.body = JSONValue.object([
            "model": .string(configuration.model), "input": .array(texts.map(JSONValue.string)), "encoding_format": "float",
        ]).serialized()
        request.timeout = configuration.timeout
        request.idleTimeout = configuration.timeout
        // A float in JSON takes up to some 25 bytes; the rest is for what stands around them.
        request.maximumResponseBytes = (1 << 20) + texts.count * configuration.dimension * 64
        let response: HTTPResponse
        do {
            response = try await client.send(request)
        } catch {
            return .failure(AttemptFailure(error: ClusterError(error, from: request.url), isWorthRepeating: error.isPassing))
        }
        guard response.isSuccess else {
            return .failure(
                AttemptFailure(
                    error: Self.error(of: response, from: request.url),
                    isWorthRepeating: response.status == 429 || response.status == 408 || response.status >= 500,
                    retryAfter: response.headers["retry-after"].flatMap(Double.init).map { .seconds(max(0, min($0, 1e6))) }))
        }
        do throws(ClusterError) {
            return .success(try vectors(in: response.body, count: texts.count, from: request.url))
        } catch {
            return .failure(AttemptFailure(error: error, isWorthRepeating: false))
        }
    }

    private static func error(of response: HTTPResponse, from url: String) -> ClusterError {
        let code: ClusterError.Code =
            switch response.status {
            case 400, 413, 422: .invalidArgument
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .notFound
            case 408, 504: .deadlineExceeded
            case 429: .resourceExhausted
            case 501: .unimplemented
            case 500...: .unavailable
            default: .internal
            }
        let said = (try? JSONValue(parsing: response.body))?["error"]
        let message = said?["message"]?.string ?? said?.string ?? String(decoding: response.body.prefix(200), as: UTF8.self)
        return ClusterError(code, "\(url): status \(response.status): \(message)")
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
    private func vectors(in body: [UInt8], count: Int, from url: String) throws(ClusterError) -> [[Float]] {
        let answer: Answer
        do {
            answer = try JSONDecoder().decode(Answer.self, from: Data(body))
        } catch {
            throw ClusterError(.internal, "\(url): not an answer to an embeddings request: \(String(decoding: body.prefix(200), as: UTF8.self))")
        }
        guard answer.data.count == count else {
            throw ClusterError(.internal, "\(url): expected \(count) vectors, found \(answer.data.count)")
        }
        var vectors = [[Float]](repeating: [], count: count)
        for item in answer.data {
            guard vectors.indices.contains(item.index), vectors[item.index].isEmpty else {
                throw ClusterError(.internal, "\(url): index \(item.index) is out of range or twice in an answer of \(count)")
            }
            guard item.embedding.count == dimension else {
                throw ClusterError(
                    .failedPrecondition, "\(url): model \(model): expected \(dimension) dimensions, found \(item.embedding.count)")
            }
            let length = item.embedding.reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard length.isFinite, length > 0 else {
                throw ClusterError(.internal, "\(url): vector \(item.index) has length \(length)")
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
    package init(_ error: HTTPClientError, from url: String) {
        let code: Code =
            switch error {
            case .invalidRequest: .invalidArgument
            case .timedOut: .deadlineExceeded
            case .tooManyRequests: .resourceExhausted
            case .cancelled: .cancelled
            case .responseTooLarge, .malformedResponse: .internal
            case .connectionFailed, .untrusted, .connectionLost, .shutDown: .unavailable
            }
        self.init(code, "\(url): \(error)")
    }
}

extension String {
    fileprivate var trimmingSlash: String { hasSuffix("/") ? String(dropLast()) : self }
}

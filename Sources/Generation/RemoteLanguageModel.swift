import Model
import OutboundHTTP

/// A language model behind any server that speaks OpenAI's chat API: OpenAI, Azure, llama.cpp, Ollama, vLLM.
package struct RemoteLanguageModel: LanguageModel {
    package struct Configuration: Sendable {
        /// The API's base, with its version: `https://api.openai.com/v1`. A query (`?api-version=…`) is kept.
        package var url: String
        /// The model's name, as the server knows it.
        package var model: String
        /// Sent as `Authorization: Bearer` and, for Azure, as `api-key`; `nil` sends neither.
        package var apiKey: String?
        /// Name of the token limit's field. Default: `max_tokens`, which every server knows; OpenAI's reasoning models
        /// want `max_completion_tokens`.
        package var tokenLimitField = "max_tokens"
        /// Time to connect. Default: 5 s.
        package var connectTimeout: Duration = .seconds(5)
        /// Longest silence of the server, the wait for the first token included. Default: 60 s: a small model on one core reads a
        /// prompt of 3,000 tokens in about 15 s.
        package var idleTimeout: Duration = .seconds(60)
        /// Time for a whole reply if the request names none. Default: 120 s.
        package var timeout: Duration = .seconds(120)
        /// How often a request is sent again after 429, 503 or a refused connection. Default: 2.
        package var retries = 2
        /// Wait before the first retry, doubled for each further one; a server's `Retry-After` goes before. Default: 500 ms.
        package var retryDelay: Duration = .milliseconds(500)
        /// A server that asks for a longer wait is not asked again. Default: 10 s.
        package var longestRetryDelay: Duration = .seconds(10)
        /// Bytes of a whole stream. Default: 16 MiB: an event of some 300 bytes a token, 50,000 tokens.
        package var maximumResponseBytes = 16 << 20

        package init(url: String, model: String, apiKey: String? = nil) {
            self.url = url
            self.model = model
            self.apiKey = apiKey
        }
    }

    private let client: HTTPClient
    private let configuration: Configuration

    package init(client: HTTPClient, configuration: Configuration) {
        self.client = client
        self.configuration = configuration
    }

    package var name: String { configuration.model }

    package func generate(_ request: ModelRequest) -> AsyncThrowingStream<ModelEvent, any Error> {
        AsyncThrowingStream { continuation in
            // Ends with the stream: when the consumer stops reading, `onTermination` cancels it, which aborts the transfer.
            let work = Task {
                do {
                    let response = try await open(request)
                    try await read(response) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: ClusterError(error))
                }
            }
            continuation.onTermination = { _ in work.cancel() }
        }
    }

    /// Sends the request until the server accepts it.
    private func open(_ request: ModelRequest) async throws(ClusterError) -> HTTPStreamedResponse {
        let timeout = request.timeout.map { min($0, configuration.timeout) } ?? configuration.timeout
        let end = ContinuousClock.now + timeout
        var delay = configuration.retryDelay
        for attempt in 0... {
            var failure: ClusterError
            var wait = delay
            do {
                let response = try await client.stream(httpRequest(for: request, timeout: ContinuousClock.now.duration(to: end)))
                if response.isSuccess { return response }
                let body = (try? await response.body.collect()) ?? []
                failure = refusal(status: response.status, body: body)
                guard response.status == 429 || response.status == 503 else { throw failure }
                if let seconds = response.headers["retry-after"].flatMap(Double.init), seconds >= 0 { wait = .seconds(seconds) }
            } catch let error as HTTPClientError {
                failure = self.failure(error, after: 0)
                guard case .connectionFailed = error else { throw failure }
            } catch {
                throw ClusterError(error)
            }
            guard attempt < configuration.retries, wait <= configuration.longestRetryDelay, ContinuousClock.now + wait < end else { throw failure }
            do { try await Task.sleep(for: wait) } catch { throw ClusterError(error) }
            delay *= 2
        }
        preconditionFailure("the loop has no end")
    }

    private func read(_ response: HTTPStreamedResponse, emit: (ModelEvent) -> Void) async throws(ClusterError) {
        var events = ServerSentEvents()
        var stream = ChatCompletionStream(model: configuration.model)
        var bytes = 0
        do {
            for try await block in response.body {
                bytes += block.count
                for event in try events.receive(block) {
                    for output in try stream.receive(event.data) { emit(output) }
                    if stream.isDone { return }
                }
            }
            // Servers that close without `[DONE]` have still said why the reply ended.
            for output in try stream.end() { emit(output) }
        } catch let error as HTTPClientError {
            throw failure(error, after: bytes)
        } catch {
            throw ClusterError(error)
        }
    }

    private func httpRequest(for request: ModelRequest, timeout: Duration) -> HTTPRequest {
        let body: JSONValue = .object([
            "model": .string(configuration.model), "stream": true, "stream_options": ["include_usage": true],
            "temperature": .number(request.temperature), configuration.tokenLimitField: .integer(Int64(request.maximumTokens)),
            "messages": .array(request.messages.map { ["role": .string($0.speaker.rawValue), "content": .string($0.text)] }),
        ])
        var headers: HTTPHeaders = ["Content-Type": "application/json", "Accept": "text/event-stream"]
        if let key = configuration.apiKey {
            headers.add("Authorization", "Bearer \(key)")
            headers.add("api-key", key)
        }
        var request = HTTPRequest(.post, endpoint, headers: headers, body: body.serialized())
        request.timeout = max(timeout, .milliseconds(1))
        request.connectTimeout = configuration.connectTimeout
        request.idleTimeout = configuration.idleTimeout
        request.maximumResponseBytes = configuration.maximumResponseBytes
        return request
    }

    private var endpoint: String {
        let parts = configuration.url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var base = parts[0]
        while base.hasSuffix("/") { base.removeLast() }
        return base + "/chat/completions" + (parts.count > 1 ? "?" + parts[1] : "")
    }

    /// The operator's key and model name are not the caller's: a server that refuses them is a wrong configuration.
    private func refusal(status: Int, body: [UInt8]) -> ClusterError {
        let reason = ChatCompletionStream.message(inErrorBody: body)
        let model = "language model \(configuration.model)"
        return switch status {
        case 401, 403: ClusterError(.failedPrecondition, "\(model): the server refused the API key (\(status)): \(reason)")
        case 404: ClusterError(.failedPrecondition, "\(model) not found at \(endpoint) (404): \(reason)")
        case 408, 504: ClusterError(.deadlineExceeded, "\(model) timed out (\(status)): \(reason)")
        case 429: ClusterError(.resourceExhausted, "\(model) is at its rate limit (429): \(reason)")
        case 500...: ClusterError(.unavailable, "\(model) failed (\(status)): \(reason)")
        default: ClusterError(.invalidArgument, "\(model) refused the request (\(status)): \(reason)")
        }
    }

    private func failure(_ error: HTTPClientError, after bytes: Int) -> ClusterError {
        let moment = bytes > 0 ? "after \(bytes) bytes of its reply" : "before its reply"
        let code: ClusterError.Code =
            switch error {
            case .timedOut: .deadlineExceeded
            case .cancelled: .cancelled
            case .tooManyRequests: .resourceExhausted
            case .invalidRequest: .failedPrecondition  // the configured address is wrong
            case .responseTooLarge, .malformedResponse: .internal
            case .connectionFailed, .connectionLost, .untrusted, .shutDown: .unavailable
            }
        return ClusterError(code, "language model \(configuration.model) at \(endpoint), \(moment): \(error)")
    }
}

import Model
import OutboundHTTP

/// A language model behind any server that speaks OpenAI's chat API: OpenAI, Azure, llama.cpp, Ollama, vLLM.
package struct RemoteLanguageModel: LanguageModel {
    package struct Configuration: Sendable {
        package var endpoint: ModelEndpoint
        /// The model's name, as the server knows it.
        package var model: String
        /// Name of the token limit's field. Default: `max_tokens`, which every server knows; OpenAI's reasoning models
        /// want `max_completion_tokens`.
        package var tokenLimitField = "max_tokens"
        /// Whether requests name a temperature, which OpenAI's reasoning models refuse. Default: yes.
        package var sendsTemperature = true
        /// Time to connect. Default: 5 s.
        package var connectTimeout: Duration = .seconds(5)
        /// Longest silence of the server, the wait for the first token included. Default: 60 s: a small model on one core reads a
        /// prompt of 3,000 tokens in about 15 s.
        package var idleTimeout: Duration = .seconds(60)
        /// Time for a whole reply if the request names none. Default: 120 s.
        package var timeout: Duration = .seconds(120)
        /// How often a request is sent again after a refused connection, or a status of which ``OutboundHTTP/ModelRefusal`` says that it may pass. Default: 2.
        package var retries = 2
        /// Wait before the first retry, doubled for each further one; a server's `Retry-After` goes before. Default: 500 ms.
        package var retryDelay: Duration = .milliseconds(500)
        /// A server that asks for a longer wait is not asked again. Default: 10 s.
        package var longestRetryDelay: Duration = .seconds(10)
        /// Bytes of a whole stream. Default: 16 MiB: an event of some 300 bytes a token, 50,000 tokens.
        package var maximumResponseBytes = 16 << 20

        package init(endpoint: ModelEndpoint, model: String) {
            self.endpoint = endpoint
            self.model = model
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
                let response = try await client.stream(try httpRequest(for: request, timeout: ContinuousClock.now.duration(to: end)))
                if response.isSuccess { return response }
                let body = (try? await response.body.collect()) ?? []
                let refusal = ModelRefusal(status: response.status, headers: response.headers, body: body, model: named)
                failure = refusal.error
                guard refusal.isWorthRepeating else { throw failure }
                wait = refusal.retryAfter ?? wait
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

    private func httpRequest(for request: ModelRequest, timeout: Duration) throws(ClusterError) -> HTTPRequest {
        var body: [String: JSONValue] = [
            "model": .string(configuration.model), "stream": true, "stream_options": ["include_usage": true],
            configuration.tokenLimitField: .integer(Int64(request.maximumTokens)),
            "messages": .array(request.messages.map { ["role": .string($0.speaker.rawValue), "content": .string($0.text)] }),
        ]
        if configuration.sendsTemperature { body["temperature"] = .number(request.temperature) }
        var headers = try configuration.endpoint.authorization()
        headers["content-type"] = "application/json"
        headers["accept"] = "text/event-stream"
        var request = HTTPRequest(.post, configuration.endpoint.url("chat/completions"), headers: headers, body: JSONValue.object(body).serialized())
        request.timeout = max(timeout, .milliseconds(1))
        request.connectTimeout = configuration.connectTimeout
        request.idleTimeout = configuration.idleTimeout
        request.maximumResponseBytes = configuration.maximumResponseBytes
        return request
    }

    /// As messages call it. Where it is asked is the operator's matter.
    private var named: String { "language model \(configuration.model)" }

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
        return ClusterError(code, "\(named), \(moment): \(error)")
    }
}

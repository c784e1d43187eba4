import Foundation
import Model
import OutboundHTTP

/// The cluster's public HTTP API as the client verbs use it: OpenAI's routes for documents, Qdrant's for collections.
package struct CoveyClient: Sendable {
    package let url: String
    private let apiKey: String?
    private let http: HTTPClient

    /// Times a request is sent again when the cluster says that it is busy. Default reason: with the waits that it asks
    /// for, about ten seconds of patience.
    private static let busyRetries = 8

    /// - Parameters:
    ///   - url: Where the gateway listens, without a path: `http://127.0.0.1:6333`.
    ///   - apiKey: Sent as `Authorization: Bearer`; `nil` for a cluster without keys.
    package init(url: String, apiKey: String? = nil, http: HTTPClient = HTTPClient()) {
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        self.apiKey = apiKey
        self.http = http
    }

    /// The JSON that answers a request.
    ///
    /// - Parameter timeout: `nil` to wait as long as it takes.
    /// - Throws: the cluster's own words if it refuses, or how to start one if none answers.
    func json(
        _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil, timeout: Duration? = .seconds(60)
    ) async throws(ConsoleError) -> JSONValue {
        let bytes = body?.serialized() ?? []
        return try parse(try await send(request(method, path, bytes, contentType: body == nil ? nil : "application/json", timeout)), path)
    }

    /// Uploads a file to `/v1/files` that is kept as long as a collection has a document of it; returns its object.
    func upload(_ content: [UInt8], name: String, contentType: String) async throws(ConsoleError) -> JSONValue {
        var form = MultipartForm()
        form.addField("purpose", "assistants")
        form.addField("covey[lifetime]", "while_attached")
        form.addFile("file", fileName: name, contentType: contentType, content)
        let request = request(.post, "/v1/files", form.body(), contentType: form.contentType, .seconds(600))
        return try parse(try await send(request), "/v1/files")
    }

    /// Status and text of a route whose errors are answers, too: `/readyz`, `/metrics`.
    func text(_ path: String) async throws(ConsoleError) -> (status: Int, text: String) {
        do throws(HTTPClientError) {
            let response = try await http.send(request(.get, path, [], contentType: nil, .seconds(30)))
            return (response.status, String(decoding: response.body, as: UTF8.self))
        } catch { throw explained(error) }
    }

    /// The events of a streamed answer, each one JSON object; ends after `[DONE]`.
    func events(_ path: String, _ body: JSONValue) async throws(ConsoleError) -> AsyncThrowingStream<JSONValue, any Error> {
        // No limit on the whole: a language model on a small machine writes for minutes. Silence is bounded.
        var request = request(.post, path, body.serialized(), contentType: "application/json", nil)
        request.idleTimeout = .seconds(300)
        let response: HTTPStreamedResponse
        var refused: [UInt8] = []
        do throws(HTTPClientError) {
            response = try await http.stream(request)
            if !response.isSuccess { refused = try await response.body.collect() }
        } catch { throw explained(error) }
        guard response.isSuccess else { throw ConsoleError(refusal(response.status, refused, path), status: response.status) }
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: JSONValue.self, throwing: (any Error).self)
        // Ends with the stream's consumer: whoever stops reading cancels it.
        let reader = Task {
            do {
                var parser = ServerSentEvents()
                for try await block in response.body {
                    for event in try parser.receive(block) {
                        if event.data == "[DONE]" {
                            continuation.finish()
                            return
                        }
                        continuation.yield(try JSONValue(parsing: event.data.utf8))
                    }
                }
                continuation.finish(throwing: ConsoleError("the answer broke off: the cluster closed the connection"))
            } catch let error as HTTPClientError { continuation.finish(throwing: explained(error)) } catch { continuation.finish(throwing: error) }
        }
        continuation.onTermination = { _ in reader.cancel() }
        return stream
    }

    // MARK: -

    private func request(
        _ method: HTTPRequest.Method, _ path: String, _ body: [UInt8], contentType: String?, _ timeout: Duration?
    ) -> HTTPRequest {
        var headers: HTTPHeaders = ["accept": "application/json, text/event-stream"]
        if let contentType { headers.add("content-type", contentType) }
        if let apiKey { headers.add("authorization", "Bearer \(apiKey)") }
        var request = HTTPRequest(method, url + path, headers: headers, body: body)
        request.timeout = timeout
        if timeout == nil || timeout! > .seconds(60) { request.idleTimeout = timeout }
        return request
    }

    private func send(_ request: HTTPRequest) async throws(ConsoleError) -> HTTPResponse {
        var attempt = 0
        while true {
            let response: HTTPResponse
            do { response = try await http.send(request) } catch { throw explained(error) }
            guard [429, 503].contains(response.status), attempt < Self.busyRetries, let text = response.headers["retry-after"], let seconds = Double(text)
            else { return response }
            attempt += 1
            do { try await Task.sleep(for: .seconds(min(max(seconds, 0.1), 5))) } catch { throw ConsoleError("interrupted") }
        }
    }

    private func parse(_ response: HTTPResponse, _ path: String) throws(ConsoleError) -> JSONValue {
        guard response.isSuccess else { throw ConsoleError(refusal(response.status, response.body, path), status: response.status) }
        do { return try JSONValue(parsing: response.body) } catch { throw ConsoleError("\(url)\(path) answered something that is not JSON: is this a Covey?") }
    }

    /// The cluster's own words, from OpenAI's or Qdrant's shape of an error.
    private func refusal(_ status: Int, _ body: [UInt8], _ path: String) -> String {
        let json = try? JSONValue(parsing: body)
        let words = json?["error"]?["message"]?.string ?? json?["status"]?["error"]?.string
        let requestID = (json?["error"]?["request_id"] ?? json?["request_id"])?.string.map { " (request \($0))" } ?? ""
        if status == 401 { return "\(words ?? "the cluster wants an API key"): give one with --api-key or COVEY_API_KEY\(requestID)" }
        return (words ?? "\(url)\(path) answered status \(status)") + requestID
    }

    private func explained(_ error: HTTPClientError) -> ConsoleError {
        switch error {
        case .connectionFailed, .timedOut(.connect, _):
            ConsoleError("no Covey answers at \(url): start one with cluster/demo or `covey serve`, or name another with --url (\(error))")
        case .untrusted: ConsoleError("\(url): \(error); name the authority that signed its certificate with --authority or COVEY_AUTHORITY")
        case .cancelled: ConsoleError("interrupted")
        default: ConsoleError("\(url): \(error)")
        }
    }
}

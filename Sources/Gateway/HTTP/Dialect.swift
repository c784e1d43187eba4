import HTTPTypes
import Hummingbird
import Model

/// Whose API a path belongs to: it decides the shape of errors.
enum Dialect: String, Sendable {
    case openAI, qdrant

    init(path: String) { self = path == "/v1" || path.hasPrefix("/v1/") ? .openAI : .qdrant }

    /// An error as that API's clients read it, with the request's id beside the words.
    func response(to error: RequestError, requestID: Model.RequestID, seconds: Double) -> Response {
        let body: JSONOutput
        switch self {
        case .openAI:
            let type =
                switch error.status.code {
                case 401: "authentication_error"
                case 403: "permission_error"
                case 429: "rate_limit_error"
                case ..<500: "invalid_request_error"
                default: "server_error"
                }
            body = ["error": Self.openAIError(error, type: type, requestID: requestID)]
        case .qdrant:
            let members: [(String, JSONOutput)] = [
                ("status", ["error": .string(error.message)]), ("time", .number(seconds)), ("request_id", .string(requestID.rawValue)),
            ]
            body = .object(members + (error.details.map { [("covey", $0)] } ?? []))
        }
        var response = Response(status: error.status, json: body)
        if let seconds = error.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
        if self == .openAI, let milliseconds = error.retryAfterMilliseconds { response.headers[.retryAfterMilliseconds] = String(milliseconds) }
        // OpenAI's clients take a 501 for a failure that may pass.
        if self == .openAI, error.status == .notImplemented { response.headers[.shouldRetry] = "false" }
        if error.status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }

    private static func openAIError(_ error: RequestError, type: String, requestID: Model.RequestID) -> JSONOutput {
        [
            "message": .string(error.message), "type": .string(type), "param": error.field.map(JSONOutput.string) ?? .null,
            "code": .string(error.code), "request_id": .string(requestID.rawValue),
        ]
    }

    /// The error object of an answer stream that fails after it began.
    static func streamError(_ error: RequestError, requestID: Model.RequestID) -> JSONOutput {
        ["error": openAIError(error, type: error.status.code < 500 ? "invalid_request_error" : "server_error", requestID: requestID)]
    }
}

extension Response {
    init(status: HTTPResponse.Status = .ok, json: JSONOutput) {
        let bytes = json.serialized()
        self.init(
            status: status, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    init(status: HTTPResponse.Status = .ok, text: String, contentType: String = "text/plain; charset=utf-8") {
        self.init(status: status, headers: [.contentType: contentType], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

import HTTPTypes
import Model

/// Why a request was refused, before it is put into the shape of the API that was called.
package struct RequestError: Error {
    package var status: HTTPResponse.Status
    /// OpenAI's `code`: a word for machines.
    var code: String
    /// The field at fault, as a path into the request: `points[3].vector`.
    package var field: String?
    package var message: String
    package var retryAfterSeconds: Int?
    /// The same more exactly, for OpenAI's clients.
    var retryAfterMilliseconds: Int?
    /// What else this server says, under `covey` beside the error, in Qdrant's shape.
    var details: JSONOutput?

    init(_ status: HTTPResponse.Status, code: String, field: String? = nil, _ message: String, retryAfterSeconds: Int? = nil) {
        self.status = status
        self.code = code
        self.field = field
        self.message = message
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// 400: the request is wrong whatever the server supports.
    static func invalid(_ field: String?, _ message: String) -> RequestError {
        RequestError(.badRequest, code: "invalid_value", field: field, message)
    }

    /// 501: the API has this, this server does not.
    static func unsupported(_ field: String, _ message: String? = nil) -> RequestError {
        RequestError(.notImplemented, code: "unsupported", field: field, message ?? "\(field) is not supported")
    }

    static func notFound(_ message: String, code: String = "not_found", field: String? = nil) -> RequestError {
        RequestError(.notFound, code: code, field: field, message)
    }

    /// Any error as one that a client may see.
    package init(_ error: any Error) {
        if let error = error as? RequestError {
            self = error
            return
        }
        let error = ClusterError(error)
        self.init(.internalServerError, code: "\(error.code)", error.message)
        switch error.code {
        case .invalidArgument, .outOfRange, .failedPrecondition: status = .badRequest
        case .unauthenticated: status = .unauthorized
        case .permissionDenied: (status, code) = (.forbidden, "permission_denied")
        case .notFound: status = .notFound
        case .alreadyExists: status = .conflict
        case .resourceExhausted: (status, retryAfterSeconds) = (.tooManyRequests, 1)
        case .unimplemented: status = .notImplemented
        case .unavailable, .aborted: (status, retryAfterSeconds) = (.serviceUnavailable, 1)
        case .deadlineExceeded: status = .gatewayTimeout
        case .cancelled: status = HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request")
        case .dataLoss, .internal, .unknown: status = .internalServerError
        }
        if let reason = error.reason { code = reason.rawValue }
        // The request was right; what it needs behind this server is not.
        if error.reason == .modelServer { status = .badGateway }
        if error.reason == .keyReused { status = .unprocessableContent }
        if error.reason == .keyExpired { status = .conflict }
        if let wait = error.retryAfter, retryAfterSeconds != nil {
            retryAfterSeconds = max(1, Int(wait.seconds.rounded(.up)))
            retryAfterMilliseconds = max(1, Int((wait.seconds * 1_000).rounded(.up)))
        }
    }
}

/// Why there is no (whole) response. An HTTP error status is not one of these: it comes as a response.
package enum HTTPClientError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Limit: String, Sendable {
        case total = "timeout"
        case connect = "connectTimeout"
        case idle = "idleTimeout"
    }

    /// The request cannot be sent as it is.
    case invalidRequest(String)
    /// No connection: unknown host, refused, unreachable. The request was not sent.
    case connectionFailed(String)
    /// TLS failed, for example an untrusted certificate. The request was not sent.
    case untrusted(String)
    /// The connection broke after the request began to be sent: the server may have acted on it.
    case connectionLost(String)
    case timedOut(Limit, Duration)
    /// The response body is longer than the request allows, in bytes.
    case responseTooLarge(limit: Int)
    /// The peer does not speak HTTP.
    case malformedResponse(String)
    /// As many requests as the client's bound are waiting for a connection.
    case tooManyRequests(limit: Int)
    case cancelled
    /// The client was shut down.
    case shutDown

    /// Whether the server cannot have acted on the request: sending it again is safe whatever it says.
    package var wasNeverSent: Bool {
        switch self {
        case .invalidRequest, .connectionFailed, .untrusted, .timedOut(.connect, _), .tooManyRequests: true
        default: false
        }
    }

    package var description: String {
        switch self {
        case .invalidRequest(let reason): "invalid request: \(reason)"
        case .connectionFailed(let reason): "no connection: \(reason)"
        case .untrusted(let reason): "TLS failed: \(reason)"
        case .connectionLost(let reason): "connection lost: \(reason)"
        case .timedOut(let limit, let duration): "\(limit.rawValue) of \(duration) passed"
        case .responseTooLarge(let limit): "response body is longer than the limit of \(limit) bytes"
        case .malformedResponse(let reason): "malformed response: \(reason)"
        case .tooManyRequests(let limit): "\(limit) requests are waiting already"
        case .cancelled: "cancelled"
        case .shutDown: "the HTTP client was shut down"
        }
    }
}

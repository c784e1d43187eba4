/// What went wrong, in a form that crosses nodes: a code for machines, words for people.
///
/// The codes are gRPC's, so that a foreign client sees the same ones.
package struct ClusterError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: Int, Sendable, CaseIterable {
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        /// The outcome of a write is not known, or the shard has another owner now: ask again.
        case aborted = 10
        /// The shard was split: its halves keep what it kept (protocol, H13). Or merged: ``ClusterError/successor`` keeps it (H14).
        case outOfRange = 11
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14
        case dataLoss = 15
        case unauthenticated = 16
    }

    /// What went wrong more closely, where callers act on it. The words about servers of models are those of OpenAI's API where that has some.
    package enum Reason: String, Sendable, CaseIterable {
        case contentFilter = "content_filter"
        case contextLength = "context_length_exceeded"
        case rateLimit = "model_rate_limit"
        /// It is not set up as the configuration says: the operator's matter.
        case modelServer = "model_server"
        /// An idempotency key stands for another write (protocol, H19).
        case keyReused = "idempotency_key_reused"
        /// An idempotency key is older than what the shard remembers, so whether its write was applied is not known (protocol, H19).
        case keyExpired = "idempotency_key_expired"
    }

    package var code: Code
    package var reason: Reason?
    /// How long to wait before trying again, if somebody said so.
    package var retryAfter: Duration?
    /// Index of the shard that two were merged into, with `outOfRange`.
    package var successor: Int?
    /// A lower-case fragment that carries the values: `expected 768 dimensions, found 384`.
    package var message: String

    package init(_ code: Code, _ message: String, reason: Reason? = nil, retryAfter: Duration? = nil, successor: Int? = nil) {
        self.code = code
        self.reason = reason
        self.retryAfter = retryAfter
        self.successor = successor
        self.message = message
    }

    /// Whether the same request may succeed elsewhere or later without a change.
    package var isRetryable: Bool {
        switch code {
        case .unavailable, .aborted, .resourceExhausted, .deadlineExceeded: true
        default: false
        }
    }

    package var description: String { "\(code): \(message)" }

    /// Any error as one that can cross nodes; a `ClusterError` stays itself.
    package init(_ error: any Error) {
        switch error {
        case let error as ClusterError: self = error
        case is CancellationError: self.init(.cancelled, "the caller went away")
        default: self.init(.internal, String(describing: error))
        }
    }
}

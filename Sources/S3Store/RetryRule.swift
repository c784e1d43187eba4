import OutboundHTTP

/// Which replies a request is sent again for, and after which pause.
package enum RetryRule {
    /// What an attempt without success says about the request.
    enum Verdict: Equatable {
        /// The service has refused it, whole: asking again changes nothing.
        case refused
        /// It was never acted on: repeating is free of doubt.
        case notDone
        /// It may have taken effect (protocol, H5).
        case unknown
    }

    static func verdict(_ error: HTTPClientError) -> Verdict {
        switch error {
        case .invalidRequest, .untrusted, .responseTooLarge, .cancelled, .shutDown: error.wasNeverSent ? .refused : .unknown
        default: error.wasNeverSent ? .notDone : .unknown
        }
    }

    /// Whether the failure may pass: a bad certificate or a cancelled task will not.
    static func mayPass(_ error: HTTPClientError) -> Bool {
        switch error {
        case .invalidRequest, .untrusted, .responseTooLarge, .cancelled, .shutDown: false
        default: true
        }
    }

    /// - Parameters:
    ///   - code: `Code` of the error in the body, if there is one.
    static func verdict(status: Int, code: String?) -> Verdict {
        switch (status, code) {
        // Refused before it was looked at, says S3; a proxy may say 503 of a request that it passed on.
        case (429, _): .notDone
        case (408, _), (400, "RequestTimeout"), (500, _), (502, _), (503, _), (504, _): .unknown
        // Another request for the same key is under way; the right answer is there once that is over.
        case (409, "ConditionalRequestConflict"), (409, "OperationAborted"): .notDone
        default: .refused
        }
    }

    /// Whether the service does not take the credentials, which others may have replaced.
    static func isOfCredentials(_ code: String?) -> Bool {
        ["ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"].contains(code)
    }

    /// A random part of a bound that doubles: full jitter, so that those who failed together do not come back together.
    /// Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.
    ///
    /// - Parameter attempt: How many attempts failed so far, from 1.
    package static func pause(after attempt: Int, first: Duration, longest: Duration, random: inout some RandomNumberGenerator) -> Duration {
        let bound = min(longest, first * (1 << min(attempt - 1, 20)))
        return bound * Double.random(in: 0...1, using: &random)
    }
}

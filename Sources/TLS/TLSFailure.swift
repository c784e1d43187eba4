/// Why a handshake or a connection failed, in a word for machines and in words for an operator.
package struct TLSFailure: Error, Hashable, CustomStringConvertible {
    /// The kinds of failure; the raw value is a metric's label.
    package enum Reason: String, CaseIterable, Sendable {
        /// The peer's certificate has expired, or is not valid yet.
        case expired
        /// The peer's certificate is signed by nobody that is trusted here.
        case unknownAuthority = "unknown_authority"
        /// The peer's certificate is for another name than those that are accepted.
        case wrongName = "wrong_name"
        /// The peer has shown no certificate.
        case noCertificate = "no_certificate"
        /// The peer's certificate is unfit for another reason.
        case badCertificate = "bad_certificate"
        /// The two have no version of TLS in common.
        case protocolVersion = "protocol_version"
        /// The two have no protocol in common: ALPN, RFC 7301.
        case noCommonProtocol = "no_common_protocol"
        /// What came is not TLS.
        case plaintext
        /// The peer refused, and has said why.
        case refused
        /// The peer went away.
        case closed
        /// A client went away without a word, as probes of a port do.
        case silent
        case timedOut = "timed_out"
        /// Anything else, in OpenSSL's words.
        case broken
    }

    package let reason: Reason
    package let detail: String

    package init(_ reason: Reason, _ detail: String) {
        self.reason = reason
        self.detail = detail
    }

    package var description: String { detail }
}

/// What is wrong with certificates, a key or their settings; the words name the file.
package struct TLSConfigurationError: Error, Hashable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

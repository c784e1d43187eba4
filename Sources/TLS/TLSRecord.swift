import COpenSSL
import Synchronization

/// Where OpenSSL's callbacks leave what they saw of one connection, until ``TLSSession`` asks.
final class TLSRecord {
    /// What was found wrong with the peer's certificates first.
    private(set) var certificateFailure: TLSFailure?
    private let context: TLSContext
    private let expectedName: String?
    private let resumption: TLSResumption?

    init(_ context: TLSContext, expecting name: String?, resumption: TLSResumption?) {
        self.context = context
        expectedName = name
        self.resumption = resumption
    }

    @unsafe static func behind(_ tls: OpaquePointer?) -> TLSRecord {
        unsafe Unmanaged<TLSRecord>.fromOpaque(covey_tls_owner(tls!)!).takeUnretainedValue()
    }

    /// - Returns: Whether it is kept, and freed here.
    @unsafe func keep(_ session: OpaquePointer) -> Bool {
        guard let resumption else { return false }
        unsafe resumption.keep(StoredSession(session, context))
        return true
    }

    @unsafe func note(_ store: OpaquePointer?) {
        guard certificateFailure == nil else { return }
        let code = unsafe X509_STORE_CTX_get_error(store)
        certificateFailure = unsafe failure(
            code, leaf: X509_STORE_CTX_get0_cert(store), at: X509_STORE_CTX_get_current_cert(store))
    }

    /// What is wrong now with the certificate of a peer whose session was resumed: it was checked when the session began.
    @unsafe func recheck(_ certificate: OpaquePointer?) -> TLSFailure? {
        guard let certificate = unsafe certificate else { return TLSFailure(.noCertificate, "no certificate: the resumed session has none") }
        if unsafe X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0 {
            return unsafe failure(X509_V_ERR_CERT_HAS_EXPIRED, leaf: certificate, at: certificate)
        }
        let accepted = expectedName.map { [$0] } ?? context.acceptedNames
        for name in accepted where unsafe X509_check_host(certificate, name, name.utf8.count, nameFlags, nil) == 1 { return nil }
        return unsafe failure(X509_V_ERR_HOSTNAME_MISMATCH, leaf: certificate, at: certificate)
    }

    @unsafe private func failure(_ code: CInt, leaf: OpaquePointer?, at certificate: OpaquePointer?) -> TLSFailure {
        let names = unsafe certificateNames(leaf)
        let owner = names.isEmpty ? "a certificate without a name" : "the certificate of \(names.joined(separator: ", "))"
        switch code {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            let seconds = unsafe certificate.map { unsafe covey_certificate_end($0) } ?? 0
            return TLSFailure(.expired, "expired: \(owner), or one above it, ended at \(time(seconds))")
        case X509_V_ERR_CERT_NOT_YET_VALID: return TLSFailure(.expired, "not valid yet: \(owner), or one above it; are the clocks right?")
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return TLSFailure(.unknownAuthority, "unknown authority: \(owner) is signed by none of \(context.authorityFile)")
        case X509_V_ERR_HOSTNAME_MISMATCH:
            if names.isEmpty { return TLSFailure(.wrongName, "the certificate has no name") }
            guard let expectedName else { return TLSFailure(.wrongName, "name \(names.joined(separator: ", ")) is not of this cluster") }
            return TLSFailure(.wrongName, "\(owner) was shown where \(expectedName) was expected")
        default:
            return TLSFailure(.badCertificate, "\(owner) is unfit: \(unsafe String(cString: X509_verify_cert_error_string(Int(code))))")
        }
    }
}

/// Seconds since 1970 as OpenSSL writes a time, to the second, in UTC.
func time(_ seconds: Int64) -> String {
    var clock = time_t(seconds)
    var parts = unsafe tm()
    unsafe gmtime_r(&clock, &parts)
    func two(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let date = unsafe "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    return unsafe "\(date)T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
}

/// The last session with one peer, for the next connection to it: the handshake then needs no signatures. Thread-safe.
package final class TLSResumption: Sendable {
    private let stored = Mutex<StoredSession?>(nil)

    package init() {}

    func keep(_ session: StoredSession) { stored.withLock { $0 = session } }

    /// `nil` if the certificate here has changed since, which the peer would not notice.
    func session(for context: TLSContext) -> StoredSession? { stored.withLock { $0?.context === context ? $0 : nil } }

    package func forget() { stored.withLock { $0 = nil } }
}

/// Owns one `SSL_SESSION`.
@safe final class StoredSession: @unchecked Sendable {
    let pointer: OpaquePointer
    let context: TLSContext

    init(_ pointer: OpaquePointer, _ context: TLSContext) {
        unsafe self.pointer = pointer
        self.context = context
    }

    deinit { unsafe SSL_SESSION_free(pointer) }
}

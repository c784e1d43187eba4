import COpenSSL

/// Owns one `SSL_CTX`: what all connections of one side have in common. It does not change once it is in use, and is then thread-safe.
@safe package final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    let role: TLSIdentity.Role
    private let settings: TLSSettings
    /// Protocols as ALPN has them on the wire: each behind its length.
    private let protocols: [UInt8]
    /// DNS names and addresses of this side's certificate.
    package private(set) var names: [String] = []
    /// When this side's certificate ends, in seconds since 1970.
    package private(set) var expiresAt: Int64 = 0
    /// The same as `2026-11-28T09:00:00Z`.
    package var endTime: String { time(expiresAt) }

    /// Connections resumed within this time need no new check of certificates by the peer. 1 h.
    private static let resumptionSeconds = 3_600

    init(_ role: TLSIdentity.Role, _ settings: TLSSettings) throws(TLSConfigurationError) {
        guard let context = unsafe SSL_CTX_new(role == .server ? TLS_server_method() : TLS_client_method()) else {
            throw TLSConfigurationError("OpenSSL has no memory for a context")
        }
        unsafe pointer = context
        self.role = role
        self.settings = settings
        protocols = settings.protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        setOptions()
        setVerification()
        if role == .client { keepSessions() } else { chooseProtocol() }
    }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// Whether the peer has to show a certificate.
    var verifies: Bool { settings.authorityFile != nil }
    /// Names of peers that are accepted.
    var acceptedNames: Set<String> { settings.names }
    var authorityFile: String { settings.authorityFile ?? "" }
    var offeredProtocols: [String] { settings.protocols }
    /// In words.
    var versions: String { settings.minimumVersion == .tls13 ? "TLS 1.3" : "TLS 1.2 and 1.3" }

    // MARK: Certificates

    /// - Parameters:
    ///   - certificate: PEM: this side's, then those above it.
    ///   - key: PEM.
    func use(certificate: [UInt8], key: [UInt8]) throws(TLSConfigurationError) {
        let chain = unsafe try Self.certificates(in: certificate, settings.certificateFile)
        defer { for unsafe each in unsafe chain { unsafe X509_free(each) } }
        let leaf = unsafe chain[0]
        guard unsafe SSL_CTX_use_certificate(pointer, leaf) == 1 else { throw TLSConfigurationError("\(settings.certificateFile): \(lastError())") }
        for unsafe above in unsafe chain.dropFirst() { unsafe covey_tls_add_chain_certificate(pointer, above) }
        names = unsafe certificateNames(leaf)
        expiresAt = unsafe covey_certificate_end(leaf)

        guard let bio = unsafe BIO_new_mem_buf(key, CInt(key.count)) else { throw TLSConfigurationError("OpenSSL has no memory for a key") }
        defer { unsafe _ = BIO_free(bio) }
        // Asked for a passphrase there is none: it would be asked for at a terminal.
        guard let privateKey = unsafe PEM_read_bio_PrivateKey(bio, nil, { _, _, _, _ in -1 }, nil) else {
            throw TLSConfigurationError("\(settings.keyFile) has no key in PEM that is not encrypted: \(lastError())")
        }
        defer { unsafe EVP_PKEY_free(privateKey) }
        guard unsafe SSL_CTX_use_PrivateKey(pointer, privateKey) == 1, unsafe SSL_CTX_check_private_key(pointer) == 1 else {
            throw TLSConfigurationError("\(settings.keyFile) is not the key of \(settings.certificateFile): \(lastError())")
        }
    }

    /// - Parameter authority: PEM: any number of certificates.
    func trust(_ authority: [UInt8]) throws(TLSConfigurationError) {
        let authorities = unsafe try Self.certificates(in: authority, settings.authorityFile ?? "")
        defer { for unsafe each in unsafe authorities { unsafe X509_free(each) } }
        for unsafe each in unsafe authorities {
            unsafe _ = X509_STORE_add_cert(SSL_CTX_get_cert_store(pointer), each)
            // A server names whom it trusts, so that a client with several certificates knows which to show.
            if role == .server { unsafe _ = SSL_CTX_add_client_CA(pointer, each) }
        }
    }

    /// At least one; the caller frees them.
    private static func certificates(in pem: [UInt8], _ file: String) throws(TLSConfigurationError) -> [OpaquePointer] {
        guard let bio = unsafe BIO_new_mem_buf(pem, CInt(pem.count)) else { throw TLSConfigurationError("OpenSSL has no memory for certificates") }
        defer { unsafe _ = BIO_free(bio) }
        var found: [OpaquePointer] = unsafe []
        while let certificate = unsafe PEM_read_bio_X509(bio, nil, nil, nil) { unsafe found.append(certificate) }
        let reason = lastError()  // also the end of the file leaves one
        guard unsafe !found.isEmpty else { throw TLSConfigurationError("\(file) has no certificate in PEM: \(reason)") }
        return unsafe found
    }

    // MARK: Options

    private func setOptions() {
        unsafe _ = covey_tls_set_minimum_version(pointer, settings.minimumVersion == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION)
        unsafe _ = SSL_CTX_set_options(pointer, UInt64(1) << 30 | 1 << 17)  // SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_COMPRESSION
        // HTTP/2 forbids the other ciphers of TLS 1.2 (RFC 9113, appendix A); those of 1.3 are all fine.
        unsafe _ = SSL_CTX_set_cipher_list(pointer, "ECDHE+AESGCM:ECDHE+CHACHA20")
        // A connection at rest keeps no buffers: 34 KiB less for each.
        unsafe covey_tls_set_mode(pointer, 0x10)  // SSL_MODE_RELEASE_BUFFERS
        unsafe _ = SSL_CTX_set_timeout(pointer, Self.resumptionSeconds)
        unsafe _ = SSL_CTX_set_session_id_context(pointer, "covey", 5)
    }

    private func setVerification() {
        guard verifies else {
            unsafe SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
            return
        }
        unsafe SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT) { isFine, store in
            if isFine == 0 { unsafe TLSRecord.behind(covey_tls_of(store)).note(store) }
            return isFine
        }
        let parameters = unsafe SSL_CTX_get0_param(pointer)
        // Who is named as an authority is one, also below another.
        unsafe _ = X509_VERIFY_PARAM_set_flags(parameters, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        guard role == .server else { return }  // a client knows whom it calls
        unsafe X509_VERIFY_PARAM_set_hostflags(parameters, nameFlags)
        for name in acceptedNames { unsafe _ = X509_VERIFY_PARAM_add1_host(parameters, name, 0) }
    }

    private func chooseProtocol() {
        unsafe covey_tls_set_session_cache(pointer, 0)  // SSL_SESS_CACHE_OFF: tickets keep the state at the client
        let own = unsafe Unmanaged.passUnretained(self).toOpaque()  // every session holds its context
        unsafe SSL_CTX_set_alpn_select_cb(pointer, { _, chosen, chosenCount, offered, offeredCount, own in
            let context = unsafe Unmanaged<TLSContext>.fromOpaque(own!).takeUnretainedValue()
            let code = unsafe context.protocols.withUnsafeBufferPointer { ours in
                // It points into `ours`, which lives as long as the context, or into `offered`.
                unsafe chosen!.withMemoryRebound(to: UnsafeMutablePointer<UInt8>?.self, capacity: 1) { chosen in
                    unsafe SSL_select_next_proto(chosen, chosenCount, ours.baseAddress, UInt32(ours.count), offered, offeredCount)
                }
            }
            return code == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL
        }, own)
    }

    private func keepSessions() {
        unsafe _ = SSL_CTX_set_alpn_protos(pointer, protocols, UInt32(protocols.count))
        unsafe covey_tls_set_session_cache(pointer, 0x1 | 0x300)  // SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_NO_INTERNAL
        unsafe SSL_CTX_sess_set_new_cb(pointer) { tls, session in
            unsafe TLSRecord.behind(tls).keep(session!) ? 1 : 0  // 1: the session is ours to free
        }
    }
}

/// Names count only where a certificate has them for that purpose, whole: no wildcards, one label in place of a leading dot.
let nameFlags = UInt32(X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS)

@unsafe func certificateNames(_ certificate: OpaquePointer?) -> [String] {
    guard let certificate = unsafe certificate else { return [] }
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1_024) { text in
        unsafe covey_certificate_names(certificate, text.baseAddress, text.count)
        return unsafe String(cString: text.baseAddress!).split(separator: " ").map(String.init)
    }
}

/// OpenSSL's words for what went wrong first on this thread; forgets the rest.
func lastError() -> String {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0, let words = unsafe ERR_reason_error_string(code) else { return "no reason given" }
    return unsafe String(cString: words)
}

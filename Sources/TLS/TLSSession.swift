import COpenSSL

/// What a handshake agreed on.
package struct TLSNegotiation: Hashable, Sendable {
    /// By ALPN; `nil` if the peer offered none.
    package let applicationProtocol: String?
    /// `TLSv1.3`
    package let version: String
    /// Whether an earlier session's secret was used again.
    package let isResumed: Bool
    /// DNS names and addresses of the peer's certificate.
    package let peerNames: [String]

    package init(applicationProtocol: String?, version: String, isResumed: Bool, peerNames: [String]) {
        self.applicationProtocol = applicationProtocol
        self.version = version
        self.isResumed = isResumed
        self.peerNames = peerNames
    }
}

/// One end of a TLS connection as a codec: bytes in, bytes out. No socket, no clock, no thread; OpenSSL with two memory BIOs.
///
/// What it keeps: at most one incomplete record or handshake message (OpenSSL takes 100 KiB of certificates), and what was not collected
/// with ``send(_:)``. Used from one thread at a time. After a throw nothing but ``send(_:)`` makes sense, once: there may be an alert.
@safe package struct TLSSession: ~Copyable {
    private let pointer: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private let context: TLSContext
    private let record: TLSRecord  // released after `deinit` has run, so the last callback still finds it
    private let resumption: TLSResumption?
    /// Whether the peer has said anything.
    package private(set) var hasReceived = false

    /// The largest record's plaintext: RFC 8446 § 5.1.
    package static let recordBytes = 16 << 10

    /// - Parameters:
    ///   - name: Of a client: the DNS name that the server's certificate must have.
    ///   - resumption: Of a client: where the session of an earlier connection is, and where this one's goes.
    /// - Throws: ``TLSFailure`` for want of memory.
    package init(_ context: TLSContext, expecting name: String? = nil, resumption: TLSResumption? = nil) throws(TLSFailure) {
        let record = TLSRecord(context, expecting: name, resumption: resumption)
        guard let pointer = unsafe SSL_new(context.pointer), let input = unsafe BIO_new(BIO_s_mem()), let output = unsafe BIO_new(BIO_s_mem()) else {
            throw TLSFailure(.broken, "OpenSSL has no memory for a connection")
        }
        unsafe SSL_set_bio(pointer, input, output)  // it frees them
        unsafe covey_tls_set_owner(pointer, Unmanaged.passUnretained(record).toOpaque())
        if context.role == .client {
            unsafe SSL_set_connect_state(pointer)
            if let name {
                let parameters = unsafe SSL_get0_param(pointer)
                unsafe X509_VERIFY_PARAM_set_hostflags(parameters, nameFlags)
                unsafe _ = X509_VERIFY_PARAM_set1_host(parameters, name, 0)
                unsafe _ = covey_tls_set_server_name(pointer, name)
            }
            if let session = resumption?.session(for: context) { unsafe _ = SSL_set_session(pointer, session.pointer) }
        } else {
            unsafe SSL_set_accept_state(pointer)
        }
        unsafe self.pointer = pointer
        unsafe self.input = input
        unsafe self.output = output
        self.context = context
        self.record = record
        self.resumption = resumption
    }

    package var isServer: Bool { context.role == .server }

    deinit {
        // Else OpenSSL would forbid to resume the session of a connection that broke.
        unsafe SSL_set_shutdown(pointer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        unsafe SSL_free(pointer)
    }

    /// Takes bytes from the peer, cut anywhere.
    ///
    /// - Throws: ``TLSFailure/Reason/plaintext`` if the first one does not begin a record of a handshake (or of a server's refusal).
    package mutating func receive(_ bytes: RawSpan) throws(TLSFailure) {
        guard bytes.byteCount > 0 else { return }
        if !hasReceived {
            let first = unsafe bytes.unsafeLoadUnaligned(as: UInt8.self)
            guard first == 0x16 || (first == 0x15 && context.role == .client) else {
                throw TLSFailure(.plaintext, context.role == .server ? "plaintext to a TLS port" : "the peer answers in plaintext: it has no TLS")
            }
            hasReceived = true
        }
        unsafe bytes.withUnsafeBytes { unsafe _ = BIO_write(input, $0.baseAddress, CInt($0.count)) }
    }

    /// Goes on with the handshake; a client's first call begins it.
    ///
    /// - Returns: What was agreed on, once it is complete; `nil` if the peer has to say more.
    /// - Throws: ``TLSFailure`` with the first reason that was found.
    package func handshake() throws(TLSFailure) -> TLSNegotiation? {
        ERR_clear_error()
        let result = unsafe SSL_do_handshake(pointer)
        guard result == 1 else {
            if unsafe SSL_get_error(pointer, result) == SSL_ERROR_WANT_READ { return nil }
            resumption?.forget()
            throw failure(result)
        }
        let isResumed = unsafe SSL_session_reused(pointer) == 1
        let certificate = unsafe SSL_get0_peer_certificate(pointer)
        if isResumed, context.verifies, let failure = unsafe record.recheck(certificate) {
            resumption?.forget()
            throw failure
        }
        let applicationProtocol = chosenProtocol
        // A client offers one protocol or more, and a server that knows none of them may still go on.
        if context.role == .client, applicationProtocol == nil {
            throw TLSFailure(.noCommonProtocol, "no \(context.offeredProtocols.joined(separator: " or ")) by ALPN: the server agreed to none")
        }
        return unsafe TLSNegotiation(
            applicationProtocol: applicationProtocol, version: String(cString: SSL_get_version(pointer)), isResumed: isResumed,
            peerNames: certificateNames(certificate))
    }

    private var chosenProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(pointer, &name, &count)
        return unsafe count == 0 ? nil : String(decoding: UnsafeBufferPointer(start: name, count: Int(count)), as: UTF8.self)
    }

    /// Decrypts into `room`, at most a record at a time.
    ///
    /// - Returns: Bytes written; 0 if the peer has to say more, `nil` if it has ended its side.
    @unsafe package func read(into room: UnsafeMutableRawBufferPointer) throws(TLSFailure) -> Int? {
        ERR_clear_error()
        let result = unsafe SSL_read(pointer, room.baseAddress, CInt(room.count))
        if result > 0 { return Int(result) }
        switch unsafe SSL_get_error(pointer, result) {
        case SSL_ERROR_WANT_READ: return 0
        case SSL_ERROR_ZERO_RETURN: return nil
        default: throw failure(result)
        }
    }

    /// Encrypts `bytes`; only once the handshake is complete.
    package func write(_ bytes: RawSpan) throws(TLSFailure) {
        guard bytes.byteCount > 0 else { return }
        ERR_clear_error()
        let result = unsafe bytes.withUnsafeBytes { unsafe SSL_write(pointer, $0.baseAddress, CInt($0.count)) }
        if result <= 0 { throw failure(result) }  // a memory BIO takes everything
    }

    /// Tells the peer that nothing more comes from here.
    package func end() { unsafe _ = SSL_shutdown(pointer) }

    /// Hands over all bytes for the peer, if there are any.
    package func send(_ body: (RawSpan) -> Void) {
        var bytes: UnsafeMutablePointer<CChar>?
        let count = unsafe covey_bio_pending(output, &bytes)
        guard count > 0 else { return }
        unsafe body(UnsafeRawBufferPointer(start: bytes, count: count).bytes)
        unsafe covey_bio_reset(output)
    }

    // MARK: What went wrong

    private func failure(_ result: CInt) -> TLSFailure {
        if let failure = record.certificateFailure {
            ERR_clear_error()
            return failure
        }
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0, let words = unsafe ERR_reason_error_string(code) else { return TLSFailure(.broken, "TLS ended without a reason") }
        let text = unsafe String(cString: words)
        switch covey_error_reason(code) {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return TLSFailure(.noCertificate, "no certificate: the client showed none")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_WRONG_SSL_VERSION, SSL_R_NO_PROTOCOLS_AVAILABLE:
            return TLSFailure(.protocolVersion, "protocol version: the peer has none of \(context.versions) (\(text))")
        case SSL_R_NO_APPLICATION_PROTOCOL:
            return TLSFailure(.noCommonProtocol, "no \(context.offeredProtocols.joined(separator: " or ")) by ALPN: the client offered others")
        // An alert's number stands behind a thousand.
        case 1_000 + 70: return TLSFailure(.protocolVersion, "protocol version: the peer refused all of \(context.versions)")
        case 1_000 + 120:
            return TLSFailure(.noCommonProtocol, "no \(context.offeredProtocols.joined(separator: " or ")) by ALPN: the server has others")
        case 1_000..<1_256: return TLSFailure(.refused, "the peer refused: \(text)")
        default: return TLSFailure(.broken, "TLS failed: \(text)")
        }
    }
}

import CCurl

/// Owns one `CURL` handle and turns its callbacks into calls of a ``Transfer``. Lives on libcurl's thread.
@safe final class EasyTransfer {
    /// Response headers beyond this are an error. Servers send a few KiB.
    private static let maximumHeaderBytes = 256 << 10

    let pointer: UnsafeMutableRawPointer
    let transfer: Transfer
    /// Scheme, host and port: what the bound on connections counts by.
    let host: String
    private var headerList: UnsafeMutablePointer<curl_slist>?
    /// Where libcurl writes what it knows of a failure.
    private let errorText: UnsafeMutablePointer<CChar>
    private let submitted = ContinuousClock.now

    private var sentBytes = 0
    private var lastActivity = ContinuousClock.now
    private var movedBytes: Int = 0
    private var status = 0
    private var headers = HTTPHeaders()
    private var headerBytes = 0
    private var isHeadComplete = false
    /// Why a callback aborted the transfer; libcurl itself only says that one did.
    private var abortReason: HTTPClientError?

    init(_ transfer: Transfer, configuration: HTTPClientConfiguration) throws(HTTPClientError) {
        self.transfer = transfer
        host = try URLOrigin.of(transfer.request.url)
        guard let easy = unsafe curl_easy_init() else { throw .invalidRequest("libcurl has no memory for a handle") }
        unsafe pointer = easy
        unsafe errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        try addHeaders()
        setOptions(configuration)
        setCallbacks()
    }

    deinit {
        unsafe curl_easy_cleanup(pointer)
        unsafe curl_slist_free_all(headerList)
        unsafe errorText.deallocate()
    }

    static func behind(_ easy: UnsafeMutableRawPointer) -> EasyTransfer {
        var value: UnsafeMutablePointer<CChar>?
        unsafe _ = covey_curl_get_private(easy, &value)
        return unsafe behind(context: UnsafeMutableRawPointer(value))
    }
    fileprivate static func behind(context: UnsafeMutableRawPointer?) -> EasyTransfer {
        unsafe Unmanaged<EasyTransfer>.fromOpaque(context!).takeUnretainedValue()
    }

    /// It leaves the line: silence counts from now.
    func begin() { lastActivity = .now }

    /// The reader has room again.
    func resume() {
        lastActivity = .now
        unsafe _ = curl_easy_pause(pointer, CURLPAUSE_CONT)
    }

    // MARK: Time

    private var idleDeadline: ContinuousClock.Instant? {
        transfer.isPaused ? nil : transfer.request.idleTimeout.map { lastActivity + $0 }
    }
    private var totalDeadline: ContinuousClock.Instant? { transfer.request.timeout.map { submitted + $0 } }

    var nextDeadline: ContinuousClock.Instant? { [idleDeadline, totalDeadline].compactMap(\.self).min() }

    func passedLimit(at now: ContinuousClock.Instant) -> HTTPClientError? {
        if let totalDeadline, let timeout = transfer.request.timeout, now >= totalDeadline { return .timedOut(.total, timeout) }
        if let idleDeadline, let timeout = transfer.request.idleTimeout, now >= idleDeadline { return .timedOut(.idle, timeout) }
        return nil
    }

    // MARK: Options

    private func addHeaders() throws(HTTPClientError) {
        // Without this libcurl holds a longer body back for a second, waiting for `100 Continue`.
        append("Expect:")
        for field in transfer.request.headers.fields {
            guard !field.name.isEmpty, field.name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }) else {
                throw .invalidRequest("header name \(field.name.debugDescription)")
            }
            guard field.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                throw .invalidRequest("header \(field.name) has a control character")
            }
            // `Name;` is how libcurl is told to send an empty value; `Name:` would leave the field out.
            append(field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)")
        }
    }

    private func append(_ line: String) { unsafe headerList = curl_slist_append(headerList, line) }

    private func setOptions(_ configuration: HTTPClientConfiguration) {
        let request = transfer.request
        set(CURLOPT_URL, request.url)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_USERAGENT, "covey")
        set(CURLOPT_PROXY, configuration.proxy ?? "")
        set(CURLOPT_NOPROXY, configuration.noProxy)
        // What the proxy says of the tunnel is not the response.
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        if let file = configuration.certificateAuthorityFile {
            set(CURLOPT_CAINFO, file)
            set(CURLOPT_PROXY_CAINFO, file)
            // Distributions trust a folder of authorities besides.
            unsafe _ = covey_curl_set_string(pointer, CURLOPT_CAPATH, nil)
            unsafe _ = covey_curl_set_string(pointer, CURLOPT_PROXY_CAPATH, nil)
        }
        unsafe _ = covey_curl_set_pointer(pointer, CURLOPT_ERRORBUFFER, errorText)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_NOPROGRESS, 0)
        set(CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(clamping: request.connectTimeout.milliseconds)))
        unsafe _ = covey_curl_set_unacknowledged_limit(pointer, Int(clamping: configuration.unacknowledgedLimit.milliseconds))
        unsafe _ = covey_curl_set_headers(pointer, headerList)
        switch request.method {
        case .get where request.body.isEmpty: set(CURLOPT_HTTPGET, 1)
        case .head: set(CURLOPT_NOBODY, 1)
        case .delete where request.body.isEmpty: set(CURLOPT_CUSTOMREQUEST, "DELETE")
        default:
            set(CURLOPT_POST, 1)
            unsafe _ = covey_curl_set_offset(pointer, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
            set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        }
    }

    private func set(_ option: CURLoption, _ value: Int) {
        let code = unsafe covey_curl_set_long(pointer, option, value)
        precondition(code == CURLE_OK, "libcurl refused option \(option.rawValue): code \(code.rawValue)")
    }
    private func set(_ option: CURLoption, _ value: String) {
        let code = unsafe covey_curl_set_string(pointer, option, value)
        precondition(code == CURLE_OK, "libcurl refused option \(option.rawValue): code \(code.rawValue)")
    }

    private func setCallbacks() {
        // The handle never outlives `self`, which cleans it up: an unretained pointer is enough.
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        for option in [CURLOPT_PRIVATE, CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_READDATA, CURLOPT_SEEKDATA, CURLOPT_XFERINFODATA] {
            unsafe _ = covey_curl_set_pointer(pointer, option, context)
        }
        unsafe _ = covey_curl_set_data_function(pointer, CURLOPT_WRITEFUNCTION) { bytes, _, count, context in
            unsafe EasyTransfer.behind(context: context).receive(UnsafeRawBufferPointer(start: bytes, count: count))
        }
        unsafe _ = covey_curl_set_data_function(pointer, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            unsafe EasyTransfer.behind(context: context).receiveHeader(UnsafeRawBufferPointer(start: bytes, count: size * count))
        }
        unsafe _ = covey_curl_set_data_function(pointer, CURLOPT_READFUNCTION) { bytes, size, count, context in
            unsafe EasyTransfer.behind(context: context).fill(UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
        }
        // libcurl rewinds a body in order to send it a second time over a new connection. The first copy may have
        // arrived, so that is the caller's decision: refuse, which ends the transfer with CURLE_SEND_FAIL_REWIND.
        unsafe _ = covey_curl_set_seek_function(pointer) { _, _, _ in CURL_SEEKFUNC_FAIL }
        unsafe _ = covey_curl_set_progress_function(pointer) { context, _, received, _, sent in
            unsafe EasyTransfer.behind(context: context).noteProgress(received + sent)
            return 0
        }
    }

    // MARK: Callbacks

    private func noteProgress(_ bytes: Int) {
        guard bytes != movedBytes else { return }
        movedBytes = bytes
        lastActivity = .now
    }

    private func fill(_ room: UnsafeMutableRawBufferPointer) -> Int {
        let body = transfer.request.body
        let count = min(room.count, body.count - sentBytes)
        unsafe body.withUnsafeBytes { bytes in
            unsafe room.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[sentBytes..<sentBytes + count]))
        }
        sentBytes += count
        lastActivity = .now
        return count
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        lastActivity = .now
        switch unsafe transfer.receive(bytes) {
        case .taken: return bytes.count
        case .pause: return Int(CURL_WRITEFUNC_PAUSE)
        case .tooLarge:
            abortReason = .responseTooLarge(limit: transfer.request.maximumResponseBytes)
            return 0
        }
    }

    /// Takes one header line with its line end. A status line starts anew (after `100 Continue`), an empty one ends the head.
    private func receiveHeader(_ bytes: UnsafeRawBufferPointer) -> Int {
        lastActivity = .now
        guard !isHeadComplete else { return bytes.count }  // a trailer
        headerBytes += bytes.count
        guard headerBytes <= Self.maximumHeaderBytes else {
            abortReason = .malformedResponse("more than \(Self.maximumHeaderBytes) bytes of headers")
            return 0
        }
        let line = unsafe String(decoding: bytes, as: UTF8.self).trimmingSuffix { $0.isNewline }
        if line.hasPrefix("HTTP/") {
            let parts = line.split(separator: " ", maxSplits: 2)
            status = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
            headers = HTTPHeaders()
        } else if line.isEmpty {
            if status >= 200 {
                isHeadComplete = true
                transfer.receiveHead(status: status, headers: headers)
            }
        } else if let colon = line.firstIndex(of: ":") {
            headers.add(String(line[..<colon]), line[line.index(after: colon)...].trimmingWhitespace())
        }
        return bytes.count
    }

    /// What libcurl's result means.
    func outcome(of code: CURLcode) -> Result<Void, HTTPClientError> {
        if let abortReason { return .failure(abortReason) }
        let details = unsafe String(cString: errorText)
        let reason = "\(host): \(unsafe String(cString: curl_easy_strerror(code)))\(details.isEmpty ? "" : ": \(details)")"
        // The proxy's answer to a tunnel that it did not open: nothing of the request was sent.
        let tunnel = unsafe covey_curl_get_connect_status(pointer)
        if code != CURLE_OK, tunnel != 0, !(200..<300).contains(tunnel) { return .failure(.connectionFailed("\(host): the proxy answered \(tunnel) to CONNECT")) }
        switch code {
        case CURLE_OK: return .success(())
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY: return .failure(.connectionFailed(reason))
        case CURLE_OPERATION_TIMEDOUT: return .failure(.timedOut(.connect, transfer.request.connectTimeout))
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE: return .failure(.untrusted(reason))
        // The URL's scheme was checked before: an unsupported protocol is what the server spoke.
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING:
            return .failure(.malformedResponse(reason))
        default: return .failure(.connectionLost(reason))
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 {
        components.seconds.multipliedReportingOverflow(by: 1_000).partialValue + components.attoseconds / 1_000_000_000_000_000
    }
}

extension StringProtocol {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
        var end = endIndex
        while end > startIndex, predicate(self[index(before: end)]) { end = index(before: end) }
        return String(self[startIndex..<end])
    }
    fileprivate func trimmingWhitespace() -> String {
        String(drop { $0.isWhitespace }).trimmingSuffix { $0.isWhitespace }
    }
}

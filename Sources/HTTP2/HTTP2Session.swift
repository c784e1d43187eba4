import CNGHTTP2

/// One end of an HTTP/2 connection as a codec: bytes in, events out; calls in, bytes out. No socket, no timer, no thread.
///
/// libnghttp2 keeps the protocol: framing, header compression, flow control, limits; what a server must refuse beside that a ``FrameInspector`` finds.
/// Bodies lie here until the peer's window takes them. Used from one thread at a time.
@safe package struct HTTP2Session: ~Copyable {
    package enum Role: Sendable { case client, server }

    private let pointer: OpaquePointer
    private let record: SessionRecord  // released after `deinit` has run, so the last callback still finds it

    /// Makes a session whose first bytes, to be collected with ``send(limit:_:)``, open the connection.
    ///
    /// - Throws: ``HTTP2Error/invalidConfiguration(_:)``; ``HTTP2Error/library(code:operation:)`` for want of memory.
    package init(_ role: Role, configuration: HTTP2Configuration = HTTP2Configuration()) throws(HTTP2Error) {
        try configuration.validate()
        let record = SessionRecord(maximumHeaderListBytes: configuration.maximumHeaderListBytes)
        if role == .server { record.inspector = FrameInspector(configuration, now: .now) }
        let pointer = unsafe try makeSession(role, configuration, record)
        self.record = record
        unsafe self.pointer = pointer
    }

    deinit { unsafe nghttp2_session_del(pointer) }

    // MARK: Bytes

    /// Feeds bytes from the peer, cut anywhere; returns what they meant. Then ``send(limit:_:)``: there may be answers.
    ///
    /// - Throws: ``HTTP2Error/library(code:operation:)`` when nothing more can be said on this connection: close it.
    package func receive(_ bytes: RawSpan, at now: ContinuousClock.Instant = .now) throws(HTTP2Error) -> [HTTP2Event] {
        record.changesWindows = false
        let (byteCount, fault) = record.inspector?.inspect(bytes, at: now) ?? (bytes.byteCount, nil)
        try feed(bytes.extracting(0..<byteCount))
        if let fault { terminate(fault.code, fault.reason) }
        if record.isHeaderListAbsurd { terminate(.enhanceYourCalm, "a header list of more than four times \(record.maximumHeaderListBytes) bytes") }
        return takeEvents()
    }

    private func feed(_ bytes: RawSpan) throws(HTTP2Error) {
        let consumed = unsafe bytes.withUnsafeBytes { bytes in
            record.inputAddress = UInt(bitPattern: bytes.baseAddress)
            return unsafe nghttp2_session_mem_recv(pointer, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        }
        if Self.floods.contains(consumed) { return terminate(.enhanceYourCalm, unsafe String(cString: nghttp2_strerror(CInt(consumed)))) }
        guard consumed >= 0 else { throw .library(code: CInt(consumed), operation: complaint ?? "receive") }
    }

    private static let floods = [NGHTTP2_ERR_FLOODED, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS].map { Int($0.rawValue) }

    /// Hands over about `limit` bytes for the peer, if there are so many, and what was learned by sending them.
    ///
    /// The limit is passed by at most one frame. Call it again while ``wantsToSend`` and the socket takes more.
    package func send(limit: Int, _ write: (RawSpan) -> Void) throws(HTTP2Error) -> [HTTP2Event] {
        record.outputLimit = limit
        while record.output.count < limit {
            var bytes: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(pointer, &bytes)
            guard count >= 0 else { throw .library(code: CInt(count), operation: complaint ?? "send") }
            if count > 0 { unsafe record.output.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count)) }
            if count == 0 { break }  // nothing left, or frames of data, which go around the library's buffer, reached the limit
        }
        if record.hasWindowOverflow {
            record.hasWindowOverflow = false
            terminate(.flowControlError, "a SETTINGS_INITIAL_WINDOW_SIZE that takes a stream's window beyond 2^31 - 1")
        }
        if !record.output.isEmpty { unsafe write(record.output.span.bytes) }
        record.output.removeAll(keepingCapacity: record.output.capacity <= 1 << 20)
        return takeEvents()
    }

    private func takeEvents() -> [HTTP2Event] {
        defer { record.events = [] }
        return record.events
    }

    package var wantsToSend: Bool { unsafe nghttp2_session_want_write(pointer) != 0 }
    /// Whether the connection is over: nothing more is expected from the peer, and nothing is left to tell it.
    package var isOver: Bool { unsafe nghttp2_session_want_read(pointer) == 0 && !wantsToSend }
    /// What the library said about the last thing that went wrong.
    package var complaint: String? { record.complaint }
    /// Streams that the peer lets this client have open.
    package var maximumStreamsOfPeer: Int {
        Int(unsafe nghttp2_session_get_remote_settings(pointer, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// When the preface, frame or header block that the client has begun and not ended began.
    package var incompleteSince: ContinuousClock.Instant? { record.inspector?.incompleteSince }
    /// Whether the peer has answered the first settings.
    package var areSettingsAcknowledged: Bool { record.areSettingsAcknowledged }

    /// Finds what the peer has kept from being sent since the last look, although it was there all the time: streams whose window it keeps shut, or
    /// opens by less than `minimumBytes`; or that the whole connection's window stands still like that.
    package func takeStalled(minimumBytes: Int) -> (streams: [HTTP2StreamID], isConnection: Bool) {
        let isConnectionShut = unsafe nghttp2_session_get_remote_window_size(pointer) <= 0 && record.takenBytes < minimumBytes
        record.takenBytes = 0
        var stalled: [HTTP2StreamID] = []
        var isConnection = false
        for stream in Array(record.bodies.keys) where record.bodies[stream]!.hasStalled(minimum: minimumBytes) {
            if unsafe nghttp2_session_get_stream_remote_window_size(pointer, stream) <= 0 { stalled.append(stream) }
            isConnection = isConnection || isConnectionShut
        }
        return (stalled, isConnection)
    }

    // MARK: Streams

    /// Opens a stream with a request.
    ///
    /// - Throws: when the numbers of streams, about 2^30, are used up: the connection must be replaced.
    package func request(_ headers: [HTTP2Header], body: [[UInt8]], endsStream: Bool = true) throws(HTTP2Error) -> HTTP2StreamID {
        var provider = unsafe Self.provider
        let stream = unsafe withNameValues(headers) { unsafe nghttp2_submit_request(pointer, nil, $0, $1, &provider, nil) }
        guard stream > 0 else { throw .library(code: stream, operation: "request") }
        addBody(body, trailers: [], isEnded: endsStream, to: stream)
        return stream
    }

    /// Starts the answer to a request; more follows with ``append(_:to:)`` and ``end(_:trailers:)`` unless `trailers` are given.
    package func respond(_ stream: HTTP2StreamID, _ headers: [HTTP2Header], body: [[UInt8]], trailers: [HTTP2Header]? = nil) throws(HTTP2Error) {
        var provider = unsafe Self.provider
        let code = unsafe withNameValues(headers) { unsafe nghttp2_submit_response(pointer, stream, $0, $1, &provider) }
        try check(code, "response")
        addBody(body, trailers: trailers ?? [], isEnded: trailers != nil, to: stream)
    }

    /// Answers a request with headers alone.
    package func respond(_ stream: HTTP2StreamID, endingWith headers: [HTTP2Header]) throws(HTTP2Error) {
        try check(unsafe withNameValues(headers) { unsafe nghttp2_submit_response(pointer, stream, $0, $1, nil) }, "response")
    }

    /// Adds to the body of an open stream; on a closed one it does nothing.
    package func append(_ chunks: [[UInt8]], to stream: HTTP2StreamID) {
        guard record.bodies[stream] != nil else { return }
        for chunk in chunks {
            record.bodies[stream]!.append(chunk)
            record.pendingBytes += chunk.count
        }
        resume(stream)
    }

    /// Ends the body of an open stream; on a closed one it does nothing.
    package func end(_ stream: HTTP2StreamID, trailers: [HTTP2Header]) {
        guard record.bodies[stream] != nil else { return }
        record.bodies[stream]!.trailers = trailers
        record.bodies[stream]!.isEnded = true
        resume(stream)
    }

    /// Bytes of a stream's body that the peer has not let through yet; 0 for a closed one.
    package func pendingBytes(of stream: HTTP2StreamID) -> Int { record.bodies[stream]?.byteCount ?? 0 }

    /// The same for all streams together.
    package var pendingBytes: Int { record.pendingBytes }

    /// Ends a stream at once; what it had to send is dropped. A closed one stays closed.
    package func reset(_ stream: HTTP2StreamID, _ code: HTTP2ErrorCode) {
        record.dropBody(of: stream)
        unsafe nghttp2_submit_rst_stream(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    }

    /// Lets the peer send `count` more bytes on a stream.
    package func consume(_ count: Int, of stream: HTTP2StreamID) { unsafe nghttp2_session_consume_stream(pointer, stream, count) }
    /// Lets the peer send `count` more bytes on the connection.
    package func consumeOnConnection(_ count: Int) { unsafe nghttp2_session_consume_connection(pointer, count) }

    // MARK: Connection

    /// Gives the connection up and tells the peer why; what it sends from now on is ignored.
    package func terminate(_ code: HTTP2ErrorCode, _ reason: String) {
        record.complaint = reason
        unsafe nghttp2_session_terminate_session(pointer, code.rawValue)
    }

    /// Asks the peer for a sign of life; `mark` comes back in ``HTTP2Event/pingAcknowledged(mark:)``.
    package func ping(mark: UInt8 = 0) {
        let payload = [UInt8](repeating: mark, count: 8)
        unsafe nghttp2_submit_ping(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), payload)
    }

    /// Tells a client that the server is about to stop; streams that it opened before it knows are still served.
    package func announceShutdown() { unsafe nghttp2_submit_shutdown_notice(pointer) }

    /// Tells the peer the last stream that is served; the connection is over once the open ones are done.
    package func goAway() {
        let last = unsafe nghttp2_session_get_last_proc_stream_id(pointer)
        unsafe nghttp2_submit_goaway(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, HTTP2ErrorCode.noError.rawValue, nil, 0)
    }

    // MARK: Bodies

    private static var provider: nghttp2_data_provider {
        unsafe nghttp2_data_provider(source: nghttp2_data_source()) { session, stream, _, limit, flags, _, userData in
            unsafe SessionRecord.behind(userData).offer(stream, upTo: limit, session: session, flags: flags!)
        }
    }

    private func addBody(_ chunks: [[UInt8]], trailers: [HTTP2Header], isEnded: Bool, to stream: HTTP2StreamID) {
        var body = OutgoingBody()
        for chunk in chunks { body.append(chunk) }
        body.trailers = trailers
        body.isEnded = isEnded
        record.bodies[stream] = body
        record.pendingBytes += body.byteCount
    }

    private func resume(_ stream: HTTP2StreamID) {
        guard record.bodies[stream]!.isDeferred else { return }
        record.bodies[stream]!.isDeferred = false
        unsafe nghttp2_session_resume_data(pointer, stream)
    }
}

private func makeSession(
    _ role: HTTP2Session.Role, _ configuration: HTTP2Configuration, _ record: SessionRecord
) throws(HTTP2Error) -> OpaquePointer {
    var callbacks: OpaquePointer?
    var option: OpaquePointer?
    var session: OpaquePointer?
    try check(unsafe nghttp2_session_callbacks_new(&callbacks), "new session")
    defer { unsafe nghttp2_session_callbacks_del(callbacks) }  // the session keeps a copy
    try check(unsafe nghttp2_option_new(&option), "new session")
    defer { unsafe nghttp2_option_del(option) }
    unsafe setCallbacks(callbacks)
    unsafe nghttp2_option_set_no_auto_window_update(option, 1)  // windows open as the application consumes
    unsafe nghttp2_option_set_no_closed_streams(option, 1)  // kept only for priorities, which are not used
    unsafe nghttp2_option_set_max_outbound_ack(option, configuration.maximumQueuedAcknowledgements)
    unsafe nghttp2_option_set_stream_reset_rate_limit(option, .max >> 1, .max >> 1)  // the inspector's, whose GOAWAY says what it is about
    let userData = unsafe Unmanaged.passUnretained(record).toOpaque()
    switch role {
    case .client: try check(unsafe nghttp2_session_client_new2(&session, callbacks, userData, option), "new session")
    case .server: try check(unsafe nghttp2_session_server_new2(&session, callbacks, userData, option), "new session")
    }
    do {
        unsafe try submitSettings(role, configuration, to: session)
    } catch {
        unsafe nghttp2_session_del(session)
        throw error
    }
    return unsafe session!
}

private func submitSettings(
    _ role: HTTP2Session.Role, _ configuration: HTTP2Configuration, to session: OpaquePointer?
) throws(HTTP2Error) {
    var settings = [
        (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, configuration.streamWindowBytes),
        (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, configuration.maximumHeaderListBytes),
    ]
    switch role {
    case .client: settings.append((NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
    case .server: settings.append((NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, configuration.maximumConcurrentStreams))
    }
    let entries = settings.map { nghttp2_settings_entry(settings_id: Int32($0.0.rawValue), value: UInt32($0.1)) }
    let flags = UInt8(NGHTTP2_FLAG_NONE.rawValue)
    try check(unsafe nghttp2_submit_settings(session, flags, entries, entries.count), "settings")
    try check(
        unsafe nghttp2_session_set_local_window_size(session, flags, 0, Int32(configuration.connectionWindowBytes)), "connection window")
}

private func check(_ code: CInt, _ operation: String) throws(HTTP2Error) {
    guard code == 0 else { throw .library(code: code, operation: operation) }
}

/// The callbacks only record: what they saw is in order in the record when the library's function returns.
private func setCallbacks(_ callbacks: OpaquePointer?) {
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, _, userData in
        unsafe SessionRecord.behind(userData).beginHeaders()
        return 0
    }
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, _, name, nameCount, value, valueCount, _, userData in
        unsafe SessionRecord.behind(userData).header(
            UnsafeBufferPointer(start: name, count: nameCount), UnsafeBufferPointer(start: value, count: valueCount))
        return 0
    }
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, userData in
        unsafe recordFrame(frame!, in: SessionRecord.behind(userData))
        return 0
    }
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, stream, bytes, count, userData in
        let record = unsafe SessionRecord.behind(userData)
        let offset = Int(UInt(bitPattern: bytes) - record.inputAddress)
        record.events.append(.data(stream: stream, offset..<offset + count))
        return 0
    }
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, userData in
        let record = unsafe SessionRecord.behind(userData)
        record.dropBody(of: stream)
        record.events.append(.streamClosed(stream: stream, code: HTTP2ErrorCode(rawValue: code)))
        return 0
    }
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, userData in
        unsafe recordSentFrame(frame!, in: SessionRecord.behind(userData))
        return 0
    }
    unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, frame, frameHeader, count, _, userData in
        unsafe SessionRecord.behind(userData).write(
            frame!.pointee.hd.stream_id, frameHeader: UnsafeBufferPointer(start: frameHeader, count: 9), count: count)
    }
    unsafe nghttp2_session_callbacks_set_error_callback2(callbacks) { _, _, message, count, userData in
        let bytes = unsafe UnsafeRawBufferPointer(start: message, count: count)
        unsafe SessionRecord.behind(userData).complaint = String(decoding: bytes, as: UTF8.self)
        return 0
    }
}

private func recordFrame(_ frame: UnsafePointer<nghttp2_frame>, in record: SessionRecord) {
    let header = unsafe frame.pointee.hd
    let endsStream = UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue: record.endHeaders(header.stream_id, endsStream: endsStream)
    case NGHTTP2_DATA.rawValue where endsStream: record.events.append(.dataEnded(stream: header.stream_id))
    case NGHTTP2_SETTINGS.rawValue where UInt32(header.flags) & NGHTTP2_FLAG_ACK.rawValue != 0: record.areSettingsAcknowledged = true
    case NGHTTP2_SETTINGS.rawValue: record.changesWindows = true
    case NGHTTP2_PING.rawValue where UInt32(header.flags) & NGHTTP2_FLAG_ACK.rawValue != 0:
        record.events.append(unsafe .pingAcknowledged(mark: frame.pointee.ping.opaque_data.0))
    case NGHTTP2_GOAWAY.rawValue:
        let goAway = unsafe frame.pointee.goaway
        record.events.append(unsafe .goAway(lastStream: goAway.last_stream_id, code: HTTP2ErrorCode(rawValue: goAway.error_code)))
    default: break
    }
}

private func recordSentFrame(_ frame: UnsafePointer<nghttp2_frame>, in record: SessionRecord) {
    let header = unsafe frame.pointee.hd
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue: record.inspector?.earn(FrameInspector.earnedByHeaders)
    case NGHTTP2_DATA.rawValue: record.inspector?.earn(FrameInspector.earnedByData)
    case NGHTTP2_RST_STREAM.rawValue where record.changesWindows:  // the library ends the stream, RFC 9113, 6.9.2 the connection
        if unsafe frame.pointee.rst_stream.error_code == HTTP2ErrorCode.flowControlError.rawValue { record.hasWindowOverflow = true }
    default: break
    }
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue where UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0,
        NGHTTP2_DATA.rawValue where UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0:
        record.events.append(.sentEnd(stream: header.stream_id))
    case NGHTTP2_GOAWAY.rawValue:
        let code = unsafe frame.pointee.goaway.error_code  // not 0: the library gives the connection up
        if code != 0 { record.events.append(.terminated(code: HTTP2ErrorCode(rawValue: code))) }
    default: break
    }
}

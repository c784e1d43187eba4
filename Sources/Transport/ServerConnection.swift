import HTTP2
import Logging
import Model
import NIOCore
import Observability

/// The requests of one connection, from their headers to their trailers. Touched on the connection's event loop only.
final class ServerConnection: HTTP2Side {
    private let shared: ServerShared
    private let eventLoop: any EventLoop
    /// Among the port's connections, while it is open.
    var place: ConnectionPlaces.Place?
    private var handler: HTTP2Handler?
    /// Closes the channel of a connection that does not speak HTTP/2, or has not spoken yet.
    private let closeChannel: () -> Void
    private var streams: [HTTP2StreamID: ServerStream] = [:]
    /// Streams whose producers wait for their readers.
    private var blocked: Set<HTTP2StreamID> = []
    private var isDraining = false
    private lazy var deadlines = DeadlineTimer(eventLoop: eventLoop) { [weak self] in self?.expire($0) }

    private static let drainMark: UInt8 = 2

    init(shared: ServerShared, eventLoop: any EventLoop, closeChannel: @escaping () -> Void) {
        self.shared = shared
        self.eventLoop = eventLoop
        self.closeChannel = closeChannel
    }

    func makeHandler() throws(HTTP2Error) -> HTTP2Handler {
        let configuration = shared.configuration.http2
        let handler = HTTP2Handler(
            session: try HTTP2Session(.server, configuration: configuration), configuration: configuration, side: self,
            keepAliveInterval: shared.configuration.keepAliveInterval, metrics: shared.metrics.connection, logger: shared.logger)
        self.handler = handler
        return handler
    }

    // MARK: From the peer

    func handle(_ event: HTTP2Event, input: RawSpan) {
        switch event {
        case .headers(let stream, let headers, let endsStream):
            if streams[stream] == nil {
                guard !headers.isAuthorityMalformed else { return reset(stream, .protocolError) }
                guard handler?.session.pendingBytes ?? 0 <= shared.configuration.maximumPendingBytes else { return reset(stream, .refusedStream) }
                open(stream, headers)
            }
            if endsStream { inputEnded(stream) }  // a second block is the client's trailers, which say nothing
        case .headerListTooLarge(let stream, let byteCount, let endsStream):
            begin(stream, .random(), hasInputEnded: endsStream)
            let limit = shared.configuration.http2.maximumHeaderListBytes
            refuse(stream, ClusterError(.resourceExhausted, "header list of \(byteCount) bytes, maximumHeaderListBytes is \(limit)"))
        case .data(let stream, let range): data(stream, input.extracting(range))
        case .dataEnded(let stream): inputEnded(stream)
        case .sentEnd(let stream):
            // The answer is complete; whatever the client still sends is not wanted.
            if streams[stream]?.hasInputEnded == false { reset(stream, .noError) }
        case .streamClosed(let stream, _): closed(stream)
        case .pingAcknowledged(let mark):
            // The client has seen the notice, so what it opened before is here: this is the last stream.
            if mark == Self.drainMark { _ = try? handler?.change { session throws(HTTP2Error) in session.goAway() } }
        case .goAway, .terminated: break
        }
    }

    private func open(_ stream: HTTP2StreamID, _ headers: [HTTP2Header]) {
        var call = ServiceCall(requestID: headers["x-request-id"].flatMap(RequestID.init(header:)) ?? .random())
        begin(stream, call.requestID, hasInputEnded: false)
        if headers[":method"] == "GET" { return showPage(stream, headers[":path"] ?? "") }
        guard headers[":method"] == "POST" else { return refuse(stream, httpStatus: "405") }
        guard let type = headers["content-type"], type.hasPrefix("application/grpc") else { return refuse(stream, httpStatus: "415") }
        let path = headers[":path"] ?? ""
        guard let route = shared.routes.routes[path] else {
            return refuse(stream, ClusterError(.unimplemented, "this node does not serve \(path)"))
        }
        streams[stream]!.path = path
        if let encoding = headers["grpc-encoding"], encoding != "identity" {
            return refuse(stream, ClusterError(.unimplemented, "grpc-encoding \"\(encoding)\" is not supported, identity is"))
        }
        if let timeout = headers["grpc-timeout"] {
            guard let duration = GRPC.duration(timeout: timeout) else {
                return refuse(stream, ClusterError(.invalidArgument, "grpc-timeout \"\(timeout)\" is not a timeout"))
            }
            let deadline = ContinuousClock.now + duration
            call.deadline = deadline
            deadlines.watch(deadline)
        }
        if let consistency = headers[GRPC.consistencyHeader] {
            do throws(ClusterError) { call.consistency = try Consistency(consistency) } catch { return refuse(stream, error) }
        }
        streams[stream]!.accepted = (route, call)
        deadlines.watch(streams[stream]!.startedAt + shared.configuration.messageTimeout)
    }

    /// Metrics are gathered and printed elsewhere: the loop serves others.
    private func showPage(_ stream: HTTP2StreamID, _ path: String) {
        let (operations, connection) = (shared.operations, NIOLoopBound(self, eventLoop: eventLoop))
        streams[stream]!.task = Task {
            let page = operations.page("GET", path)
            connection.eventLoop.execute { connection.value.finishPage(stream, status: Int(page.status.code), page.text) }
        }
    }

    private func finishPage(_ stream: HTTP2StreamID, status: Int, _ text: String) {
        guard streams[stream]?.isAnswered == false else { return }
        answered(stream, nil)
        let headers = [HTTP2Header(":status", "\(status)"), HTTP2Header("content-type", Metrics.contentType)]
        change { session throws(HTTP2Error) in try session.respond(stream, headers, body: [Array(text.utf8)], trailers: []) }
    }

    private func begin(_ stream: HTTP2StreamID, _ requestID: RequestID, hasInputEnded: Bool) {
        streams[stream] = ServerStream(requestID, shared.configuration.maximumMessageBytes, hasInputEnded: hasInputEnded)
        shared.metrics.openStreams.add(1)
    }

    private func data(_ stream: HTTP2StreamID, _ bytes: RawSpan) {
        // Everything taken is consumed at once: what may pile up is bounded by the size of messages and by `maximumBufferedBytes`.
        handler?.session.consumeOnConnection(bytes.byteCount)
        guard streams[stream]?.isReceiving == true else { return }
        handler?.session.consume(bytes.byteCount, of: stream)
        do throws(ClusterError) {
            try shared.reserve(bytes.byteCount)
            try streams[stream]!.receive(bytes)
        } catch {
            refuse(stream, error)
        }
    }

    private func inputEnded(_ stream: HTTP2StreamID) {
        guard let state = streams[stream] else { return }
        streams[stream]!.hasInputEnded = true
        guard state.isReceiving, let (route, call) = state.accepted else { return }
        guard let message = state.messages.first, !state.assembler.isInside else {
            return refuse(stream, ClusterError(.invalidArgument, "the stream ended before its message did"))
        }
        streams[stream]!.messages = []
        start(stream, route, message, call)
    }

    /// The task belongs to its stream: whatever ends the stream cancels it, and draining waits for the stream.
    private func start(_ stream: HTTP2StreamID, _ route: Route, _ message: [UInt8], _ call: ServiceCall) {
        let work = ServerTask(route: route, message: message, call: call, stream: stream, connection: NIOLoopBound(self, eventLoop: eventLoop))
        streams[stream]!.task = Task(executorPreference: work.isShort ? LoopExecutor.shared : nil) { await work.run() }
    }

    // MARK: To the peer

    fileprivate func finish(_ stream: HTTP2StreamID, reply: [UInt8]) {
        guard streams[stream]?.isAnswered == false else { return }
        answered(stream, nil)
        change { session throws(HTTP2Error) in
            try session.respond(stream, GRPC.replyHeaders, body: [GRPC.prefix(reply.count), reply], trailers: GRPC.successTrailers)
        }
    }

    fileprivate func write(_ message: [UInt8], to stream: HTTP2StreamID, _ continuation: CheckedContinuation<Result<Void, ClusterError>, Never>) {
        guard let state = streams[stream], !state.isAnswered else {
            return continuation.resume(returning: .failure(ClusterError(.cancelled, "nobody reads the reply any more")))
        }
        let chunks = [GRPC.prefix(message.count), message]
        change { session throws(HTTP2Error) in
            if state.hasBegunReply { session.append(chunks, to: stream) } else { try session.respond(stream, GRPC.replyHeaders, body: chunks) }
        }
        streams[stream]!.hasBegunReply = true
        if isBehind(stream) {
            streams[stream]!.writer = continuation
            blocked.insert(stream)
        } else {
            continuation.resume(returning: .success(()))
        }
    }

    private func isBehind(_ stream: HTTP2StreamID) -> Bool {
        (handler?.session.pendingBytes(of: stream) ?? 0) > shared.configuration.streamHighWaterBytes
    }

    func flushed() {
        for stream in blocked where !isBehind(stream) {
            blocked.remove(stream)
            streams[stream]?.writer?.resume(returning: .success(()))
            streams[stream]?.writer = nil
        }
    }

    fileprivate func finishStreaming(_ stream: HTTP2StreamID) {
        guard let state = streams[stream], !state.isAnswered else { return }
        answered(stream, nil)
        change { session throws(HTTP2Error) in
            if state.hasBegunReply {
                session.end(stream, trailers: GRPC.successTrailers)
            } else {
                try session.respond(stream, endingWith: GRPC.replyHeaders + GRPC.successTrailers)
            }
        }
    }

    fileprivate func fail(_ stream: HTTP2StreamID, _ error: ClusterError) {
        guard let state = streams[stream], !state.isAnswered else { return }
        answered(stream, error.code)
        let trailers = GRPC.trailers(error) + [HTTP2Header("x-request-id", state.requestID.rawValue)]
        change { session throws(HTTP2Error) in
            if state.hasBegunReply {
                session.end(stream, trailers: trailers)
            } else {
                try session.respond(stream, endingWith: GRPC.replyHeaders + trailers)
            }
        }
    }

    /// Answers a request that reached no service, which would have logged it.
    private func refuse(_ stream: HTTP2StreamID, _ error: ClusterError) {
        logRefusal(of: stream, "\(error)")
        fail(stream, error)
    }

    private func refuse(_ stream: HTTP2StreamID, httpStatus: String) {
        guard let state = streams[stream] else { return }
        logRefusal(of: stream, "HTTP status \(httpStatus): not a gRPC request")
        answered(stream, .unimplemented)
        change { session throws(HTTP2Error) in
            try session.respond(stream, endingWith: [HTTP2Header(":status", httpStatus), HTTP2Header("x-request-id", state.requestID.rawValue)])
        }
    }

    private func logRefusal(of stream: HTTP2StreamID, _ reason: String) {
        guard let state = streams[stream], !state.isAnswered else { return }
        // Its tenant stands in the message, which was not read.
        shared.logger.info(
            "call refused",
            metadata: [
                "request": "\(state.requestID)", "method": "\(state.path ?? "unknown")", "peer": "\(handler?.peer ?? "unknown")", "error": "\(reason)",
            ])
    }

    private func reset(_ stream: HTTP2StreamID, _ code: HTTP2ErrorCode) {
        change { session throws(HTTP2Error) in session.reset(stream, code) }
    }

    private func change(_ body: (inout HTTP2Session) throws(HTTP2Error) -> Void) {
        do {
            try handler?.change(body)
        } catch {
            handler?.close(ClusterError(.unavailable, "connection broke: \(error)"))
        }
    }

    // MARK: Ends

    /// Nothing more comes from the task of this stream.
    private func answered(_ stream: HTTP2StreamID, _ code: ClusterError.Code?) {
        guard var state = streams.removeValue(forKey: stream) else { return }
        state.isAnswered = true
        shared.metrics.ended(state.path, code, since: state.startedAt)
        release(&state, "the call is over")
        streams[stream] = state
    }

    private func closed(_ stream: HTTP2StreamID) {
        guard var state = streams.removeValue(forKey: stream) else { return }
        shared.metrics.openStreams.add(-1)
        if !state.isAnswered { shared.metrics.ended(state.path, .cancelled, since: state.startedAt) }
        release(&state, "the caller went away")
    }

    private func release(_ state: inout ServerStream, _ reason: String) {
        shared.release(state.reservedBytes)
        state.reservedBytes = 0
        state.messages = []
        state.task?.cancel()
        state.task = nil
        state.writer?.resume(returning: .failure(ClusterError(.cancelled, reason)))
        state.writer = nil
    }

    private func expire(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        var next: ContinuousClock.Instant?
        for (stream, state) in streams {
            let arrival = state.isReceiving && state.accepted != nil ? state.startedAt + shared.configuration.messageTimeout : nil
            if let arrival, arrival <= now {
                refuse(stream, ClusterError(.deadlineExceeded, "the message did not arrive within \(shared.configuration.messageTimeout)"))
                continue
            }
            if let arrival { next = min(next ?? arrival, arrival) }
            guard let deadline = state.accepted?.call.deadline else { continue }
            if deadline > now {
                next = min(next ?? deadline, deadline)
            } else if state.isAnswered || state.hasBegunReply, handler?.session.pendingBytes(of: stream) ?? 0 > 0 {
                reset(stream, .cancel)  // the reader is too slow even for the trailers
            } else if !state.isAnswered {  // else the answer is out; a reset now would take its status away
                fail(stream, ClusterError(.deadlineExceeded, "the deadline passed before the answer was ready"))
            }
        }
        return next
    }

    func closed(_ reason: ClusterError) {
        deadlines.stop()
        for stream in Array(streams.keys) { closed(stream) }
        blocked = []
        handler = nil
        shared.connectionClosed(self)
    }

    // MARK: Stopping

    /// Takes no more requests; the connection closes when the accepted ones are answered.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        guard handler != nil else { return closeChannel() }
        change { session throws(HTTP2Error) in
            session.announceShutdown()
            session.ping(mark: Self.drainMark)
        }
    }

    /// Cancels what is running and closes the connection.
    func abort() {
        if let handler { handler.close(ClusterError(.unavailable, "the node stops")) } else { closeChannel() }
    }
}

/// One request and its reply.
struct ServerStream {
    let requestID: RequestID
    let startedAt = ContinuousClock.now
    /// Of a method that is served.
    var path: String?
    var accepted: (route: Route, call: ServiceCall)?
    var assembler: MessageAssembler
    var messages: [[UInt8]] = []
    /// Of `maximumBufferedBytes`.
    var reservedBytes = 0
    var hasInputEnded: Bool
    var task: Task<Void, Never>?
    var hasBegunReply = false
    /// The reply is complete, though not yet sent.
    var isAnswered = false
    /// The producer of a streamed reply that waits for its reader.
    var writer: CheckedContinuation<Result<Void, ClusterError>, Never>?

    init(_ requestID: RequestID, _ maximumMessageBytes: Int, hasInputEnded: Bool) {
        self.requestID = requestID
        assembler = MessageAssembler(limit: maximumMessageBytes)
        self.hasInputEnded = hasInputEnded
    }

    /// - Throws: `unimplemented` for a second message; what ``MessageAssembler`` throws.
    mutating func receive(_ bytes: RawSpan) throws(ClusterError) {
        reservedBytes += bytes.byteCount
        try assembler.append(bytes, to: &messages)
        guard messages.count <= 1 else { throw ClusterError(.unimplemented, "a second message in a call that takes one") }
    }

    var isReceiving: Bool { !isAnswered && task == nil && !hasInputEnded }
}

/// What serves one request; its outcome goes back to the connection.
private struct ServerTask: Sendable {
    let route: Route
    let message: [UInt8]
    let call: ServiceCall
    let stream: HTTP2StreamID
    let connection: NIOLoopBound<ServerConnection>

    /// Whether an event loop may do all that is not left to worker threads.
    var isShort: Bool { if case .unary = route { message.count <= LoopExecutor.mostBytes } else { false } }

    func run() async {
        do throws(ClusterError) {
            switch route {
            case .unary(let serve):
                let reply = try await serve(message, call)
                connection.eventLoop.execute { connection.value.finish(stream, reply: reply) }
            case .streaming(let serve):
                try await serve(message, call, ReplyWriter(write: write))
                connection.eventLoop.execute { connection.value.finishStreaming(stream) }
            }
        } catch {
            connection.eventLoop.execute { connection.value.fail(stream, error) }
        }
    }

    @Sendable private func write(_ message: [UInt8]) async throws(ClusterError) {
        let result: Result<Void, ClusterError> = await withCheckedContinuation { continuation in
            connection.eventLoop.execute { connection.value.write(message, to: stream, continuation) }
        }
        try result.get()
    }
}

extension RequestID {
    /// `nil` for what would not be safe in a log line.
    fileprivate init?(header: String) {
        guard !header.isEmpty, header.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
        self.init(header)
    }
}

import HTTP2
import HTTPTypes
import HummingbirdCore
import Logging
import Model
import NIOCore
import Transport

/// The requests of one HTTP/2 connection of the public port, from their headers to their trailers. Touched on the connection's event loop only.
final class HTTP2Connection: HTTP2Side {
    private struct Stream {
        var isHead: Bool
        var task: Task<Void, Never>?
        /// What has arrived of the body and was not taken yet: at most a window.
        var body = ByteBuffer()
        var hasInputEnded = false
        var hasStoppedReading = false
        /// The reply is complete, though not yet sent.
        var isAnswered = false
        var reader: CheckedContinuation<ByteBuffer?, any Error>?
        /// The producer of a reply that waits for its reader.
        var writer: CheckedContinuation<Void, any Error>?
    }

    /// Fulfilled once the connection is closed and the last of its tasks is over.
    let ended: EventLoopPromise<Void>
    private let edge: HTTP2Edge
    private let channel: any Channel
    private let place: ConnectionPlaces.Place
    private var handler: HTTP2Handler?
    private var streams: [HTTP2StreamID: Stream] = [:]
    private var blocked: Set<HTTP2StreamID> = []
    private var runningTasks = 0
    /// Requests of the batch of reads that is being handled: one that is cancelled in the same batch costs no task.
    private var arrived: [(exchange: HTTP2Exchange, request: Request)] = []
    /// Of the budget of replies.
    private var waitingBytes = 0
    private var isClosed = false
    private var isDraining = false
    private var idleTimer: Scheduled<Void>?
    /// Until the last stream has been named.
    private var goAwayTimer: Scheduled<Void>?

    private static let drainMark: UInt8 = 2
    /// Between the notice that the connection ends and its end for new requests: more than a round trip.
    private static let noticeTime: TimeAmount = .seconds(1)
    /// Bytes of all replies that wait for a reader who does not read, after which no more requests are taken: several of the largest replies.
    private static let maximumPendingBytes = 64 << 20
    /// Bytes of a reply that wait for a reader before its producer is suspended.
    private static let highWaterBytes = 64 << 10

    /// - Parameter place: Busy while a request is open.
    init(_ edge: HTTP2Edge, _ channel: any Channel, _ place: ConnectionPlaces.Place) {
        self.edge = edge
        self.channel = channel
        self.place = place
        ended = channel.eventLoop.makePromise()
    }

    func begin(_ handler: HTTP2Handler) {
        self.handler = handler
        closeWhenIdle()
    }

    private func closeWhenIdle() {
        guard streams.isEmpty, !isClosed else { return }
        place.setBusy(false)
        idleTimer?.cancel()
        idleTimer = channel.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(Int64(edge.idleTimeout.seconds * 1e9))) { self.drain() }
    }

    // MARK: From the client

    func handle(_ event: HTTP2Event, input: RawSpan) {
        switch event {
        case .headers(let stream, let headers, let endsStream):
            if streams[stream] == nil { open(stream, headers, endsStream) } else if endsStream { inputEnded(stream) }  // trailers, which say nothing
        case .headerListTooLarge(let stream, _, let endsStream):
            guard streams[stream] == nil else { return reset(stream, .protocolError) }
            idleTimer?.cancel()
            place.setBusy(true)
            streams[stream] = Stream(isHead: false, hasInputEnded: endsStream)
            finish(stream, HTTPResponse(status: .requestHeaderFieldsTooLarge), body: nil)
        case .data(let stream, let range): data(stream, input.extracting(range))
        case .dataEnded(let stream): inputEnded(stream)
        case .sentEnd(let stream):
            // The answer is complete; whatever the client still sends is not wanted.
            if streams[stream]?.hasInputEnded == false { reset(stream, .noError) }
        case .streamClosed(let stream, _): closed(stream)
        case .pingAcknowledged(let mark):
            // The client has seen the notice, so what it opened before is here: this is the last stream.
            if mark == Self.drainMark { goAway() }
        case .goAway, .terminated: break
        }
    }

    private func open(_ stream: HTTP2StreamID, _ headers: [HTTP2Header], _ endsStream: Bool) {
        idleTimer?.cancel()
        place.setBusy(true)
        guard !headers.isAuthorityMalformed, let head = HTTPRequest(headers) else { return refuse(stream, .protocolError) }
        guard pendingBytes <= Self.maximumPendingBytes, runningTasks < edge.maximumTasks else { return refuse(stream, .refusedStream) }
        streams[stream] = Stream(isHead: head.method == .head, hasInputEnded: endsStream)
        let exchange = HTTP2Exchange(connection: NIOLoopBound(self, eventLoop: channel.eventLoop), stream: stream)
        let body = endsStream ? RequestBody(buffer: ByteBuffer()) : RequestBody(asyncSequence: HTTP2RequestBody(exchange: exchange))
        arrived.append((exchange, Request(head: head, body: body)))
    }

    private func startArrived() {
        for (exchange, request) in arrived where streams[exchange.stream] != nil {
            runningTasks += 1
            // The task belongs to its stream: whatever ends the stream cancels it, and the connection's end waits for it.
            streams[exchange.stream]!.task = Task(executorPreference: LoopExecutor.shared) { [edge, channel] in await exchange.run(request, edge, channel) }
        }
        arrived = []
    }

    private var pendingBytes: Int { handler?.session.pendingBytes ?? 0 }

    private func data(_ stream: HTTP2StreamID, _ bytes: RawSpan) {
        guard streams[stream]?.isAnswered == false else {
            handler?.session.consumeOnConnection(bytes.byteCount)
            handler?.session.consume(bytes.byteCount, of: stream)
            return
        }
        streams[stream]!.body.writeBytes(bytes)
        deliver(stream)
    }

    private func inputEnded(_ stream: HTTP2StreamID) {
        guard streams[stream] != nil else { return }
        streams[stream]!.hasInputEnded = true
        deliver(stream)
    }

    func read(_ stream: HTTP2StreamID, _ continuation: CheckedContinuation<ByteBuffer?, any Error>) {
        guard let state = streams[stream], state.reader == nil, !state.hasStoppedReading else { return continuation.resume(throwing: CancellationError()) }
        streams[stream]!.reader = continuation
        deliver(stream)
    }

    func stopReading(_ stream: HTTP2StreamID) {
        let reader = streams[stream]?.reader
        streams[stream]?.hasStoppedReading = true
        streams[stream]?.reader = nil
        reader?.resume(throwing: CancellationError())
    }

    /// Gives what has arrived to who waits for it, and only then lets the client send more.
    private func deliver(_ stream: HTTP2StreamID) {
        guard let state = streams[stream], let reader = state.reader else { return }
        if state.body.readableBytes > 0 {
            streams[stream]!.body = ByteBuffer()
            streams[stream]!.reader = nil
            consume(state.body.readableBytes, of: stream)
            reader.resume(returning: state.body)
        } else if state.hasInputEnded {
            streams[stream]!.reader = nil
            reader.resume(returning: nil)
        }
    }

    private func consume(_ byteCount: Int, of stream: HTTP2StreamID) {
        change { session throws(HTTP2Error) in
            session.consumeOnConnection(byteCount)
            session.consume(byteCount, of: stream)
        }
    }

    // MARK: To the client

    /// Sends an answer that is complete.
    func finish(_ stream: HTTP2StreamID, _ head: HTTPResponse, body: [UInt8]?) {
        guard let state = streams[stream], !state.isAnswered else { return }
        guard admits(body?.count ?? 0) else { return giveUp(stream) }
        answered(stream)
        change { session throws(HTTP2Error) in
            if let body, !body.isEmpty, !state.isHead {
                try session.respond(stream, head.http2Headers, body: [body], trailers: [])
            } else {
                try session.respond(stream, endingWith: head.http2Headers)
            }
        }
    }

    func begin(_ stream: HTTP2StreamID, _ head: HTTPResponse) {
        guard let state = streams[stream], !state.isAnswered else { return }
        change { session throws(HTTP2Error) in try session.respond(stream, head.http2Headers, body: []) }
    }

    /// Resumes `continuation` once the client has taken so much that more is worth making.
    func write(_ bytes: [UInt8], to stream: HTTP2StreamID, _ continuation: CheckedContinuation<Void, any Error>) {
        guard let state = streams[stream], !state.isAnswered else { return continuation.resume(throwing: CancellationError()) }
        guard admits(bytes.count) else {
            giveUp(stream)
            return continuation.resume(throwing: CancellationError())
        }
        change { session throws(HTTP2Error) in session.append([bytes], to: stream) }
        if isBehind(stream) {
            streams[stream]!.writer = continuation
            blocked.insert(stream)
        } else {
            continuation.resume()
        }
    }

    func end(_ stream: HTTP2StreamID, _ trailers: HTTPFields?) {
        guard let state = streams[stream], !state.isAnswered else { return }
        answered(stream)
        change { session throws(HTTP2Error) in session.end(stream, trailers: (trailers ?? [:]).http2Headers) }
    }

    /// The task of a stream is over; an answer that it has not finished is broken off.
    func taskEnded(_ stream: HTTP2StreamID) {
        runningTasks -= 1
        if let state = streams[stream], !state.isAnswered { reset(stream, .internalError) }
        endIfOver()
    }

    private func isBehind(_ stream: HTTP2StreamID) -> Bool { (handler?.session.pendingBytes(of: stream) ?? 0) > Self.highWaterBytes }

    private func admits(_ byteCount: Int) -> Bool {
        countWaiting()
        return edge.replies.admits(byteCount, beside: waitingBytes)
    }

    private func countWaiting() {
        edge.replies.change(by: pendingBytes - waitingBytes)
        waitingBytes = pendingBytes
    }

    /// Drops a reply for which there is no room.
    private func giveUp(_ stream: HTTP2StreamID) {
        edge.logger.info("dropped a reply", metadata: ["peer": "\(handler?.peer ?? "unknown")", "reason": "too many replies wait for clients to read them, \(waitingBytes) bytes on this connection"])
        answered(stream)
        reset(stream, .enhanceYourCalm)
    }

    func flushed() {
        startArrived()
        countWaiting()
        for stream in blocked where !isBehind(stream) {
            blocked.remove(stream)
            streams[stream]?.writer?.resume()
            streams[stream]?.writer = nil
        }
    }

    /// Resets a stream that was not taken in.
    private func refuse(_ stream: HTTP2StreamID, _ code: HTTP2.HTTP2ErrorCode) {
        reset(stream, code)
        closeWhenIdle()
    }

    private func reset(_ stream: HTTP2StreamID, _ code: HTTP2.HTTP2ErrorCode) {
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

    /// What is left of the body is let through, unread.
    private func answered(_ stream: HTTP2StreamID) {
        let left = streams[stream]!.body.readableBytes
        streams[stream]!.isAnswered = true
        streams[stream]!.body = ByteBuffer()
        if left > 0 { consume(left, of: stream) }
    }

    private func closed(_ stream: HTTP2StreamID) {
        guard let state = streams.removeValue(forKey: stream) else { return }
        handler?.session.consumeOnConnection(state.body.readableBytes)
        state.task?.cancel()
        state.reader?.resume(throwing: CancellationError())
        state.writer?.resume(throwing: CancellationError())
        blocked.remove(stream)
        closeWhenIdle()
    }

    func closed(_ reason: ClusterError) {
        isClosed = true
        idleTimer?.cancel()
        goAwayTimer?.cancel()
        goAwayTimer = nil
        handler = nil
        for stream in Array(streams.keys) { closed(stream) }
        arrived = []
        countWaiting()
        endIfOver()
    }

    private func endIfOver() {
        if isClosed, runningTasks == 0 { ended.succeed() }
    }

    /// Takes no more requests; the connection closes when the accepted ones are answered.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        change { session throws(HTTP2Error) in
            session.announceShutdown()
            session.ping(mark: Self.drainMark)
        }
        // Some clients answer no ping any more once they have seen the notice.
        goAwayTimer = channel.eventLoop.assumeIsolated().scheduleTask(in: Self.noticeTime) { self.goAway() }
    }

    private func goAway() {
        guard goAwayTimer != nil else { return }
        goAwayTimer?.cancel()
        goAwayTimer = nil
        change { session throws(HTTP2Error) in session.goAway() }
    }
}

extension HTTPRequest {
    /// `nil` for what is no request.
    fileprivate init?(_ headers: [HTTP2Header]) {
        guard let method = headers[":method"].flatMap(HTTPRequest.Method.init(rawValue:)) else { return nil }
        self.init(method: method, scheme: headers[":scheme"], authority: headers[":authority"], path: headers[":path"])
        for header in headers where !header.name.hasPrefix(":") {
            guard let name = HTTPField.Name(header.name) else { return nil }
            headerFields.append(HTTPField(name: name, value: header.value))
        }
    }
}

extension HTTPResponse {
    var http2Headers: [HTTP2Header] { [HTTP2Header(":status", String(status.code))] + headerFields.http2Headers }
}

extension HTTPFields {
    /// Without those that concern a connection of HTTP/1.1: RFC 9113, 8.2.2.
    var http2Headers: [HTTP2Header] {
        compactMap { field in
            let name = field.name.canonicalName
            let isOfConnection = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"].contains(name)
            return isOfConnection ? nil : HTTP2Header(name, field.value)
        }
    }
}

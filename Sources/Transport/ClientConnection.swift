import HTTP2
import Logging
import Model
import NIOCore

/// The calls of one connection to a peer. Touched on the connection's event loop only.
final class ClientConnection: HTTP2Side {
    let openedAt = ContinuousClock.now
    private let authority: String
    private let configuration: PeerConfiguration
    private let metrics: CallMetrics
    private let logger: Logger
    /// Tells the peer that this connection takes no more calls.
    private let onRetire: (ClientConnection, ClusterError) -> Void
    /// Tells the peer that a call is over.
    private let onFinish: (OutgoingCall) -> Void
    private var handler: HTTP2Handler?
    private var calls: [HTTP2StreamID: OutgoingCall] = [:]
    private var isRetired = false
    private var whenClosed: [CheckedContinuation<Void, Never>] = []

    init(
        authority: String, configuration: PeerConfiguration, metrics: CallMetrics, logger: Logger, onRetire: @escaping (ClientConnection, ClusterError) -> Void,
        onFinish: @escaping (OutgoingCall) -> Void
    ) {
        self.authority = authority
        self.configuration = configuration
        self.metrics = metrics
        self.logger = logger
        self.onRetire = onRetire
        self.onFinish = onFinish
    }

    func makeHandler() throws(HTTP2Error) -> HTTP2Handler {
        let handler = HTTP2Handler(
            session: try HTTP2Session(.client, configuration: configuration.http2), configuration: configuration.http2, side: self,
            keepAliveInterval: configuration.keepAliveInterval, metrics: metrics.connection, logger: logger)
        self.handler = handler
        return handler
    }

    var isOpen: Bool { handler != nil && !isRetired }

    // MARK: Calls

    func send(_ call: OutgoingCall) {
        guard let handler, !isRetired else { return finish(call, .failure(ClusterError(.unavailable, "connection to \(authority) is closed"))) }
        do {
            call.stream = try handler.change { session throws(HTTP2Error) in
                try session.request(headers(of: call), body: [GRPC.prefix(call.message.count), call.message])
            }
            call.message = []
            call.connection = self
            calls[call.stream] = call
        } catch {
            // Out of stream numbers, after a billion calls: the next call goes over a new connection.
            finish(call, .failure(ClusterError(.unavailable, "connection to \(authority) is used up: \(error)")))
            retire(ClusterError(.unavailable, "connection to \(authority) is used up: \(error)"))
        }
    }

    private func headers(of call: OutgoingCall) -> [HTTP2Header] {
        var headers = [
            HTTP2Header(":method", "POST"), HTTP2Header(":scheme", configuration.tls == nil ? "http" : "https"), HTTP2Header(":path", call.path), HTTP2Header(":authority", authority),
            HTTP2Header("content-type", "application/grpc"), HTTP2Header("te", "trailers"),
            HTTP2Header("x-request-id", call.context.requestID.rawValue),
        ]
        if call.context.consistency != .strong { headers.append(HTTP2Header(GRPC.consistencyHeader, "\(call.context.consistency)")) }
        if let remaining = call.context.remaining { headers.append(HTTP2Header("grpc-timeout", GRPC.timeout(remaining))) }
        return headers
    }

    /// Ends a call from this side: its stream is reset, so the peer stops working on it.
    func cancel(_ call: OutgoingCall, _ error: ClusterError) {
        guard calls.removeValue(forKey: call.stream) != nil else { return }
        _ = try? handler?.change { session throws(HTTP2Error) in session.reset(call.stream, .cancel) }
        finish(call, .failure(error))
    }

    /// Gives the window back what the reader took.
    func consumed(_ byteCount: Int, of call: OutgoingCall) {
        guard byteCount > 0, calls[call.stream] != nil else { return }
        _ = try? handler?.change { session throws(HTTP2Error) in session.consume(byteCount, of: call.stream) }
    }

    private func finish(_ call: OutgoingCall, _ result: Result<Void, ClusterError>) {
        call.finish(result)
        onFinish(call)
    }

    // MARK: From the peer

    func handle(_ event: HTTP2Event, input: RawSpan) {
        switch event {
        case .headers(let stream, let headers, let endsStream):
            guard let call = calls[stream] else { return }
            received(headers, of: call, endsStream: endsStream)
        case .headerListTooLarge(let stream, let byteCount, _):
            guard let call = calls[stream] else { return }
            let limit = configuration.http2.maximumHeaderListBytes
            cancel(call, ClusterError(.resourceExhausted, "header list of \(byteCount) bytes, maximumHeaderListBytes is \(limit)"))
        case .data(let stream, let range):
            // The connection's window stays open, so one slow reader holds back its own stream only.
            handler?.session.consumeOnConnection(range.count)
            guard let call = calls[stream] else { return }
            do {
                let consumed = try call.receive(input.extracting(range))
                handler?.session.consume(consumed, of: stream)
            } catch {
                cancel(call, error)
            }
        case .streamClosed(let stream, let code):
            guard let call = calls.removeValue(forKey: stream) else { break }
            // A node that stops at the deadline, and cannot say so as its reader stays away, may be heard before the timer here.
            let isLate = call.context.deadline.map { $0 <= .now } ?? false
            let error = switch code {
            case .noError: ClusterError(.internal, "the reply to \(call.path) ended without a status")
            case .cancel where isLate: ClusterError(.deadlineExceeded, "the deadline passed waiting for \(authority)")
            default: GRPC.error(code)
            }
            finish(call, .failure(error))
        case .goAway: retire(ClusterError(.unavailable, "\(authority) is stopping"))
        case .dataEnded, .sentEnd, .pingAcknowledged, .terminated: break
        }
        closeIfDone()
    }

    private func received(_ headers: [HTTP2Header], of call: OutgoingCall, endsStream: Bool) {
        if headers["grpc-status"] != nil {
            calls[call.stream] = nil
            if !endsStream { _ = try? handler?.change { session throws(HTTP2Error) in session.reset(call.stream, .cancel) } }
            finish(call, GRPC.error(in: headers).map { .failure($0) } ?? .success(()))
        } else if let status = headers[":status"], status != "200" {
            if status.hasPrefix("1") { return }  // an interim answer
            cancel(call, GRPC.error(httpStatus: status))
        } else if let encoding = headers["grpc-encoding"], encoding != "identity" {
            cancel(call, ClusterError(.unimplemented, "grpc-encoding \"\(encoding)\" of a reply is not supported"))
        }
    }

    func flushed() {}

    func closed(_ reason: ClusterError) {
        handler = nil
        let lost = calls
        calls = [:]
        retire(reason)
        for call in lost.values {
            finish(call, .failure(ClusterError(call.lossCode, "lost while the call was under way: \(reason.message)")))
        }
        for continuation in whenClosed { continuation.resume() }
        whenClosed = []
    }

    // MARK: Ends

    /// Takes no more calls; closes when those under way are over.
    private func retire(_ reason: ClusterError) {
        guard !isRetired else { return }
        isRetired = true
        onRetire(self, reason)
        closeIfDone()
    }

    private func closeIfDone() {
        if isRetired, calls.isEmpty { handler?.close(ClusterError(.unavailable, "connection to \(authority) is no longer used")) }
    }

    /// Closes the channel; calls under way are lost.
    func close(_ continuation: CheckedContinuation<Void, Never>) {
        guard let handler else { return continuation.resume() }
        whenClosed.append(continuation)
        isRetired = true
        handler.close(ClusterError(.unavailable, "connection to \(authority) was closed here"))
    }
}

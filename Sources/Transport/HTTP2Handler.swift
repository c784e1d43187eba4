import HTTP2
import Logging
import Model
import NIOCore

/// What one side of a connection makes of what its peer says; on the connection's event loop.
package protocol HTTP2Side: AnyObject {
    /// `input` holds the bytes that a `.data` event points into.
    func handle(_ event: HTTP2Event, input: RawSpan)
    /// Something may have left the session's buffers.
    func flushed()
    /// The connection is gone; called once.
    func closed(_ reason: ClusterError)
}

/// The session as a codec in a channel: reads feed it, its output is written once per batch of reads or calls,
/// and it is not asked for more while the socket takes none.
package final class HTTP2Handler: ChannelInboundHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// Call ``scheduleFlush()`` after having changed it.
    package private(set) var session: HTTP2Session
    private let side: any HTTP2Side
    private let configuration: HTTP2Configuration
    private let keepAliveInterval: Duration
    private let metrics: ConnectionMetrics
    private let logger: Logger
    private var context: ChannelHandlerContext?
    private var isReading = false
    private var isFlushScheduled = false
    private var keepAlive: Scheduled<Void>?
    private var patrolTimer: Scheduled<Void>?
    private var beganAt = ContinuousClock.now
    private var lookedAt = ContinuousClock.now
    private var heardSinceTick = true
    private var isPingUnanswered = false
    private var closeReason: ClusterError?

    /// Bytes asked of the session at a time: a few frames, so that writability is looked at often.
    private static let writeBytes = 128 << 10
    private static let keepAliveMark: UInt8 = 1

    /// - Parameter configuration: The session's.
    package init(
        session: consuming HTTP2Session, configuration: HTTP2Configuration, side: any HTTP2Side, keepAliveInterval: Duration, metrics: ConnectionMetrics,
        logger: Logger
    ) {
        self.session = session
        self.configuration = configuration
        self.side = side
        self.keepAliveInterval = keepAliveInterval
        self.metrics = metrics
        self.logger = logger
    }

    /// Changes the session; what it has to send goes out with the next flush.
    package func change<Result>(_ body: (inout HTTP2Session) throws(HTTP2Error) -> Result) throws(HTTP2Error) -> Result {
        defer { scheduleFlush() }
        return try body(&session)
    }

    // MARK: Channel

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin() }
    }

    package func channelActive(context: ChannelHandlerContext) {
        begin()
        context.fireChannelActive()
    }

    private func begin() {
        guard keepAlive == nil else { return }
        metrics.connections.add(1)
        scheduleKeepAlive()
        schedulePatrol()
        scheduleFlush()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard closeReason == nil else { return }  // what comes after a broken frame has no meaning
        let buffer = unwrapInboundIn(data)
        isReading = true
        heardSinceTick = true
        isPingUnanswered = false
        metrics.receivedBytes.add(buffer.readableBytes)
        let input = buffer.readableBytesSpan
        do {
            for event in try session.receive(input) { handle(event, input: input) }
        } catch {
            logger.warning("closed a connection that broke HTTP/2", metadata: ["peer": "\(peer)", "reason": "\(error)"])
            close(ClusterError(.unavailable, "connection to \(peer) broke: \(error)"))
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { flush() }
        context.fireChannelWritabilityChanged()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        close(ClusterError(.unavailable, "connection to \(peer) failed: \(error)"))
    }

    package func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) { end() }

    /// Closes the channel at once.
    package func close(_ reason: ClusterError) {
        if closeReason == nil { closeReason = reason }
        context?.close(promise: nil)
    }

    private func end() {
        guard let context else { return }
        let reason = closeReason ?? ClusterError(.unavailable, "\(peer) closed the connection")
        closeReason = reason
        _ = context
        self.context = nil
        patrolTimer?.cancel()
        if let keepAlive {
            keepAlive.cancel()
            metrics.connections.add(-1)
        }
        side.closed(reason)
    }

    package var peer: String { context?.remoteAddress?.description ?? "a peer" }

    // MARK: Output

    /// Sends what the session has: at the end of the batch of reads that is being handled, else in this turn of the loop.
    func scheduleFlush() {
        guard !isReading, !isFlushScheduled, let context else { return }
        isFlushScheduled = true
        context.eventLoop.assumeIsolated().execute {
            self.isFlushScheduled = false
            self.flush()
        }
    }

    private func flush() {
        guard let context, closeReason == nil, context.channel.isActive else { return }
        do {
            var wrote = true
            while wrote && context.channel.isWritable && session.wantsToSend {
                wrote = false
                let events = try session.send(limit: Self.writeBytes) { bytes in
                    var buffer = context.channel.allocator.buffer(capacity: bytes.byteCount)
                    buffer.writeBytes(bytes)
                    metrics.sentBytes.add(bytes.byteCount)
                    context.write(wrapOutboundOut(buffer), promise: nil)
                    wrote = true
                }
                context.flush()
                for event in events { handle(event, input: RawSpan()) }
            }
            side.flushed()
            if session.isOver { close(ClusterError(.unavailable, "connection to \(peer) ended")) }
        } catch {
            logger.warning("closed a connection", metadata: ["peer": "\(peer)", "reason": "\(error)"])
            close(ClusterError(.unavailable, "connection to \(peer) broke: \(error)"))
        }
    }

    private func handle(_ event: HTTP2Event, input: RawSpan) {
        if case .terminated(let code) = event {
            let reason = session.complaint ?? "no reason given"
            logger.warning("closing a connection that broke HTTP/2", metadata: ["peer": "\(peer)", "code": "\(code)", "reason": "\(reason)"])
        }
        side.handle(event, input: input)
    }

    // MARK: Sign of life

    private func scheduleKeepAlive() {
        keepAlive = context?.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(keepAliveInterval)) { self.tick() }
    }

    private func tick() {
        if isPingUnanswered {
            logger.info("closed a silent connection", metadata: ["peer": "\(peer)", "keepAliveInterval": "\(keepAliveInterval)"])
            return close(ClusterError(.unavailable, "\(peer) gave no sign of life for \(keepAliveInterval) after a ping"))
        }
        if !heardSinceTick {
            isPingUnanswered = true
            session.ping(mark: Self.keepAliveMark)
            scheduleFlush()
        }
        heardSinceTick = false
        scheduleKeepAlive()
    }

    // MARK: Slow peers

    private func schedulePatrol() {
        let interval = min(configuration.arrivalTime / 2, configuration.stallTime)
        patrolTimer = context?.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(interval)) { self.patrol() }
    }

    /// Ends what a peer begins and does not end, or asks for and does not take.
    private func patrol() {
        let now = ContinuousClock.now
        if let since = session.incompleteSince, since.duration(to: now) >= configuration.arrivalTime {
            terminate(.enhanceYourCalm, "a preface, frame or header block took longer than \(configuration.arrivalTime)")
        } else if !session.areSettingsAcknowledged, beganAt.duration(to: now) >= configuration.arrivalTime {
            terminate(.settingsTimeout, "no answer to the first settings for \(configuration.arrivalTime)")
        }
        if lookedAt.duration(to: now) >= configuration.stallTime {
            lookForStalls(Double(configuration.minimumReadRate) * (lookedAt.duration(to: now) / .seconds(1)))
            lookedAt = now
        }
        schedulePatrol()
    }

    private func lookForStalls(_ minimumBytes: Double) {
        let (streams, isConnection) = session.takeStalled(minimumBytes: Int(minimumBytes))
        if isConnection {
            return terminate(.enhanceYourCalm, "the connection's window stood still for \(configuration.stallTime) with answers waiting")
        }
        for stream in streams {
            logger.info("reset a stream", metadata: ["peer": "\(peer)", "reason": "its window stood still for \(configuration.stallTime) with an answer waiting"])
            session.reset(stream, .cancel)
        }
        if !streams.isEmpty { scheduleFlush() }
    }

    private func terminate(_ code: HTTP2ErrorCode, _ reason: String) {
        session.terminate(code, reason)
        scheduleFlush()
    }
}

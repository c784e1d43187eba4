import Logging
import NIOCore
import TLS
import Transport

/// Finds out what a client speaks, and keeps what it says until the handlers for that are there.
final class NegotiationHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Fails if the connection ends first.
    let negotiated: EventLoopPromise<EdgeProtocol>
    private let isSecure: Bool
    private let patience: Duration
    private let logger: Logger
    private var context: ChannelHandlerContext?
    private var received: ByteBuffer?
    private var isDecided = false
    private var isReadHeld = false
    private var isQuiescing = false
    private var isInputClosed = false
    private var timeout: Scheduled<Void>?

    /// Of HTTP/2's first line, which is no request of HTTP/1.1: RFC 9113, 3.4.
    private static let preface = Array("PRI".utf8)
    /// Of a connection that is being closed gracefully, for a request that is under way.
    private static let grace: TimeAmount = .milliseconds(500)

    init(isSecure: Bool, patience: Duration, eventLoop: any EventLoop, logger: Logger) {
        self.isSecure = isSecure
        self.patience = patience
        self.logger = logger
        negotiated = eventLoop.makePromise()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if !isSecure { closeLater(TimeAmount(patience)) }
    }

    private func closeLater(_ time: TimeAmount) {
        timeout?.cancel()
        guard let channel = context?.channel else { return }
        timeout = channel.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let negotiation as TLSNegotiation: decide(negotiation.applicationProtocol == "h2" ? .http2 : .http1)
        case is ChannelShouldQuiesceEvent:
            isQuiescing = true
            if !isDecided { closeLater(Self.grace) }
        case ChannelEvent.inputClosed:
            isInputClosed = true
            if !isDecided { context.close(promise: nil) }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if received == nil { received = bytes } else { received!.writeBuffer(&bytes) }
        guard !isDecided, let received else { return }
        let start = Array(received.readableBytesView.prefix(Self.preface.count))
        if start.first == 0x16 {  // of a record of a handshake
            logger.info(
                "closed a connection",
                metadata: [
                    "peer": "\(context.remoteAddress?.description ?? "")", "reason": "TLS to a plaintext port: there is no gateway.tls.certificate",
                ])
            return context.close(promise: nil)
        }
        if start == Self.preface { return decide(.http2) }
        if !Self.preface.starts(with: start) { decide(.http1) }
    }

    private func decide(_ protocol: EdgeProtocol) {
        isDecided = true
        timeout?.cancel()
        negotiated.succeed(`protocol`)
    }

    /// What came before the decision stays here; no more is read meanwhile.
    func read(context: ChannelHandlerContext) {
        if isDecided { isReadHeld = true } else { context.read() }
    }

    /// Hands on what was kept to the handlers that are there now, and goes.
    func release() {
        guard let context else { return }
        if isQuiescing { context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        if let received {
            self.received = nil
            context.fireChannelRead(wrapInboundOut(received))
            context.fireChannelReadComplete()
        }
        if isInputClosed { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        if isReadHeld { context.read() }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        timeout?.cancel()
        if !isDecided { negotiated.fail(ChannelError.eof) }
    }
}

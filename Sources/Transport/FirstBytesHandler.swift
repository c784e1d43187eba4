import HTTP2
import Logging
import Model
import NIOCore
import NIOHTTP1
import TLS

/// Waits for the first bytes of a connection and builds the pipeline for what they are: HTTP/2 begins with `PRI`, which
/// is no method of HTTP/1.1 (RFC 9113, 3.4), so one port serves nodes and operators. Over TLS, HTTP/2 must have been agreed on by ALPN.
final class FirstBytesHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: ServerConnection
    private let operations: OperationsPages
    private let logger: Logger
    private let patience: Duration
    private var received = ByteBuffer()
    private var timeout: Scheduled<Void>?
    private var hasChosen = false
    private var negotiation: TLSNegotiation?

    /// - Parameter patience: Time for the first bytes; a connection that sends none takes a place from others.
    init(_ connection: ServerConnection, _ operations: OperationsPages, logger: Logger, patience: Duration) {
        self.connection = connection
        self.operations = operations
        self.logger = logger
        self.patience = patience
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timeout = context.eventLoop.scheduleTask(in: TimeAmount(patience)) { channel.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let negotiation = event as? TLSNegotiation { self.negotiation = negotiation }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var more = unwrapInboundIn(data)
        received.writeBuffer(&more)
        if negotiation == nil, received.readableBytesView.first == 0x16 {  // of a record of a handshake
            return refuse(context, "TLS to a plaintext port: this node has no tls.certificate")
        }
        guard received.readableBytes >= 3 else { return }
        timeout?.cancel()
        hasChosen = true
        connection.place?.setBusy(true)
        do {
            let pipeline = context.pipeline.syncOperations
            if received.readableBytesView.prefix(3).elementsEqual("PRI".utf8) {
                if let negotiation, negotiation.applicationProtocol != "h2" {
                    hasChosen = false
                    return refuse(context, "no h2 by ALPN: the client speaks HTTP/2 without having offered it")
                }
                try pipeline.addHandler(connection.makeHandler(), position: .after(self))
            } else {
                // Added in this order, each directly behind this handler: the last one added comes first.
                try pipeline.addHandler(operations.handler(for: connection, patience: patience), position: .after(self))
                try pipeline.configureHTTPServerPipeline(position: .after(self), withErrorHandling: true)
            }
        } catch {
            hasChosen = false
            return context.close(promise: nil)
        }
        context.fireChannelRead(wrapInboundOut(received))
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func refuse(_ context: ChannelHandlerContext, _ reason: String) {
        logger.warning("closed a connection", metadata: ["peer": "\(context.remoteAddress?.description ?? "")", "reason": "\(reason)"])
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !hasChosen { connection.closed(ClusterError(.unavailable, "closed before it said anything")) }
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { timeout?.cancel() }
}

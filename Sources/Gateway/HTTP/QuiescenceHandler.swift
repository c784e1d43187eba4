import NIOCore
import NIOHTTPTypes

/// Gives a connection without a request a moment before a graceful shutdown closes it.
///
/// A client that has just connected, or has sent a request that is still on its way, would otherwise be cut off although
/// its connection had been accepted. It stands in front of Hummingbird's handler, which closes an idle connection at once.
/// All of it happens on the channel's event loop.
final class QuiescenceHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart

    /// Longer than a scheduler's delay on a busy machine, shorter than anybody who waits for a shutdown notices.
    private static let grace: TimeAmount = .milliseconds(500)

    private var held: Scheduled<Void>?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.fireChannelRead(data)
        // The request has arrived: now the connection ends behind its response.
        if held != nil { release(context) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent, held == nil else { return context.fireUserInboundEventTriggered(event) }
        held = context.eventLoop.assumeIsolated().scheduleTask(in: Self.grace) { self.release(context) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        held?.cancel()
        held = nil
        context.fireChannelInactive()
    }

    private func release(_ context: ChannelHandlerContext) {
        held?.cancel()
        held = nil
        context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }
}

import HTTP2
import Logging
import Model
import NIOCore

/// Closes a connection whose peer takes next to nothing of what waits for it in the socket; it stands next to the socket.
package final class StalledWriteHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private let configuration: HTTP2Configuration
    private let logger: Logger
    private var timer: Scheduled<Void>?
    private var writtenBytes = 0
    private var takenBytes = 0
    private var wasWaiting = false

    /// - Parameter configuration: Of it ``HTTP2/HTTP2Configuration/stallTime`` and ``HTTP2/HTTP2Configuration/minimumReadRate``, whatever is spoken.
    package init(_ configuration: HTTP2Configuration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    package func handlerAdded(context: ChannelHandlerContext) { schedule(context) }
    package func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    package func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        writtenBytes += unwrapOutboundIn(data).readableBytes
        context.write(data, promise: promise)
    }

    private func schedule(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(configuration.stallTime)) { self.look(context) }
    }

    private func look(_ context: ChannelHandlerContext) {
        let waiting = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        let taken = writtenBytes - waiting
        let minimum = Double(configuration.minimumReadRate) * (configuration.stallTime / .seconds(1))
        if wasWaiting, waiting > 0, taken - takenBytes < Int(minimum) {
            let peer = context.channel.remoteAddress?.description ?? "a peer"
            logger.info("closed a connection", metadata: ["peer": "\(peer)", "reason": "it took \(taken - takenBytes) of \(waiting) waiting bytes in \(configuration.stallTime)"])
            return context.close(promise: nil)
        }
        wasWaiting = waiting > 0
        takenBytes = taken
        schedule(context)
    }
}

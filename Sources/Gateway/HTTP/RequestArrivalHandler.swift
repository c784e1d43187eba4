import Logging
import Model
import NIOCore
import NIOHTTPTypes
import Transport

/// What a client of HTTP/1.1 must do in time: a request's line and headers once their first byte has come, and the rest of a body that nobody reads.
/// Between requests the connection is idle. All of it happens on the channel's event loop.
final class RequestArrivalHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let place: ConnectionPlaces.Place
    private let replies: ReplyBudget
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private var unanswered = 0
    private var isBodyArriving = false
    private var timer: Scheduled<Void>?

    init(_ place: ConnectionPlaces.Place, _ replies: ReplyBudget, _ configuration: GatewayConfiguration, logger: Logger) {
        self.place = place
        self.replies = replies
        self.configuration = configuration
        self.logger = logger
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            expectNothing()
            unanswered += 1
            isBodyArriving = true
            place.setBusy(true)
        case .body: break
        case .end:
            isBodyArriving = false
            if unanswered == 0 { expectNothing() }
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Bytes have come, and they are no request yet.
        if unanswered == 0, !isBodyArriving, timer == nil { expect("the line and headers of a request", within: configuration.arrivalTimeout, context) }
        context.fireChannelReadComplete()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) {
            unanswered = max(0, unanswered - 1)  // an answer to what is no request has none
            if unanswered == 0 { place.setBusy(false) }
            if unanswered == 0, isBodyArriving { expect("the rest of a body", within: configuration.bodyTimeout, context) }
        }
        guard case .body(let buffer) = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
        let byteCount = buffer.readableBytes
        guard replies.admits(byteCount, beside: 0) else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return close("too many replies wait for clients to read them", context)
        }
        replies.change(by: byteCount)
        let promise = promise ?? context.eventLoop.makePromise()
        promise.futureResult.whenComplete { [replies] _ in replies.change(by: -byteCount) }
        context.write(data, promise: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        expectNothing()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { expectNothing() }

    private func expect(_ what: String, within time: Duration, _ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(time)) {
            self.close("\(what) took longer than \(time)", context)
        }
    }

    private func close(_ reason: String, _ context: ChannelHandlerContext) {
        logger.info("closed a connection", metadata: ["peer": "\(context.channel.remoteAddress?.description ?? "a peer")", "reason": "\(reason)"])
        context.close(promise: nil)
    }

    private func expectNothing() {
        timer?.cancel()
        timer = nil
    }
}

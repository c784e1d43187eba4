import NIOCore
import NIOHTTP1

/// Says of each request in one way, `connection: close`, that its connection ends behind the response: what comes after it compares exactly that, and does
/// not see the version.
///
/// Clients write `Close`, or `close, TE`; those of HTTP/1.0 mean it unless they say `keep-alive`: RFC 9112, 9.3. Nor may a client of HTTP/1.0 expect
/// an interim response: RFC 9110, 10.1.1.
final class PersistenceHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(var head) = unwrapInboundIn(data) else { return context.fireChannelRead(data) }
        if !head.isKeepAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
        if head.version == .http1_0 { head.headers.remove(name: "expect") }
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }
}

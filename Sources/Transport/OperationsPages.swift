import Model
import NIOCore
import NIOHTTP1
import Observability

/// What an operator's tools read of a node on the port that serves the other nodes: `/metrics` (Prometheus), `/healthz`, `/readyz`. Over HTTP/1.1
/// it is one request a connection, so that none is kept that a node could use; over HTTP/2 ``ServerConnection`` answers.
struct OperationsPages: Sendable {
    let metrics: Metrics
    let health: HealthService

    /// - Parameter patience: Time for a request and its answer.
    func handler(for connection: ServerConnection, patience: Duration) -> any ChannelHandler { Handler(self, connection, patience) }

    func page(_ method: String, _ uri: String) -> (status: HTTPResponseStatus, text: String) {
        guard method == "GET" else { return (.methodNotAllowed, "\(method) is not answered here, GET is\n") }
        switch uri.prefix(while: { $0 != "?" }) {
        case "/metrics": return (.ok, metrics.render())
        case "/healthz": return (.ok, "healthz check passed\n")
        case "/readyz": return health.isServing ? (.ok, "ready\n") : (.serviceUnavailable, "not ready: the node is stopping\n")
        default: return (.notFound, "a node answers gRPC over HTTP/2 here, and GET /metrics, /healthz and /readyz\n")
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let pages: OperationsPages
        private let connection: ServerConnection
        private let patience: Duration
        private var head: HTTPRequestHead?
        private var timeout: Scheduled<Void>?

        init(_ pages: OperationsPages, _ connection: ServerConnection, _ patience: Duration) {
            self.pages = pages
            self.connection = connection
            self.patience = patience
        }

        func handlerAdded(context: ChannelHandlerContext) {
            let channel = context.channel
            timeout = context.eventLoop.scheduleTask(in: TimeAmount(patience)) { channel.close(promise: nil) }
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): self.head = head
            case .body: break
            case .end:
                guard let head else { return }
                // Metrics are gathered and printed elsewhere: the loop serves other connections.
                context.eventLoop.makeFutureWithTask { [pages] in pages.page(head.method.rawValue, head.uri) }
                    .assumeIsolated()
                    .whenSuccess { [weak self] status, text in self?.respond(to: head, status, text, context) }
            }
        }

        private func respond(to request: HTTPRequestHead, _ status: HTTPResponseStatus, _ text: String, _ context: ChannelHandlerContext) {
            let body = context.channel.allocator.buffer(string: text)
            let headers: HTTPHeaders = ["content-type": Metrics.contentType, "content-length": "\(body.readableBytes)", "connection": "close"]
            let head = HTTPResponseHead(version: request.version, status: status, headers: headers)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        }

        /// What is no HTTP has been answered 400 by now.
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        func channelInactive(context: ChannelHandlerContext) {
            timeout?.cancel()
            connection.closed(ClusterError(.unavailable, "the client closed the connection"))
            context.fireChannelInactive()
        }
    }
}

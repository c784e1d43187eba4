import HTTP2
import HTTPTypes
import HummingbirdCore
import Logging
import Model
import NIOCore
import Observability
import Transport

/// The public API over HTTP/2: what the connections of one gateway have in common.
struct HTTP2Edge: Sendable {
    /// Answers one request; what fails is an answer, too. Its task is cancelled when the client takes the request back or goes away.
    let respond: @Sendable (Request, any Channel) async -> Response
    let configuration: HTTP2Configuration
    let replies: ReplyBudget
    /// A connection without a request for this long is closed.
    let idleTimeout: Duration
    let metrics: ConnectionMetrics
    let logger: Logger

    /// Requests of a connection whose work is under way, those that were cancelled and have not ended yet included; more are refused.
    var maximumTasks: Int { 8 * configuration.maximumConcurrentStreams }
    /// A connection silent for this long is asked for a sign of life, and closed if none comes for as long again.
    private var keepAliveInterval: Duration { min(.seconds(30), configuration.stallTime) }

    /// Bounds for clients that nobody vouches for.
    ///
    /// A connection holds at most 1 MiB of bodies that nobody has taken yet, which lets an upload over 50 ms of distance run at 20 MB/s.
    /// 128 requests at a time are what one tenant may have at work. Clients cancel requests, but not hundreds a second for long; frames that lead to
    /// nothing, two of them for a request that is cancelled, come in pairs and seldom.
    static func configuration(_ gateway: GatewayConfiguration) -> HTTP2Configuration {
        var configuration = HTTP2Configuration()
        configuration.maximumConcurrentStreams = 128
        configuration.connectionWindowBytes = 1 << 20
        configuration.maximumHeaderListBytes = gateway.maximumHeaderBytes
        configuration.resetBurst = 256
        configuration.resetsPerSecond = 50
        configuration.frameBurst = 1_000
        configuration.framesPerSecond = 200
        configuration.arrivalTime = gateway.arrivalTimeout
        configuration.stallTime = gateway.stallTimeout
        return configuration
    }

    /// Puts HTTP/2 at the end of the channel's pipeline, on its event loop.
    ///
    /// - Returns: Fulfilled once the connection and all that worked for it have ended.
    func begin(on channel: any Channel, at place: ConnectionPlaces.Place) throws -> EventLoopFuture<Void> {
        let connection = HTTP2Connection(self, channel, place)
        let handler = HTTP2Handler(
            session: try HTTP2Session(.server, configuration: configuration), configuration: configuration, side: connection,
            keepAliveInterval: keepAliveInterval, metrics: metrics, logger: logger)
        connection.begin(handler)
        do {
            try channel.pipeline.syncOperations.addHandlers([handler, Quiescence(connection)])
        } catch {
            connection.closed(ClusterError(.unavailable, "the client has left already"))  // the two hold each other until then
            throw error
        }
        return connection.ended.futureResult
    }

    /// Brings the wish that a connection end gracefully to it.
    private final class Quiescence: ChannelInboundHandler {
        typealias InboundIn = Never
        private let connection: HTTP2Connection

        init(_ connection: HTTP2Connection) { self.connection = connection }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event is ChannelShouldQuiesceEvent { connection.drain() } else { context.fireUserInboundEventTriggered(event) }
        }
    }
}

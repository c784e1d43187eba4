import HTTP2
import Logging
import Model
import NIOCore
import NIOPosix
import Observability
import Synchronization

/// Serves a node's services to its peers: gRPC over HTTP/2 on one port, with the standard health service. The same port answers
/// with ``OperationsPages``, over HTTP/1.1 too, for an operator's tools. With ``NodeServerConfiguration/tls`` all of it is mutual TLS.
///
/// Requests run outside the event loops; their deadline, the caller's reset and the loss of the connection cancel their task.
package final class NodeServer: Sendable {
    private let configuration: NodeServerConfiguration
    private let group: any EventLoopGroup
    private let logger: Logger
    private let health: HealthService
    private let shared: ServerShared
    private let listener = Mutex<(any Channel)?>(nil)

    /// - Parameters:
    ///   - shard, answer: What is served; what is absent is answered with `unimplemented`.
    ///   - group: Event loops, owned by the caller.
    ///   - metrics: The node's: the server adds its own, and hands all out at `/metrics`.
    /// - Throws: `invalidArgument` for an impossible configuration.
    package init(
        configuration: NodeServerConfiguration, shard: (any ShardService)? = nil, answer: (any AnswerService)? = nil, group: any EventLoopGroup,
        metrics: Metrics = Metrics(), logger: Logger
    ) throws(ClusterError) {
        try configuration.validate()
        self.configuration = configuration
        self.group = group
        self.logger = logger
        health = HealthService(
            services: [shard.map { _ in ServiceRoutes.shardService }, answer.map { _ in ServiceRoutes.generatorService }].compactMap(\.self))
        shared = ServerShared(
            configuration: configuration, routes: ServiceRoutes(shard: shard, answer: answer, health: health, logger: logger),
            operations: OperationsPages(metrics: metrics, health: health), metrics: CallMetrics(.server, metrics: metrics),
            tlsMetrics: configuration.tls.map { _ in TLSMetrics(side: "node", metrics: metrics) }, logger: logger)
    }

    /// Listens, and returns the port that it has.
    ///
    /// - Throws: `unavailable` naming the address if it cannot be bound.
    package func start() async throws(ClusterError) -> Int {
        let shared = shared
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1_024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            // Room for a large reply to be handed over in a few writes; the rest waits in the session.
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
            .childChannelInitializer { channel in Self.prepare(channel, shared) }
        do {
            let channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
            listener.withLock { $0 = channel }
            return channel.localAddress?.port ?? configuration.port
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw ClusterError(.unavailable, "\(configuration.host):\(configuration.port) is in use by another process")
        } catch {
            throw ClusterError(.unavailable, "cannot listen on \(configuration.host):\(configuration.port): \(error)")
        }
    }

    /// The pipeline of a connection, from the socket up.
    private static func prepare(_ channel: any Channel, _ shared: ServerShared) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let connection = ServerConnection(shared: shared, eventLoop: channel.eventLoop) { channel.close(promise: nil) }
            do {
                try shared.connectionOpened(NIOLoopBound(connection, eventLoop: channel.eventLoop), ObjectIdentifier(connection))
            } catch {
                shared.logger.warning("closed a new connection", metadata: ["peer": "\(channel.remoteAddress?.description ?? "")", "reason": "\(error)"])
                throw error
            }
            do {
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addHandler(StalledWriteHandler(shared.configuration.http2, logger: shared.logger))
                if let identity = shared.configuration.tls {
                    try pipeline.addHandler(TLSHandler.server(identity, channel, metrics: shared.tlsMetrics!, logger: shared.logger, level: .warning))
                }
                try pipeline.addHandler(FirstBytesHandler(connection, shared.operations, logger: shared.logger, patience: shared.configuration.http2.arrivalTime))
            } catch {
                shared.connectionClosed(connection)
                throw error
            }
        }
    }

    /// Takes no more requests, finishes the accepted ones, and returns when every connection is closed; what is not
    /// finished after `timeout` is cancelled.
    package func drain(timeout: Duration) async {
        let channel = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        try? await channel?.close().get()
        health.stopServing()
        let eventLoop = group.next()
        let closed = eventLoop.makePromise(of: Void.self)
        shared.forEachConnection(whenEmpty: closed) { $0.drain() }
        let late = eventLoop.scheduleTask(in: TimeAmount(timeout)) { [shared, logger] in
            logger.warning("requests still run at the end of the time to drain; they are cancelled", metadata: ["timeout": "\(timeout)"])
            shared.forEachConnection(whenEmpty: nil) { $0.abort() }
        }
        try? await closed.futureResult.get()
        late.cancel()
    }
}

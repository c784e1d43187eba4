import Logging
import Model
import NIOCore

/// Serves a node's services to its peers: gRPC over HTTP/2 on one port, with the standard health service.
package final class NodeServer: Sendable {
    /// - Throws: `invalidArgument` for an impossible configuration.
    package init(
        configuration: NodeServerConfiguration, shard: (any ShardService)? = nil, answer: (any AnswerService)? = nil, group: any EventLoopGroup,
        logger: Logger
    ) throws(ClusterError) {
        try configuration.validate()
    }

    /// Listens, and returns the port that it has. A port in use throws `unavailable`.
    package func start() async throws(ClusterError) -> Int { throw ClusterError(.unimplemented, "under way") }

    /// Takes no more requests, finishes the accepted ones, and returns when every connection is closed; what runs
    /// longer than `timeout` is cancelled.
    package func drain(timeout: Duration) async {}
}

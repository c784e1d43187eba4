import Logging
import Model
import NIOCore

/// Another node, reached over one connection that many calls share.
package final class Peer: Sendable {
    /// - Throws: `invalidArgument` for an impossible configuration.
    package init(host: String, port: Int, group: any EventLoopGroup, configuration: PeerConfiguration = PeerConfiguration(), logger: Logger) throws(ClusterError) {
        try configuration.validate()
    }
    /// Fails what is under way, closes the connection and takes no more calls.
    package func close() async {}
}

import HTTP2
import Model
import TLS

/// How a node talks to one other node.
package struct PeerConfiguration: Sendable {
    /// Time for a connection to open. Default: 1 s: loopback and one data centre need milliseconds.
    package var connectTimeout: Duration = .seconds(1)
    /// A connection whose other side acknowledges nothing for so long is closed, to be opened anew. Default: 3 s: four repeats of a packet. A
    /// cut network that is whole again is used within the pauses below, not when the kernel tries again.
    package var unacknowledgedLimit: Duration = .seconds(3)
    /// Pause before the second attempt to reconnect (the first is made at once); it doubles from there. Default: 50 ms.
    package var initialBackOff: Duration = .milliseconds(50)
    /// Longest pause between attempts, before jitter takes up to half of it away. Default: 1 s, so a node that is back is
    /// used again within a second, at the cost of one connection attempt a second while it is away.
    package var maximumBackOff: Duration = .seconds(1)
    /// Calls at a time, waiting ones included; one more is refused. Default: 4,096.
    package var maximumCalls = 4_096
    /// Largest reply, in bytes. Default: 64 MiB: what `NodeServerConfiguration.maximumMessageBytes` is for requests.
    package var maximumMessageBytes = 64 << 20
    /// A connection silent for this long is asked for a sign of life, and closed if none comes for as long again.
    /// Default: 5 s.
    package var keepAliveInterval: Duration = .seconds(5)
    /// Which certificate to show, and the DNS name that the node's certificate must have. Default: none, and calls in plaintext.
    package var tls: (identity: TLSIdentity, name: String)?
    /// Windows, header lists, floods.
    package var http2 = HTTP2Configuration()

    package init() {}

    /// - Throws: `invalidArgument` naming the field, its limit and its value.
    package func validate() throws(ClusterError) {
        try requirePositive(maximumCalls, "maximumCalls")
        try requirePositive(maximumMessageBytes, "maximumMessageBytes")
        for (field, value) in [("connectTimeout", connectTimeout), ("unacknowledgedLimit", unacknowledgedLimit), ("initialBackOff", initialBackOff), ("keepAliveInterval", keepAliveInterval)] {
            guard value > .zero else { throw ClusterError(.invalidArgument, "\(field) must be positive, found \(value)") }
        }
        guard maximumBackOff >= initialBackOff else {
            throw ClusterError(.invalidArgument, "maximumBackOff \(maximumBackOff) must be at least initialBackOff \(initialBackOff)")
        }
        do { try http2.validate() } catch { throw ClusterError(.invalidArgument, "\(error)") }
    }
}

import HTTP2
import Model
import TLS

/// Where a node listens and what it lets its peers do.
package struct NodeServerConfiguration: Sendable {
    /// Default: loopback only; a wider one is the operator's choice.
    package var host = "127.0.0.1"
    /// 0 takes a free port. Default: 0.
    package var port = 0
    /// Connections at a time; one more is closed at once. Default: 1,024: a cluster's other nodes open one each, so this
    /// is room for a thousand nodes within the usual 1,024–4,096 descriptors of a process.
    package var maximumConnections = 1_024
    /// Largest request, in bytes. Default: 64 MiB: 4,096 points of 4,096 dimensions.
    package var maximumMessageBytes = 64 << 20
    /// Bytes of requests that are arriving, over all connections; a request beyond is refused. Default: 512 MiB, eight of
    /// the largest.
    package var maximumBufferedBytes = 512 << 20
    /// Time for a request's message to arrive once its headers have. Default: 60 s: the largest at 9 Mbit/s.
    package var messageTimeout: Duration = .seconds(60)
    /// Bytes of all replies on a connection that wait for a reader who does not read; further requests are refused then. Default: 512 MiB, eight
    /// of the largest.
    package var maximumPendingBytes = 512 << 20
    /// Bytes of a streamed answer that wait for a reader before its producer is suspended. Default: 64 KiB.
    package var streamHighWaterBytes = 64 << 10
    /// A connection silent for this long is asked for a sign of life, and closed if none comes for as long again.
    /// Default: 30 s.
    package var keepAliveInterval: Duration = .seconds(30)
    /// Which certificate to show and whose to accept; it must ask for one. Default: none, and calls in plaintext from anybody.
    package var tls: TLSIdentity?
    /// Windows, streams per connection, header lists, floods, times.
    package var http2 = HTTP2Configuration()

    package init() {}

    /// - Throws: `invalidArgument` naming the field, its limit and its value.
    package func validate() throws(ClusterError) {
        guard (0...65_535).contains(port) else { throw ClusterError(.invalidArgument, "port must be 0…65535, found \(port)") }
        try requirePositive(maximumConnections, "maximumConnections")
        try requirePositive(maximumMessageBytes, "maximumMessageBytes")
        try requirePositive(streamHighWaterBytes, "streamHighWaterBytes")
        try requirePositive(maximumPendingBytes, "maximumPendingBytes")
        guard maximumBufferedBytes >= maximumMessageBytes else {
            throw ClusterError(
                .invalidArgument, "maximumBufferedBytes \(maximumBufferedBytes) must be at least maximumMessageBytes \(maximumMessageBytes)")
        }
        for (field, value) in [("keepAliveInterval", keepAliveInterval), ("messageTimeout", messageTimeout)] where value <= .zero {
            throw ClusterError(.invalidArgument, "\(field) must be positive, found \(value)")
        }
        if let tls, tls.settings.authorityFile == nil { throw ClusterError(.invalidArgument, "tls has no authority that callers' certificates are held to") }
        do { try http2.validate() } catch { throw ClusterError(.invalidArgument, "\(error)") }
    }
}

func requirePositive(_ value: Int, _ field: String) throws(ClusterError) {
    guard value > 0 else { throw ClusterError(.invalidArgument, "\(field) must be positive, found \(value)") }
}

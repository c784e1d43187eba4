/// What one end of a connection lets the other do.
package struct HTTP2Configuration: Sendable {
    /// Streams that the peer may have open at a time. Default: 1,024: a coordinator multiplexes its queries on one connection.
    package var maximumConcurrentStreams = 1_024
    /// Bytes of a stream that the peer may send before they are consumed here. Default: 256 KiB: a vector of 4,096
    /// dimensions with room for the round trips of a larger upload.
    package var streamWindowBytes = 256 << 10
    /// The same for all streams of a connection. Default: 16 MiB.
    package var connectionWindowBytes = 16 << 20
    /// Size of a header list as RFC 9113 § 6.5.2 counts it (names, values, 32 bytes each). Default: 16 KiB; ours need 400 bytes.
    package var maximumHeaderListBytes = 16 << 10
    /// Answers to pings and settings that may wait to be sent; a peer that causes more without reading is cut off. Default: 1,000.
    package var maximumQueuedAcknowledgements = 1_000
    /// Streams that the peer may open and reset at once, and per second from then on; a peer that exceeds it is cut off
    /// (CVE-2023-44487), and with it every other call on its connection. Default: 10,000 of both, the queries that a node is made for:
    /// when it is overloaded, the deadlines of all of them may pass.
    package var resetBurst = 10_000
    package var resetsPerSecond = 10_000

    package init() {}

    /// - Throws: ``HTTP2Error/invalidConfiguration(_:)`` naming the field, its limit and its value.
    package func validate() throws(HTTP2Error) {
        let windows = 1...Int(Int32.max)
        for (field, value) in [
            ("maximumConcurrentStreams", maximumConcurrentStreams), ("streamWindowBytes", streamWindowBytes),
            ("connectionWindowBytes", connectionWindowBytes), ("maximumHeaderListBytes", maximumHeaderListBytes),
            ("maximumQueuedAcknowledgements", maximumQueuedAcknowledgements), ("resetBurst", resetBurst), ("resetsPerSecond", resetsPerSecond),
        ] where !windows.contains(value) {
            throw .invalidConfiguration("\(field) must be 1…\(Int32.max), found \(value)")
        }
    }
}

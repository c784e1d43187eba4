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
    /// Frames that lead to nothing (pings, settings, priorities, window updates, resets, requests that are reset, data of few bytes or of padding,
    /// continuations, unknown ones) that a client may send at once, and per second from then on; one that exceeds it is cut off. Each frame of
    /// an answer earns a few more. Default: 40,000 of both: four for each of the queries above.
    package var frameBurst = 40_000
    package var framesPerSecond = 40_000
    /// Time for the preface, for a frame of anything but data, for a header block and for the answer to the first settings; a client that needs
    /// longer is cut off. Default: 20 s.
    package var arrivalTime: Duration = .seconds(20)
    /// A client that keeps a window shut while there is something for it, or opens it by less than ``minimumReadRate``, for so long (up to twice as
    /// long: it is looked at so often) loses the stream, or the connection where it is that one's window. Default: 60 s.
    package var stallTime: Duration = .seconds(60)
    /// Bytes per second. Default: 256.
    package var minimumReadRate = 256

    package init() {}

    /// - Throws: ``HTTP2Error/invalidConfiguration(_:)`` naming the field, its limit and its value.
    package func validate() throws(HTTP2Error) {
        let windows = 1...Int(Int32.max)
        for (field, value) in [
            ("maximumConcurrentStreams", maximumConcurrentStreams), ("streamWindowBytes", streamWindowBytes),
            ("connectionWindowBytes", connectionWindowBytes), ("maximumHeaderListBytes", maximumHeaderListBytes),
            ("maximumQueuedAcknowledgements", maximumQueuedAcknowledgements), ("resetBurst", resetBurst), ("resetsPerSecond", resetsPerSecond),
            ("frameBurst", frameBurst), ("framesPerSecond", framesPerSecond), ("minimumReadRate", minimumReadRate),
        ] where !windows.contains(value) {
            throw .invalidConfiguration("\(field) must be 1…\(Int32.max), found \(value)")
        }
        for (field, value) in [("arrivalTime", arrivalTime), ("stallTime", stallTime)] where value <= .zero {
            throw .invalidConfiguration("\(field) must be positive, found \(value)")
        }
    }
}

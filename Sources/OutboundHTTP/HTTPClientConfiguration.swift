/// The bounds of one ``HTTPClient``.
package struct HTTPClientConfiguration: Sendable {
    /// Requests in progress to one scheme, host and port; more wait in line. Default: 16: model servers batch, they do not
    /// profit from more.
    package var maximumConnectionsPerHost: Int = 16
    /// Requests waiting in line for all hosts together; one more is refused. Default: 1,024.
    package var maximumWaiting: Int = 1024
    /// Bytes of a streamed body kept for a reader that is slower than the network; then the transfer pauses. Default: 256 KiB.
    package var maximumBufferedBytes: Int = 256 << 10
    /// A connection whose other side acknowledges nothing for so long is taken for dead, whatever a request's own bounds. Default: 3 s: four
    /// repeats of a packet; a server that is busy, even one that is stopped, acknowledges.
    package var unacknowledgedLimit: Duration = .seconds(3)
    /// A proxy's URL, with a user and a password if it wants them: `http://user:password@proxy:3128`. `nil`: none, whatever the environment says.
    /// A server behind `https` is reached through a tunnel. Default: `nil`.
    package var proxy: String?
    /// Hosts that are reached without it, with commas between: `localhost,.internal`; `*` for all. Default: none.
    package var noProxy = ""
    /// A PEM file of trusted authorities in place of the system's, for servers and proxies. Default: `nil`.
    package var certificateAuthorityFile: String?

    package init() {}
}

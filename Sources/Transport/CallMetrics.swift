import Model
import Observability
import Synchronization

/// What one side of calls has done: as a server of everybody, or as a client of one peer.
///
/// | metric, below `covey_rpc_server_` or `covey_rpc_client_` | labels (a client's have `peer` too) |
/// | --- | --- |
/// | `calls_total` | `method`, `code`: `ok` or the error's |
/// | `seconds`, a histogram | `method` |
/// | `received_bytes_total`, `sent_bytes_total`: on the wire, frames included | |
/// | `open_streams`, `connections` | |
///
/// Methods are those of the protocol, anything else counts as `other`; peers are those of the configuration. So the series are bounded.
final class CallMetrics: Sendable {
    enum Side { case server, client(peer: String) }

    let openStreams: Gauge
    let connection: ConnectionMetrics
    private let metrics: Metrics
    private let prefix: String
    private let labels: [(String, String)]
    private struct Key: Hashable {
        let method: String
        let code: ClusterError.Code?
    }
    /// Looked up once each: a look-up by name costs as much as the rest of a small call's accounting.
    private let series = Mutex<[Key: (calls: Counter, seconds: Histogram)]>([:])

    init(_ side: Side, metrics: Metrics) {
        self.metrics = metrics
        switch side {
        case .server: (prefix, labels) = ("covey_rpc_server_", [])
        case .client(let peer): (prefix, labels) = ("covey_rpc_client_", [("peer", peer)])
        }
        openStreams = metrics.gauge(prefix + "open_streams", help: "Calls under way.", labels: labels)
        connection = ConnectionMetrics(prefix: prefix, labels: labels, metrics: metrics)
    }

    /// Counts a call that is over.
    ///
    /// - Parameters:
    ///   - path: The method's path if it is one that is served.
    ///   - code: Of its error; `nil` for success.
    func ended(_ path: String?, _ code: ClusterError.Code?, since start: ContinuousClock.Instant) {
        let key = Key(method: path.map { String($0.dropFirst()) } ?? Metrics.otherLabel, code: code)
        let (calls, seconds) = series.withLock { series in
            if let known = series[key] { return known }
            let code = key.code.map { "\($0)" } ?? "ok"
            let new = (
                metrics.counter(prefix + "calls_total", help: "Calls that ended.", labels: labels + [("method", key.method), ("code", code)]),
                metrics.histogram(prefix + "seconds", help: "Time of a call, its whole stream included.", labels: labels + [("method", key.method)])
            )
            series[key] = new
            return new
        }
        calls.add()
        seconds.observe(start.duration(to: .now))
    }
}

/// The connections of one side: how many, and their bytes.
package struct ConnectionMetrics: Sendable {
    let connections: Gauge
    let receivedBytes: Counter
    let sentBytes: Counter

    /// - Parameter prefix: Of the names: `<prefix>connections`, `<prefix>received_bytes_total`, `<prefix>sent_bytes_total`.
    package init(prefix: String, labels: [(String, String)] = [], metrics: Metrics) {
        connections = metrics.gauge(prefix + "connections", help: "Open connections.", labels: labels)
        receivedBytes = metrics.counter(prefix + "received_bytes_total", help: "Bytes received, frames included.", labels: labels)
        sentBytes = metrics.counter(prefix + "sent_bytes_total", help: "Bytes sent, frames included.", labels: labels)
    }
}

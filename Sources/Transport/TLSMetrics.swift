import Logging
import NIOCore
import Observability
import TLS

/// Counts handshakes: `covey_tls_handshakes_total` with `side` (`node`, `peer`: this node as a client, `gateway`) and `outcome`: `full`,
/// `resumed`, or why it failed.
package struct TLSMetrics: Sendable {
    private let outcomes: [String: Counter]

    package init(side: String, metrics: Metrics) {
        var outcomes: [String: Counter] = [:]
        for outcome in ["full", "resumed"] + TLSFailure.Reason.allCases.map(\.rawValue) {
            outcomes[outcome] = metrics.counter(
                "covey_tls_handshakes_total", help: "TLS handshakes that ended.", labels: [("side", side), ("outcome", outcome)])
        }
        self.outcomes = outcomes
    }

    package func ended(_ result: Result<TLSNegotiation, TLSFailure>) {
        switch result {
        case .success(let negotiation): outcomes[negotiation.isResumed ? "resumed" : "full"]?.add()
        case .failure(let failure): outcomes[failure.reason.rawValue]?.add()
        }
    }
}

extension TLSHandler {
    /// The handler of a server's side, which counts its handshake and logs one that fails; a probe's only at `debug`.
    ///
    /// - Throws: ``TLSFailure`` for want of memory.
    package static func server(
        _ identity: TLSIdentity, _ channel: any Channel, metrics: TLSMetrics, logger: Logger, level: Logger.Level
    ) throws(TLSFailure) -> TLSHandler {
        let peer = channel.remoteAddress?.description ?? "a peer"
        return TLSHandler(try TLSSession(identity.context(.server))) { result in
            metrics.ended(result)
            guard case .failure(let failure) = result else { return }
            logger.log(level: failure.reason == .silent ? .debug : level, "TLS handshake failed", metadata: ["peer": "\(peer)", "reason": "\(failure)"])
        }
    }
}

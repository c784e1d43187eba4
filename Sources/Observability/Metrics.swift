import Synchronization

/// The process's counters, gauges and histograms, and their text for Prometheus.
///
/// A metric is looked up by name and labels where it is used; the look-up costs one lock and one hash. The number of
/// series is bounded: a family holds at most ``seriesLimit`` of them, and what comes later is counted under label
/// values `other`, so a client cannot fill the memory by inventing names.
package final class Metrics: Sendable {
    /// Series of one name. Default: 1,000, more than nodes × methods of a large cluster.
    package let seriesLimit: Int
    /// Label value of whatever has no series of its own.
    package static let otherLabel = "other"

    private struct State {
        var families: [String: MetricFamily] = [:]
        var tenants: BusiestTenants
        var collectors: [@Sendable (Metrics) -> Void] = []
    }
    private let state: Mutex<State>

    /// - Parameters:
    ///   - tenantLimit: Tenants with a label value of their own. Default: 50, so that tenants × buckets stays readable.
    ///   - seriesLimit: See ``seriesLimit``.
    package init(tenantLimit: Int = 50, seriesLimit: Int = 1_000) {
        self.seriesLimit = seriesLimit
        state = Mutex(State(tenants: BusiestTenants(limit: tenantLimit)))
    }

    /// The counter of this name and these labels, created at first use.
    ///
    /// Traps if the name stands for another kind of metric, or if name or labels are not ones that Prometheus accepts.
    package func counter(_ name: String, help: String, labels: [(String, String)] = []) -> Counter {
        guard case .counter(let counter) = instrument(name, help, labels, make: { .counter(Counter()) }) else { wrongKind(name) }
        return counter
    }

    /// The gauge of this name and these labels; see ``counter(_:help:labels:)``.
    package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> Gauge {
        guard case .gauge(let gauge) = instrument(name, help, labels, make: { .gauge(Gauge()) }) else { wrongKind(name) }
        return gauge
    }

    /// The histogram of this name and these labels; see ``counter(_:help:labels:)``.
    ///
    /// - Parameter buckets: Ascending upper bounds, inclusive; the same for every use of the name.
    package func histogram(
        _ name: String, help: String, buckets: [Double] = Histogram.latencyBuckets, labels: [(String, String)] = []
    ) -> Histogram {
        guard case .histogram(let histogram) = instrument(name, help, labels, make: { .histogram(Histogram(buckets: buckets)) }) else {
            wrongKind(name)
        }
        return histogram
    }

    /// The value of label `tenant` for a request of this tenant: its name while it is among the busiest, else `other`.
    ///
    /// Each call counts as one request. When a tenant loses its place, what its series hold is added to those of
    /// `other`, so sums over all tenants never fall.
    package func tenantLabel(_ tenant: String) -> String {
        state.withLock { state in
            let verdict = state.tenants.note(tenant)
            if let loser = verdict.evicted {
                for name in state.families.keys { state.families[name]!.fold(tenant: loser) }
            }
            return verdict.isNamed ? tenant : Metrics.otherLabel
        }
    }

    /// Registers what is to be measured anew whenever the metrics are read, say the memory in use.
    package func collect(_ collector: @escaping @Sendable (Metrics) -> Void) {
        state.withLock { $0.collectors.append(collector) }
    }

    /// All metrics in Prometheus's text format 0.0.4, names and series in ascending order.
    package func render() -> String {
        for collector in state.withLock({ $0.collectors }) { collector(self) }
        let families = state.withLock { $0.families }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) { family.render(name, to: &text) }
        return text
    }

    /// The `Content-Type` of ``render()``.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private func instrument(
        _ name: String, _ help: String, _ labels: [(String, String)], make: () -> MetricFamily.Instrument
    ) -> MetricFamily.Instrument {
        state.withLock { state in
            if state.families[name] == nil {
                precondition(isMetricName(name, allowColon: true), "metric name \"\(name)\"")
                state.families[name] = MetricFamily(help: help)
            }
            return state.families[name]!.instrument(labels: labels, limit: seriesLimit, make: make)
        }
    }

    private func wrongKind(_ name: String) -> Never { preconditionFailure("metric \(name) is used as two kinds") }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`, the colon for metric names only.
func isMetricName(_ name: String, allowColon: Bool) -> Bool {
    guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return false }
    return name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        case UInt8(ascii: ":"): allowColon
        default: false
        }
    }
}

/// All series of one metric name.
struct MetricFamily: Sendable {
    enum Instrument: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
    }
    private struct Series: Sendable {
        var labels: [(name: String, value: String)]
        var instrument: Instrument
    }

    private let help: String
    /// By the labels as they are printed.
    private var series: [String: Series] = [:]

    init(help: String) { self.help = help }

    mutating func instrument(labels: [(String, String)], limit: Int, make: () -> Instrument) -> Instrument {
        let key = MetricFamily.printed(labels)
        if let known = series[key] { return known.instrument }
        if !labels.isEmpty, series.count >= limit, labels.contains(where: { $0.1 != Metrics.otherLabel }) {
            return instrument(labels: labels.map { ($0.0, Metrics.otherLabel) }, limit: limit, make: make)
        }
        for (name, _) in labels { precondition(isMetricName(name, allowColon: false), "label name \"\(name)\"") }
        let new = Series(labels: labels.map { (name: $0.0, value: $0.1) }, instrument: make())
        series[key] = new
        return new.instrument
    }

    /// Adds the series labelled with this tenant to those of `other`, and drops them.
    mutating func fold(tenant: String) {
        for (key, old) in series where old.labels.contains(where: { $0.name == "tenant" && $0.value == tenant }) {
            series[key] = nil
            let labels = old.labels.map { ($0.name, $0.name == "tenant" ? Metrics.otherLabel : $0.value) }
            switch old.instrument {
            case .counter(let counter):
                if case .counter(let other) = instrument(labels: labels, limit: .max, make: { .counter(Counter()) }) { other.add(counter.value) }
            case .histogram(let histogram):
                let other = instrument(labels: labels, limit: .max, make: { .histogram(Histogram(buckets: histogram.buckets)) })
                if case .histogram(let other) = other { other.merge(histogram) }
            case .gauge:
                break  // A level of one tenant says nothing about the others'.
            }
        }
    }

    func render(_ name: String, to text: inout String) {
        guard let kind = series.first?.value.instrument.kind else { return }
        text += "# HELP \(name) \(MetricFamily.escaped(help, quote: false))\n# TYPE \(name) \(kind)\n"
        for (key, series) in series.sorted(by: { $0.key < $1.key }) {
            switch series.instrument {
            case .counter(let counter): text += "\(name)\(braced(key)) \(counter.value)\n"
            case .gauge(let gauge): text += "\(name)\(braced(key)) \(MetricFamily.printed(gauge.value))\n"
            case .histogram(let histogram): render(histogram, name, key, to: &text)
            }
        }
    }

    private func render(_ histogram: Histogram, _ name: String, _ key: String, to text: inout String) {
        let contents = histogram.snapshot
        let prefix = key.isEmpty ? "" : key + ","
        var cumulative = 0
        for (bound, count) in zip(histogram.buckets + [.infinity], contents.counts) {
            cumulative += count
            text += "\(name)_bucket{\(prefix)le=\"\(MetricFamily.printed(bound))\"} \(cumulative)\n"
        }
        text += "\(name)_sum\(braced(key)) \(MetricFamily.printed(contents.sum))\n"
        text += "\(name)_count\(braced(key)) \(cumulative)\n"
    }

    private func braced(_ key: String) -> String { key.isEmpty ? "" : "{\(key)}" }

    private static func printed(_ labels: [(String, String)]) -> String {
        labels.map { "\($0.0)=\"\(escaped($0.1, quote: true))\"" }.joined(separator: ",")
    }

    private static func printed(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
    }

    private static func escaped(_ text: String, quote: Bool) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quote: result += "\\\""
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}

extension MetricFamily.Instrument {
    fileprivate var kind: String {
        switch self {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        }
    }
}

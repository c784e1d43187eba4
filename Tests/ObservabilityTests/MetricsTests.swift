import Observability
import Testing

@Suite("Metrics") struct MetricsTests {
    @Test("counters, gauges and histograms are printed as Prometheus reads them")
    func rendering() {
        let metrics = Metrics()
        metrics.counter("requests_total", help: "Requests\nso \\ far.", labels: [("path", "/a\"b\\c\nd")]).add(3)
        metrics.gauge("level", help: "A level.").set(-1.5)
        let histogram = metrics.histogram("seconds", help: "Time.", buckets: [0.1, 1], labels: [("kind", "x")])
        for value in [0.05, 0.1, 0.5, 7] { histogram.observe(value) }
        #expect(
            metrics.render() == """
                # HELP level A level.
                # TYPE level gauge
                level -1.5
                # HELP requests_total Requests\\nso \\\\ far.
                # TYPE requests_total counter
                requests_total{path="/a\\"b\\\\c\\nd"} 3
                # HELP seconds Time.
                # TYPE seconds histogram
                seconds_bucket{kind="x",le="0.1"} 2
                seconds_bucket{kind="x",le="1"} 3
                seconds_bucket{kind="x",le="+Inf"} 4
                seconds_sum{kind="x"} 7.65
                seconds_count{kind="x"} 4

                """)
    }

    @Test("the same name and labels are the same counter, from any task")
    func sharing() async {
        let metrics = Metrics()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { for _ in 0..<1_000 { metrics.counter("n", help: "N.", labels: [("a", "b")]).add() } }
            }
        }
        #expect(metrics.counter("n", help: "N.", labels: [("a", "b")]).value == 8_000)
    }

    @Test("a name has a bounded number of series; the rest is counted as other")
    func cardinality() {
        let metrics = Metrics(seriesLimit: 10)
        for index in 0..<1_000 { metrics.counter("n", help: "N.", labels: [("who", "client-\(index)")]).add() }
        #expect(metrics.render().split(separator: "\n").count { $0.hasPrefix("n{") } == 11)
        #expect(metrics.render().contains("n{who=\"other\"} 990\n"))
    }

    @Test("a histogram ignores what is not a number and keeps infinities in its last bucket")
    func oddValues() {
        let histogram = Metrics().histogram("h", help: "H.", buckets: [1])
        histogram.observe(Double.nan)
        histogram.observe(Double.infinity)
        #expect(histogram.count == 1)
    }

    @Test("a gauge is added to without losing updates")
    func gaugeAddition() async {
        let gauge = Metrics().gauge("g", help: "G.")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { for _ in 0..<1_000 { gauge.add(1) } } }
        }
        #expect(gauge.value == 4_000)
    }

    @Test("what is collected is measured when the metrics are read")
    func collectors() {
        let metrics = Metrics()
        metrics.collectProcess()
        let text = metrics.render()
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds"] {
            #expect(text.contains("\n\(name) "), "\(name) is missing")
        }
    }
}

@Suite("Tenant labels") struct TenantLabelTests {
    @Test("the first tenants have names, later ones are other")
    func limit() {
        let metrics = Metrics(tenantLimit: 2)
        #expect(["a", "b", "c", "a"].map(metrics.tenantLabel) == ["a", "b", "other", "a"])
    }

    @Test("a busy tenant takes the name of the least busy, and no count is lost")
    func eviction() {
        let metrics = Metrics(tenantLimit: 2)
        func request(_ tenant: String) {
            let label = metrics.tenantLabel(tenant)
            metrics.counter("requests_total", help: "R.", labels: [("tenant", label)]).add()
            metrics.histogram("seconds", help: "S.", buckets: [1], labels: [("tenant", label)]).observe(0.5)
        }
        for tenant in ["a", "a", "a", "b"] + Array(repeating: "c", count: 5) { request(tenant) }
        let text = metrics.render()
        #expect(text.contains("requests_total{tenant=\"a\"} 3\n"))
        #expect(!text.contains("tenant=\"b\""))
        // c's first request was counted as other; b's came to it when b lost its name.
        #expect(text.contains("requests_total{tenant=\"c\"} 4\n"))
        #expect(text.contains("requests_total{tenant=\"other\"} 2\n"))
        #expect(text.contains("seconds_count{tenant=\"other\"} 2\n"))
    }

    @Test("a tenant with a fair share of the load is named though thousands of others come and go", arguments: [1, 2] as [UInt64])
    func heavyHitter(seed: UInt64) {
        var random = SplitMix64(state: seed)
        let metrics = Metrics(tenantLimit: 4)
        for round in 0..<20_000 {
            _ = metrics.tenantLabel(random.next() % 5 == 0 ? "heavy" : "passer-by-\(round)")
        }
        #expect(metrics.tenantLabel("heavy") == "heavy")
    }
}

/// A small seeded generator (SplitMix64).
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

import Coordination
import Model
import Synchronization
import Testing

@Suite("whether a silent shard could have changed the hits")
struct OutlineTests {
    private static let away = ClusterError(.unavailable, "connection refused")

    private final class Time: Sendable { let now = Mutex(ContinuousClock.now) }

    /// Two shards: the first has points about (1, 0), the second about (0, 1).
    private struct Apart {
        let cluster: FakeCluster
        let name: CollectionName
        let far: FakeNode
        let farPoints: [Point]

        init(metric: Metric = .euclid, clock: DeadlineClock = .continuous, change: (inout CoordinatorConfiguration) -> Void = { _ in }) async throws {
            cluster = try FakeCluster(nodes: 2, clock: clock, change: change)
            name = try await cluster.make("c", metric: metric, shards: 2)
            let ranges = HashRange.tiling(2)
            let points = (0..<200).map { index in
                let id = PointID.integer(UInt64(index))
                let isFar = ranges[1].contains(id.hash)
                return Point(id: id, vector: isFar ? [Float(index) / 1_000, 1] : [1, Float(index) / 1_000], payload: ["far": .bool(isFar)])
            }
            try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
            farPoints = points.filter { ranges[1].contains($0.id.hash) }
            let ids = Set(farPoints.map(\.id))
            far = cluster.nodes.first { node in node.state.withLock { $0.rows.values.contains { !ids.isDisjoint(with: $0.keys) } } }!
        }

        @discardableResult
        func search(_ vector: [Float], limit: Int = 5, threshold: Float? = nil, filter: Filter? = nil) async throws -> SearchAnswer {
            let query = SearchQuery(vector: vector, limit: limit, filter: filter, scoreThreshold: threshold)
            let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
            await cluster.coordinator.outlinesSettled()
            return answer
        }

        func silence() { far.fail { _, _ in .error(OutlineTests.away) } }
        func gap(_ vector: [Float], limit: Int = 5, threshold: Float? = nil, filter: Filter? = nil) async throws -> Coverage.Gap {
            try #require(try await search(vector, limit: limit, threshold: threshold, filter: filter).coverage.gaps.first)
        }
    }

    @Test("far away it could not, near it could", arguments: Metric.allCases)
    func nearAndFar(metric: Metric) async throws {
        let apart = try await Apart(metric: metric)
        try await apart.search([1, 0])
        apart.silence()
        let far = try await apart.gap([1, 0])
        #expect(far.couldChange == false && far.outlinePosition == 1 && far.pointsLastKnown == apart.farPoints.count)
        #expect(try await apart.gap([0, 1]).couldChange == true)
        // A filter only takes away.
        #expect(try await apart.gap([1, 0], filter: Filter(must: [.match(key: "far", anyOf: [.bool(false)])])).couldChange == false)
    }

    @Test("with fewer hits than wanted anything could, unless it is below the threshold")
    func fewHits() async throws {
        let apart = try await Apart()
        try await apart.search([1, 0])
        apart.silence()
        #expect(try await apart.gap([1, 0], limit: 200).couldChange == true)
        #expect(try await apart.gap([1, 0], limit: 200, threshold: 0.5).couldChange == false)
        #expect(try await apart.gap([1, 0], limit: 200, threshold: 5).couldChange == true)
    }

    @Test("nobody knows without an outline")
    func unknown() async throws {
        let never = try await Apart()
        never.silence()
        let gap = try await never.gap([1, 0])
        #expect(gap.couldChange == nil && gap.outlinePosition == nil)
        let off = try await Apart { $0.outlinesBytes = 0 }
        try await off.search([1, 0])
        off.silence()
        #expect(try await off.gap([1, 0]).couldChange == nil)
        #expect(!off.far.calls.contains("outline"))
    }

    @Test("nobody knows after a write behind the outline, acknowledged or not")
    func writes() async throws {
        let apart = try await Apart()
        try await apart.search([1, 0])
        try await apart.cluster.coordinator.write([.upsert([apart.farPoints[0]])], to: apart.name, context: apart.cluster.context)
        apart.silence()
        let gap = try await apart.gap([1, 0])
        #expect(gap.couldChange == nil && gap.outlinePosition == 1)

        let other = try await Apart(clock: .hasty)
        try await other.search([1, 0])
        other.silence()
        #expect(try await other.gap([1, 0]).couldChange == false)
        await #expect(throws: ClusterError.self) {
            try await other.cluster.coordinator.write([.upsert([other.farPoints[0]])], to: other.name, context: other.cluster.context)
        }
        #expect(try await other.gap([1, 0]).couldChange == nil)
    }

    @Test("a shard that changed is asked again, not more often than allowed; one at rest is asked once")
    func cost() async throws {
        let time = Time()
        let clock = DeadlineClock(now: { time.now.withLock { $0 } }, sleep: { _ in try await ContinuousClock().sleep(for: .seconds(600)) })
        let apart = try await Apart(clock: clock)
        func asked() -> Int { apart.far.calls.count { $0 == "outline" } }
        for _ in 0..<20 { try await apart.search([1, 0]) }
        #expect(asked() == 1)
        for round in 1...3 {
            try await apart.cluster.coordinator.write([.upsert([apart.farPoints[0]])], to: apart.name, context: apart.cluster.context)
            for _ in 0..<3 { try await apart.search([1, 0]) }
            #expect(asked() == round)
            time.now.withLock { $0 += .seconds(11) }
            for _ in 0..<3 { try await apart.search([1, 0]) }
            #expect(asked() == round + 1)
        }
        apart.silence()
        #expect(try await apart.gap([1, 0]).couldChange == false)
        // What was erased meanwhile must not be remembered.
        time.now.withLock { $0 += .seconds(3_700) }
        #expect(try await apart.gap([1, 0]).couldChange == nil)
    }

    @Test("one that goes with its collection, or does not fit beside others, is forgotten")
    func forgotten() async throws {
        let apart = try await Apart()
        try await apart.search([1, 0])
        #expect(apart.cluster.metrics.render().contains("covey_outlines 2"))
        _ = try await apart.cluster.coordinator.dropCollection(apart.name, context: apart.cluster.context)
        #expect(apart.cluster.metrics.render().contains("covey_outlines 0"))
        let small = try await Apart { $0.outlinesBytes = 1_000 }
        try await small.search([1, 0])
        small.silence()
        #expect(try await small.gap([1, 0]).couldChange == nil)
    }
}

import Foundation
import Model
import Observability
import Sharding
import Testing

@Suite("segments of different codebooks")
struct DriftTests {
    @Test("the order over two segments of different distributions and a tail is the exact one, by code", arguments: [Metric.euclid, .dot], [1, 2] as [UInt64])
    func order(metric: Metric, seed: UInt64) async throws {
        let harness = try await Harness(dimension: 24, metric: metric)
        let node = harness.node {
            $0.exactScanThreshold = 0
            $0.sealPoints = 600
        }
        var random = SeededRandom(seed: seed)
        var points: [Point] = []
        /// Points around a few centres; the narrower lie among the wider.
        func write(_ count: Int, spread: Float, offset: Float) async throws {
            let centres = (0..<8).map { _ in (0..<24).map { _ in offset + Float.random(in: -spread...spread, using: &random) } }
            let new = (0..<count).map { row in
                Point(
                    id: .integer(UInt64(points.count + row)),
                    vector: centres[row % 8].map { $0 + Float.random(in: -spread...spread, using: &random) })
            }
            points += new
            try await harness.upsert(new, on: node)
        }
        try await write(4_000, spread: 0.02, offset: 0.3)
        try await harness.seal(node)
        try await write(700, spread: 5, offset: 0)
        // That was enough for a seal by itself, which leaves the large segment alone.
        while try await harness.status(node).segments < 2 { await Task.yield() }
        try await write(50, spread: 0.5, offset: 0.1)
        let status = try await harness.status(node)
        #expect(status.segments == 2 && status.pointsByCode == 4_700 && status.points == 4_750)

        for number in stride(from: 0, to: points.count, by: 95) {
            let query = points[number].vector
            let ranked = points.map { point -> (id: PointID, score: Double) in
                let score = zip(point.vector, query).reduce(0.0) {
                    metric == .dot ? $0 + Double($1.0) * Double($1.1) : $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
                }
                return (point.id, metric == .dot ? -score : score.squareRoot())
            }.sorted { $0.score < $1.score }.prefix(20)
            let reply = try await harness.search(node, query, limit: 20, effort: SearchEffort(probes: 200, candidates: 2_000))
            #expect(reply.work.pointsByCode == 4_700)
            #expect(reply.hits.map(\.id) == ranked.map(\.id))
            for (hit, expected) in zip(reply.hits, ranked) { #expect(abs(Double(hit.score) - (metric == .dot ? -expected.score : expected.score)) < 1e-3) }
        }
        await node.close()
    }
}

@Suite("the drift watch")
struct DriftWatchTests {
    private static let dimension = 24

    /// Points around eight centres that `seed` chooses.
    private func points(_ ids: Range<UInt64>, seed: UInt64, metric: Metric) -> [Point] {
        var (places, random) = (SeededRandom(seed: seed), SeededRandom(seed: seed + ids.lowerBound))
        let centres = (0..<8).map { _ in (0..<Self.dimension).map { _ in Float.random(in: -1...1, using: &places) } }
        return ids.map { id in
            var vector = centres[Int(id % 8)].map { $0 + Float.random(in: -0.1...0.1, using: &random) }
            if metric == .cosine {
                let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
                vector = vector.map { $0 / norm }
            }
            return Point(id: .integer(id), vector: vector)
        }
    }

    /// The status once new points were measured.
    private func measured(_ harness: Harness, _ node: ShardNode) async throws -> ShardStatus {
        while true {
            let status = try await harness.status(node)
            if status.newPointsError != nil { return status }
            await Task.yield()
        }
    }

    @Test("tells points like the segment's from others, and a segment of their own fits them again", arguments: [Metric.cosine, .dot, .euclid])
    func watch(metric: Metric) async throws {
        let harness = try await Harness(dimension: Self.dimension, metric: metric)
        let metrics = Metrics()
        let node = harness.node(metrics: metrics) {
            $0.exactScanThreshold = 0
            $0.sealPoints = 1_200
        }
        try await harness.upsert(points(0..<1_100, seed: 1, metric: metric), on: node)
        #expect(try await harness.status(node).quantizationError == nil)
        for start in stride(from: 1_100 as UInt64, to: 8_000, by: 1_100) { try await harness.upsert(points(start..<start + 1_100, seed: 1, metric: metric), on: node) }
        try await harness.seal(node)
        let sealed = try await harness.status(node)
        let built = try #require(sealed.quantizationError)
        #expect(built > 0 && built < 0.2 && sealed.newPointsError == nil && sealed.drift == nil)

        // Like the segment's, then, among them, others.
        try await harness.upsert(points(10_000..<10_063, seed: 1, metric: metric), on: node)
        try await harness.upsert(points(10_063..<10_100, seed: 1, metric: metric), on: node)
        let alike = try #require(try await measured(harness, node).drift)
        #expect(alike > 0.8 && alike < 1.2)
        try await harness.upsert(points(20_000..<21_000, seed: 2, metric: metric), on: node)
        while try await harness.status(node).drift ?? 0 < 2 { await Task.yield() }
        #expect(metrics.value("covey_shard_drift") > 2)
        #expect(metrics.value("covey_shard_quantization_error") == built)

        // That makes enough for a seal by itself, which leaves the large segment alone and trains codes of its own.
        try await harness.upsert(points(21_000..<21_150, seed: 2, metric: metric), on: node)
        while try await harness.status(node).segments < 2 { await Task.yield() }
        try await harness.upsert(points(30_000..<30_100, seed: 2, metric: metric), on: node)
        let after = try await measured(harness, node)
        #expect(try #require(after.drift) < 1.5)
        #expect(try #require(after.newPointsError) < 0.2)
        await node.close()
        #expect(metrics.value("covey_shard_drift") == 0)
    }

    @Test("a shard that is opened again measures what its log brings back")
    func reopened() async throws {
        let harness = try await Harness(dimension: Self.dimension)
        let first = harness.node { $0.exactScanThreshold = 0 }
        try await harness.upsert(points(0..<2_000, seed: 1, metric: .euclid), on: first)
        try await harness.seal(first)
        try await harness.upsert(points(10_000..<10_200, seed: 2, metric: .euclid), on: first)
        let before = try await measured(harness, first)
        await first.close()
        let second = harness.node("b") { $0.exactScanThreshold = 0 }
        let after = try await measured(harness, second)
        #expect(after.quantizationError == before.quantizationError && after.newPointsError == before.newPointsError)
        await second.close()
    }

    @Test("segments that are searched exactly have no codes to watch")
    func small() async throws {
        let harness = try await Harness(dimension: Self.dimension)
        let node = harness.node()
        try await harness.upsert(points(0..<2_000, seed: 1, metric: .euclid), on: node)
        try await harness.seal(node)
        try await harness.upsert(points(10_000..<10_200, seed: 2, metric: .euclid), on: node)
        let status = try await harness.status(node)
        #expect(status.quantizationError == nil && status.newPointsError == nil)
        await node.close()
    }
}

extension Metrics {
    /// The value of a series without labels.
    fileprivate func value(_ name: String) -> Double {
        render().split(separator: "\n").first { $0.hasPrefix(name + " ") }.flatMap { Double($0.dropFirst(name.count + 1)) } ?? .nan
    }
}

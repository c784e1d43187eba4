import Foundation
import Model
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

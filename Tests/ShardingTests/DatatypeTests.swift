import Model
import Sharding
import Testing

@Suite("A shard of any datatype")
struct DatatypeTests {
    private static let dimension = 20

    private func points(_ ids: Range<UInt64>, _ metric: Metric, _ datatype: VectorDatatype, _ random: inout SeededRandom) throws -> [Point] {
        try ids.map { id in
            let vector = (0..<Self.dimension).map { _ -> Float in
                datatype.isInteger ? Float(Int.random(in: Int(datatype.range.lowerBound)...Int(datatype.range.upperBound), using: &random)) : .random(in: -1...1, using: &random)
            }
            let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return Point(id: .integer(id), vector: try datatype.stored(metric == .cosine && !datatype.isInteger ? vector.map { $0 / norm } : vector))
        }
    }

    @Test("gives the same answer to the bit from its log, from segments and after a restart, and hands out what it stores", arguments: VectorDatatype.allCases, Metric.allCases)
    func same(datatype: VectorDatatype, metric: Metric) async throws {
        let harness = try await Harness(dimension: Self.dimension, metric: metric, datatype: datatype)
        var random = SeededRandom(seed: 7)
        let points = try points(0..<600, metric, datatype, &random)
        let queries = (0..<10).map { _ in (0..<Self.dimension).map { _ in Float.random(in: -1...1, using: &random) } }
        func configure(_ configuration: inout ShardConfiguration) { configuration.exactScanThreshold = 0 }
        func answers(_ node: ShardNode) async throws -> [[Hit]] {
            var answers: [[Hit]] = []
            for query in queries { answers.append(try await harness.search(node, query, limit: 15, effort: SearchEffort(exact: true)).hits) }
            return answers
        }
        let node = harness.node("a", configure)
        try await harness.upsert(points, on: node)
        let inTail = try await answers(node)
        try await harness.seal(node)
        #expect(try await answers(node) == inTail)
        #expect(try await harness.status(node).pointsByCode == 600)
        #expect(try await harness.contents(node).map(\.vector) == points.map(\.vector))
        // Some from the segment, some from the log, then all of them merged from both.
        try await harness.upsert(Array(points[..<100]), on: node)
        #expect(try await answers(node).map { $0.map(\.score) } == inTail.map { $0.map(\.score) })
        try await harness.seal(node)
        await node.close()
        let again = harness.node("b", configure)
        #expect(try await answers(again).map { $0.map(\.score) } == inTail.map { $0.map(\.score) })
        #expect(try await harness.contents(again).map(\.vector) == points.map(\.vector))
        let explained = try await again.explain(
            ExplainRequest(shard: harness.shard, search: ShardSearch(vector: queries[0], limit: 15), ids: [inTail[0][3].id]), context: harness.context())
        #expect(explained.explanations[0].score == inTail[0][3].score && explained.explanations[0].exact?.place == 4)
        await again.close()
    }

    @Test("refuses what the datatype does not hold, with the point, and rounds halves")
    func refused() async throws {
        let harness = try await Harness(dimension: 2, datatype: .uint8)
        let node = harness.node()
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert([Point(id: .integer(5), vector: [1, 256])], on: node) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message == "point 5: element 1 of the vector is 256.0, uint8 holds whole numbers 0…255")
        await node.close()
        let halves = try await Harness(dimension: 2, datatype: .float16)
        let other = halves.node()
        try await halves.upsert([Point(id: .integer(5), vector: [0.1, 2_049])], on: other)
        #expect(try await halves.contents(other).map(\.vector) == [[0.0999755859375, 2_048]])
        await other.close()
    }
}

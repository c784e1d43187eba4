import Model
import Sharding
import Testing

@Suite("Explaining a search of a shard")
struct ExplainTests {
    private func points(_ harness: Harness, _ count: Int) -> [Point] {
        var random = SeededRandom(seed: 11)
        return (0..<count).map { number in
            Point(
                id: .integer(UInt64(number)), vector: (0..<harness.schema.dimension).map { _ in Float.random(in: -1...1, using: &random) },
                payload: ["even": .bool(number % 2 == 0)])
        }
    }

    private func explain(
        _ harness: Harness, _ node: ShardNode, _ vector: [Float], _ ids: [UInt64], limit: Int = 10, filter: Filter? = nil, threshold: Float? = nil,
        effort: SearchEffort = SearchEffort()
    ) async throws -> [Explanation] {
        let search = ShardSearch(vector: vector, limit: limit, filter: filter, scoreThreshold: threshold, effort: effort)
        let reply = try await node.explain(ExplainRequest(shard: harness.shard, search: search, ids: ids.map(PointID.integer)), context: harness.context())
        #expect(reply.explanations.map(\.id) == ids.map(PointID.integer))
        return reply.explanations
    }

    @Test("steps and exact ranks are those of a slow model, over segments and the newest points")
    func ranks() async throws {
        let harness = try await Harness(dimension: 12)
        let node = harness.node { $0.exactScanThreshold = 0 }
        let points = points(harness, 1_500)
        try await harness.upsert(Array(points[..<1_000]), on: node)
        try await harness.seal(node)
        try await harness.upsert(Array(points[1_000...]), on: node)
        try await harness.delete([7, 1_200], on: node)
        var model = ShardModel()
        model.apply([.upsert(points), .delete([.integer(7), .integer(1_200)])])
        let query = points[3].vector
        for filter in [nil, Filter(must: [.match(key: "even", anyOf: [true])])] {
            let order = model.nearest(query, limit: 2_000, filter: filter)
            let effort = SearchEffort(probes: 4, candidates: 20)
            let hits = try await harness.search(node, query, filter: filter, effort: effort).hits.map(\.id)
            var steps: Set<SearchStep> = []
            for start in stride(from: 0, to: 1_500, by: 16) {
                for found in try await explain(harness, node, query, (start..<min(start + 16, 1_500)).map(UInt64.init), filter: filter, effort: effort) {
                    guard case .integer(let number) = found.id else { continue }
                    steps.insert(found.step)
                    #expect((found.step == .deleted) == [7, 1_200].contains(number))
                    #expect((found.step == .hit) == hits.contains(found.id))
                    #expect((found.step == .filter) == (filter != nil && number % 2 == 1 && found.step != .deleted))
                    #expect(found.exact?.place == order.firstIndex(of: found.id).map { $0 + 1 }, "\(found)")
                    #expect(found.exact == nil || found.exact?.count == order.count)
                    #expect(found.segment == (number < 1_000 && found.step != .deleted ? 0 : nil))
                    #expect((found.index != nil) == (found.segment != nil))
                    #expect(number < 1_000 || [.hit, .rank, .filter, .deleted].contains(found.step), "the newest points are scored exactly")
                    if found.exact.map({ $0.place <= 10 }) ?? false { #expect(found.step != .rank) }
                }
            }
            #expect(steps.isSuperset(of: [.hit, .deleted, .list, .code, .rank]))
        }
        await node.close()
    }

    @Test("a threshold is named, and so are points never seen; replaced ones are where their newest version is")
    func others() async throws {
        let harness = try await Harness(dimension: 4)
        let node = harness.node()
        try await harness.upsert((0..<50).map { harness.point($0, Float($0)) }, on: node)
        try await harness.seal(node)
        try await harness.upsert([harness.point(5, 100)], on: node)
        let query = harness.point(0, 0).vector
        let found = try await explain(harness, node, query, [0, 20, 5, 77, 4], limit: 3, threshold: 8)
        #expect(found.map(\.step) == [.hit, .scoreThreshold, .scoreThreshold, .unknown, .rank])
        #expect(found.map(\.score) == [0, 40, 200, nil, 8])
        #expect(found.map { $0.exact?.place } == [1, 20, 50, nil, 5])
        #expect(found.map(\.segment) == [0, 0, nil, nil, 0])
        #expect(found[2].version > found[0].version)
        await node.close()
    }

    @Test("too many points are refused, and a vector that is not finite with the place of it")
    func bounds() async throws {
        let harness = try await Harness(dimension: 4)
        let node = harness.node()
        let many = await #expect(throws: ClusterError.self) { try await explain(harness, node, [0, 0, 0, 0], Array(0...16)) }
        #expect(many?.code == .invalidArgument && many?.message.contains("16") == true && many?.message.contains("17") == true)
        let query = await #expect(throws: ClusterError.self) { try await explain(harness, node, [0, 0, .nan, 0], [1]) }
        #expect(query?.code == .invalidArgument && query?.message.contains("vector[2]") == true)
        var point = harness.point(9)
        point.vector[1] = .infinity
        let write = await #expect(throws: ClusterError.self) { try await harness.upsert([point], on: node) }
        #expect(write?.code == .invalidArgument && write?.message.contains("point 9: element 1 of the vector") == true)
        await node.close()
    }

    @Test("a score that is no number ranks last, whether a segment holds the point or not", arguments: [Metric.dot, .euclid])
    func overflow(metric: Metric) async throws {
        let harness = try await Harness(dimension: 2, metric: metric)
        let node = harness.node()
        let huge = Float.greatestFiniteMagnitude
        // Products that overflow with both signs have no sum; distances that overflow are infinite.
        let points = (1...4).map { Point(id: .integer($0), vector: [Float($0), 0], payload: [:]) } + [Point(id: .integer(0), vector: [huge, huge], payload: [:])]
        let query: [Float] = metric == .dot ? [huge, -huge] : [-huge, -huge]
        try await harness.upsert(points, on: node)
        let newest = try await harness.search(node, query).hits
        try await harness.seal(node)
        let sealed = try await harness.search(node, query).hits
        #expect(newest.map(\.id) == sealed.map(\.id) && newest.map(\.score) == sealed.map(\.score) && newest.count == 5)
        #expect(metric == .euclid || newest.last == Hit(id: .integer(0), score: -.infinity, version: newest[0].version))
        #expect(try await explain(harness, node, query, [0], limit: 1)[0].exact != nil)
        await node.close()
    }
}

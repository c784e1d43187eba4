import Coordination
import Model
import Testing

@Suite("Searching a collection") struct SearchTests {
    /// Points on a small grid, so that many scores are equal and only ids decide.
    private func gridPoints(_ count: Int, seed: UInt64) -> [Point] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { index in
            let id: PointID = random.next() % 2 == 0 ? .integer(UInt64(index)) : .uuid(high: random.next(), low: random.next())
            let vector = (0..<2).map { _ in Float(Int(random.next() % 7) - 3) }
            return Point(id: id, vector: vector, payload: ["group": .integer(Int64(random.next() % 3)), "text": .integer(Int64(random.next() % 12))])
        }
    }

    @Test("several shards rank like one node", arguments: [1, 2, 3, 8], [Metric.dot, .euclid])
    func ranksLikeOneNode(shards: Int, metric: Metric) async throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            let cluster = try FakeCluster()
            let name = try await cluster.make("grid", metric: metric, shards: shards)
            let points = gridPoints(200, seed: seed)
            try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
            let all = Dictionary(uniqueKeysWithValues: points.map { ($0.id, FakeNode.Row(point: $0, version: 1)) })
            for (limit, offset, threshold, filter) in [
                (1, 0, nil, nil), (10, 0, nil, nil), (7, 13, nil, nil), (300, 0, nil, nil), (10, 0, 2, nil),
                (10, 5, nil, Filter(must: [.match(key: "group", anyOf: [1])])),
            ] as [(Int, Int, Float?, Filter?)] {
                let query = SearchQuery(vector: [1, -2], limit: limit, offset: offset, filter: filter, scoreThreshold: threshold)
                let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
                let expected = FakeNode.exact(all, [1, -2], metric, filter, threshold).dropFirst(offset).prefix(limit)
                #expect(answer.hits.map(\.point.id) == expected.map(\.id), "seed \(seed), limit \(limit), offset \(offset)")
                #expect(answer.hits.map(\.score) == expected.map(\.score))
                #expect(answer.hits.allSatisfy { $0.point.payload == all[$0.point.id]!.point.payload })
                #expect(answer.coverage.isComplete && answer.coverage.pointsSearched == 200 && answer.coverage.work.pointsHeld == 200)
            }
        }
    }

    @Test("with cosine, lengths do not matter, and what is stored has length one")
    func cosine() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("unit", metric: .cosine)
        try await cluster.coordinator.write(
            [.upsert([Point(id: .integer(1), vector: [3e30, 4e30]), Point(id: .integer(2), vector: [4e-30, 3e-30])])], to: name, context: cluster.context)
        let answer = try await cluster.coordinator.search(
            SearchQuery(vector: [0, 1e-20], limit: 2, withVector: true), in: name, context: cluster.context)
        for (hit, expected) in zip(answer.hits, [[0.6, 0.8], [0.8, 0.6]] as [[Float]]) {
            #expect(zip(hit.point.vector, expected).allSatisfy { abs($0 - $1) < 1e-6 })
            #expect(abs(hit.score - expected[1]) < 1e-6)
        }
        #expect(answer.hits.map(\.point.id) == [.integer(1), .integer(2)])
    }

    @Test("of the same text met several times the best stays, and enough others are found", arguments: [1, 2, 3] as [UInt64])
    func collapsing(seed: UInt64) async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("grid")
        let points = gridPoints(400, seed: seed)
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        let all = Dictionary(uniqueKeysWithValues: points.map { ($0.id, FakeNode.Row(point: $0, version: 1)) })
        var seen: Set<UInt64> = []
        let expected = FakeNode.exact(all, [2, 1], .dot, nil, nil).filter { $0.contentHash == 0 || seen.insert($0.contentHash).inserted }
        for (limit, offset) in [(5, 0), (30, 0), (10, 8), (400, 0)] {
            let query = SearchQuery(vector: [2, 1], limit: limit, offset: offset, withPayload: .none, collapseDuplicates: true)
            let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
            #expect(answer.hits.map(\.point.id) == expected.dropFirst(offset).prefix(limit).map(\.id), "limit \(limit), offset \(offset)")
        }
    }

    @Test("many searches at once get the answers that each gets alone, with two calls a shard for each group", arguments: [1, 2, 3] as [UInt64])
    func many(seed: UInt64) async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("grid", shards: 4)
        try await cluster.coordinator.write([.upsert(gridPoints(300, seed: seed))], to: name, context: cluster.context)
        var random = SplitMix64(seed: seed)
        func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
        let queries = (0..<200).map { number in
            SearchQuery(
                vector: [Float(draw(7) - 3), Float(draw(7) - 3)], limit: 1 + draw(12), offset: draw(3) == 0 ? draw(20) : 0,
                filter: draw(3) == 0 ? Filter(must: [.match(key: "group", anyOf: [.integer(Int64(draw(3)))])]) : nil,
                scoreThreshold: draw(4) == 0 ? Float(draw(5)) : nil, withPayload: draw(2) == 0 ? .all : .none, withVector: draw(4) == 0,
                collapseDuplicates: draw(5) == 0, explain: draw(20) == 0 ? [.integer(1), .integer(2)] : [])
        }
        let answers = try await cluster.coordinator.search(queries, in: name, context: cluster.context)
        let calls = cluster.nodes.flatMap(\.calls)
        // Four kinds of what is handed out, and two hundred are more than a group.
        #expect(calls.count { $0 == "search" } <= 4 * 4 * 4)
        for (query, answer) in zip(queries, answers) {
            let alone = try await cluster.coordinator.search(query, in: name, context: cluster.context)
            #expect(answer.hits == alone.hits && answer.coverage == alone.coverage && answer.superseded == alone.superseded)
            #expect(answer.explanations.map(\.explanation) == alone.explanations.map(\.explanation) && answer.explanations.map(\.place) == alone.explanations.map(\.place))
        }
        #expect(try await cluster.coordinator.search([], in: name, context: cluster.context).isEmpty)
    }

    @Test("of many searches the one that is impossible is named")
    func nameOfMany() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("c")
        let good = SearchQuery(vector: [1, 1], limit: 1)
        for (bad, message) in [
            (SearchQuery(vector: [1], limit: 1), "searches[1]: query vector: expected 2 dimensions, found 1"),
            (SearchQuery(vector: [1, 1], limit: 0), "searches[1]: limit must be 1…10000, found 0"),
        ] {
            await #expect(throws: ClusterError(.invalidArgument, message)) {
                try await cluster.coordinator.search([good, bad, good], in: name, context: cluster.context)
            }
        }
    }

    @Test("a shard that does not hand out its hits is a gap in those of many searches that wanted some of it")
    func gapsOfMany() async throws {
        let cluster = try FakeCluster(nodes: 4)
        let name = try await cluster.make("grid", shards: 4)
        try await cluster.coordinator.write([.upsert(gridPoints(300, seed: 5))], to: name, context: cluster.context)
        let queries = (0..<8).map { SearchQuery(vector: [Float($0 % 5) - 2, 1], limit: 3 * ($0 + 1)) }
        cluster.nodes[2].fail { method, _ in method == "fetch" ? .error(ClusterError(.unavailable, "no")) : nil }
        let answers = try await cluster.coordinator.search(queries, in: name, context: cluster.context)
        for (query, answer) in zip(queries, answers) {
            let alone = try await cluster.coordinator.search(query, in: name, context: cluster.context)
            #expect(answer.hits == alone.hits && answer.coverage.gaps.map(\.shard) == alone.coverage.gaps.map(\.shard))
        }
        #expect(answers.contains { !$0.coverage.gaps.isEmpty })
    }

    @Test("a shard that did not hand out another search's hits is a gap where its own would have come next, and none where they would not")
    func gapsOfSpareHits() async throws {
        let cluster = try FakeCluster(nodes: 2)
        let name = try await cluster.make("line", shards: 2)
        let schema = try await cluster.coordinator.schema(of: name, context: cluster.context)
        // Along the line: two of shard 0, then two of shard 1, which hands nothing out.
        let ids = (0..<2).map { shard in (0...).lazy.map(PointID.integer).filter { schema.firstShardIndex(of: $0) == shard }.prefix(2) }.map(Array.init)
        let points = ids.joined().enumerated().map { Point(id: $1, vector: [4 - Float($0), 0]) }
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        let shards = schema.firstShards(of: cluster.context.tenant)
        let (good, bad) = (try #require(cluster.node(of: shards[0])), try #require(cluster.node(of: shards[1])))
        bad.fail { method, _ in method == "fetch" ? .error(ClusterError(.unavailable, "no")) : nil }
        // The last one of the good shard changes between search and fetch, so that the silent shard's would have its place.
        good.afterSearch.withLock { hook in
            hook = { node, shard in if shard == shards[0] { node.state.withLock { $0.rows[shard]![ids[0][1]]!.version = 9 } } }
        }
        let queries = [SearchQuery(vector: [1, 0], limit: 1), SearchQuery(vector: [1, 0], limit: 2), SearchQuery(vector: [-1, 0], limit: 1)]
        let answers = try await cluster.coordinator.search(queries, in: name, context: cluster.context)
        #expect(answers.map { $0.hits.map(\.point.id) } == [[ids[0][0]], [ids[0][0]], []])
        #expect(answers.map { $0.coverage.gaps.map(\.shard) } == [[], [shards[1]], [shards[1]]])
        #expect(answers.map(\.superseded) == [0, 1, 1])
    }

    @Test("a shard that could not tell what is current says so also when it does not hand out all its hits: some of them were handed out")
    func unverifiedGap() async throws {
        let cluster = try FakeCluster(nodes: 2)
        let name = try await cluster.make("line", shards: 2)
        let schema = try await cluster.coordinator.schema(of: name, context: cluster.context)
        // Along the line: one of shard 0, one of shard 1, one of shard 0.
        let ids = (0..<2).map { shard in (0...).lazy.map(PointID.integer).filter { schema.firstShardIndex(of: $0) == shard }.prefix(2) }.map(Array.init)
        let points = [ids[0][0], ids[1][0], ids[0][1]].enumerated().map { Point(id: $1, vector: [4 - Float($0), 0]) }
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        let shards = schema.firstShards(of: cluster.context.tenant)
        let (unsure, changing) = (try #require(cluster.node(of: shards[0])), try #require(cluster.node(of: shards[1])))
        unsure.isCutOff.withLock { $0 = true }
        unsure.fail { method, earlier in method == "fetch" && earlier > 0 ? .error(ClusterError(.unavailable, "no")) : nil }
        changing.afterSearch.withLock { hook in
            hook = { node, shard in if shard == shards[1] { node.state.withLock { $0.rows[shard]![ids[1][0]]!.version = 9 } } }
        }
        let answer = try await cluster.coordinator.search(SearchQuery(vector: [1, 0], limit: 2), in: name, context: cluster.context)
        #expect(answer.hits.map(\.point.id) == [ids[0][0]] && answer.superseded == 1)
        #expect(answer.coverage.gaps.map(\.shard) == [shards[0]] && answer.coverage.unverified.map(\.shard) == [shards[0]])
    }

    @Test("without payload and vector nothing is fetched")
    func noFetch() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("grid")
        try await cluster.coordinator.write([.upsert(gridPoints(50, seed: 1))], to: name, context: cluster.context)
        let answer = try await cluster.coordinator.search(SearchQuery(vector: [1, 1], limit: 5, withPayload: .none), in: name, context: cluster.context)
        #expect(answer.hits.count == 5 && answer.hits.allSatisfy { $0.point.payload.isEmpty })
        #expect(cluster.nodes.allSatisfy { !$0.calls.contains("fetch") })
    }

    @Test("a point overwritten between search and fetch is left out, the next takes its place, and the answer says so")
    func superseded() async throws {
        let cluster = try FakeCluster(nodes: 1)
        let name = try await cluster.make("c")
        let points = (0..<10).map { Point(id: .integer(UInt64($0)), vector: [Float(100 - $0), 0]) }
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        cluster.nodes[0].afterSearch.withLock { hook in
            hook = { node, shard in node.state.withLock { $0.rows[shard]![.integer(1)]!.version = 9 } }
        }
        // The shard is asked for three; the fourth is not known, so the answer is one short and says why.
        var answer = try await cluster.coordinator.search(SearchQuery(vector: [1, 0], limit: 3), in: name, context: cluster.context)
        #expect(answer.hits.map(\.point.id) == [.integer(0), .integer(2)])
        #expect(answer.superseded == 1)
        // With several shards there are spare hits.
        let wide = try FakeCluster(nodes: 4)
        try await wide.make("c")
        try await wide.coordinator.write([.upsert(points)], to: name, context: wide.context)
        for node in wide.nodes {
            node.afterSearch.withLock { hook in hook = { node, shard in node.state.withLock { $0.rows[shard]?[.integer(1)]?.version = 9 } } }
        }
        answer = try await wide.coordinator.search(SearchQuery(vector: [1, 0], limit: 3), in: name, context: wide.context)
        #expect(answer.hits.map(\.point.id) == [.integer(0), .integer(2), .integer(3)])
        #expect(answer.superseded == 1)
    }

    @Test("an impossible query is refused with field, limit and value", arguments: [
        (SearchQuery(vector: [1], limit: 1), "query vector: expected 2 dimensions, found 1"),
        (SearchQuery(vector: [1, .nan], limit: 1), "query vector: element 1 of the vector is nan"),
        (SearchQuery(vector: [-.infinity, 1], limit: 1), "query vector: element 0 of the vector is -inf"),
        (SearchQuery(vector: [0, 0], limit: 1), "query vector: a vector of zeros has no direction, which cosine needs"),
        (SearchQuery(vector: [1, 1], limit: 0), "limit must be 1…10000, found 0"),
        (SearchQuery(vector: [1, 1], limit: 10_001), "limit must be 1…10000, found 10001"),
        (SearchQuery(vector: [1, 1], limit: 1, offset: -1), "offset must be 0…10000, found -1"),
        (SearchQuery(vector: [1, 1], limit: 1, effort: SearchEffort(probes: 0)), "probes must be at least 1, found 0"),
        (SearchQuery(vector: [1, 1], limit: 1, effort: SearchEffort(targetRecall: 1.5)), "target_recall must be above 0 and at most 1, found 1.5"),
        (SearchQuery(vector: [1, 1], limit: 1, effort: SearchEffort(targetRecall: 0.9, probes: 3)), "target_recall decides how many lists are probed: give it or probes, found probes 3, too"),
    ])
    func refusals(query: SearchQuery, message: String) async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("c", metric: .cosine)
        await #expect(throws: ClusterError(.invalidArgument, message)) {
            try await cluster.coordinator.search(query, in: name, context: cluster.context)
        }
    }
}

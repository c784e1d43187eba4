import Coordination
import Model
import Testing

@Suite("Explaining a search of a collection") struct ExplainTests {
    private func cluster(_ faults: (FakeCluster) -> Void = { _ in }) async throws -> (FakeCluster, CollectionName) {
        let cluster = try FakeCluster()
        let name = try await cluster.make("line", dimension: 1, metric: .dot, shards: 4)
        // Point n scores n; 90 and 91, and 40 and 41, have the same text.
        let points = (0..<100).map { (number: Int) -> Point in
            let text = JSONValue.integer(number < 40 ? 0 : Int64(number / 2))
            return Point(id: .integer(UInt64(number)), vector: [Float(number)], payload: ["text": text])
        }
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        faults(cluster)
        return (cluster, name)
    }

    private func explain(_ ids: [UInt64], _ cluster: FakeCluster, _ name: CollectionName, _ change: (inout SearchQuery) -> Void = { _ in }) async throws -> SearchAnswer {
        var query = SearchQuery(vector: [1], limit: 10, explain: ids.map(PointID.integer))
        change(&query)
        return try await cluster.coordinator.search(query, in: name, context: cluster.context)
    }

    @Test("what was among a shard's hits is followed into the result")
    func follows() async throws {
        let (cluster, name) = try await cluster()
        let answer = try await explain([99, 90, 89, 0, 500], cluster, name)
        #expect(answer.explanations.map(\.explanation.id) == [99, 90, 89, 0, 500].map(PointID.integer))
        #expect(answer.explanations.map(\.explanation.step) == [.hit, .hit, .merge, .rank, .unknown])
        #expect(answer.explanations.map(\.place) == [1, 10, nil, nil, nil])
        let plain = try await explain([], cluster, name)
        #expect(plain.explanations.isEmpty && plain.hits == answer.hits)
        #expect(cluster.nodes.reduce(0) { $0 + $1.calls.count { $0 == "explain" } } <= 4)
    }

    @Test("pages, thresholds and texts met before are named")
    func steps() async throws {
        let (cluster, name) = try await cluster()
        let page = try await explain([99, 95, 94, 86, 85], cluster, name) { ($0.offset, $0.limit) = (5, 10) }
        #expect(page.explanations.map(\.explanation.step) == [.offset, .offset, .hit, .hit, .hit])
        #expect(page.explanations.map(\.place) == [1, 5, 6, 14, 15])
        let bounded = try await explain([99, 90], cluster, name) { $0.scoreThreshold = 95 }
        #expect(bounded.explanations.map(\.explanation.step) == [.hit, .scoreThreshold])
        let collapsed = try await explain([91, 90, 41, 3], cluster, name) { ($0.limit, $0.collapseDuplicates) = (50, true) }
        #expect(collapsed.explanations.map(\.explanation.step) == [.hit, .duplicate, .hit, .merge])
    }

    @Test("a silent shard is named with its reason; a changed point is no hit")
    func faults() async throws {
        let (cluster, name) = try await cluster()
        for node in cluster.nodes {
            node.fail { method, _ in method == "explain" ? .error(ClusterError(.resourceExhausted, "busy")) : nil }
        }
        let answer = try await explain([99], cluster, name)
        #expect(answer.hits.count == 10 && answer.explanations.map(\.explanation.step) == [.shard])
        #expect(answer.explanations[0].reason == ClusterError(.resourceExhausted, "busy"))
        cluster.nodes.forEach { $0.heal() }
        for node in cluster.nodes {
            node.fail { method, _ in method == "search" ? .error(ClusterError(.resourceExhausted, "busy")) : nil }
        }
        cluster.nodes[0].heal()
        let partial = try await explain(Array(90..<100), cluster, name)
        let silent = partial.explanations.filter { $0.node != cluster.nodes[0].name }
        #expect(!silent.isEmpty && silent.allSatisfy { $0.explanation.step == .shard && $0.reason?.code == .resourceExhausted })

        cluster.nodes.forEach { $0.heal() }
        for node in cluster.nodes {
            node.afterSearch.withLock { hook in
                hook = { node, shard in node.state.withLock { $0.rows[shard]?[.integer(99)]?.version += 1 } }
            }
        }
        let changed = try await explain([99, 98], cluster, name)
        #expect(changed.explanations.map(\.explanation.step) == [.changed, .hit])
    }

    @Test("too many points are refused")
    func bound() async throws {
        let (cluster, name) = try await cluster()
        let error = await #expect(throws: ClusterError.self) { try await explain(Array(0..<17), cluster, name) }
        #expect(error?.code == .invalidArgument && error?.message.contains("17") == true)
    }
}

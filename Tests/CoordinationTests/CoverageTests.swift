import Coordination
import Model
import Synchronization
import Testing

@Suite("Answers when shards fail") struct CoverageTests {
    private static let away = ClusterError(.unavailable, "connection refused")

    /// Four shards on four nodes with 400 points, and the node that is going to fail.
    private func cluster(clock: DeadlineClock = .continuous) async throws -> (FakeCluster, CollectionName, FakeNode, lost: Int) {
        let cluster = try FakeCluster(clock: clock)
        let name = try await cluster.make("c")
        let points = (0..<400).map { Point(id: .integer(UInt64($0)), vector: [Float($0), 1], payload: ["n": .integer(Int64($0))]) }
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        let node = cluster.nodes[2]
        return (cluster, name, node, node.pointCount)
    }
    private let query = SearchQuery(vector: [1, 0], limit: 10)

    @Test("a dead node costs its shard's points, not the answer, and is used again when it is back")
    func degrades() async throws {
        let (cluster, name, node, lost) = try await cluster()
        #expect(lost > 0 && lost < 400)
        _ = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        node.fail { _, _ in .error(Self.away) }
        let partial = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(partial.coverage.shardsAsked == 4 && partial.coverage.shardsAnswered == 3 && !partial.coverage.isComplete)
        #expect(partial.coverage.pointsSearched == 400 - lost)
        #expect(partial.coverage.work.pointsHeld == 400)
        let gap = try #require(partial.coverage.gaps.first)
        #expect(gap.node == node.name && gap.reason == Self.away && gap.pointsLastKnown == lost)
        #expect(partial.hits.count == 10)
        node.heal()
        let whole = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(whole.coverage.isComplete && whole.coverage.pointsSearched == 400)
        #expect(whole.hits.map(\.point.id) == (390..<400).reversed().map { .integer(UInt64($0)) })
    }

    @Test("a node that hangs is given up at the deadline")
    func slow() async throws {
        let (cluster, name, node, lost) = try await cluster(clock: .impatient)
        node.fail { _, _ in .hang }
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.coverage.shardsAnswered == 3 && answer.coverage.pointsSearched == 400 - lost)
        #expect(answer.coverage.gaps.map(\.reason.code) == [.deadlineExceeded])
        #expect(answer.coverage.gaps.map(\.pointsLastKnown) == [nil])
    }

    @Test("a connection that broke is tried once more")
    func repeats() async throws {
        let (cluster, name, node, _) = try await cluster()
        node.fail { method, earlier in method == "search" && earlier == 0 ? .error(Self.away) : nil }
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.coverage.isComplete)
    }

    @Test("who asked for all or nothing gets an error that names the shard")
    func failPolicy() async throws {
        let (cluster, name, node, _) = try await cluster(clock: .leaping())
        node.fail { _, _ in .error(Self.away) }
        var strict = query
        strict.partial = .fail
        let error = await #expect(throws: ClusterError.self) { try await cluster.coordinator.search(strict, in: name, context: cluster.context) }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("3 of 4 shards of \"c\" answered; shard ") == true)
        #expect(error?.message.contains("on node node-2: unavailable: connection refused") == true)
    }

    @Test("nodes that are about to be back are waited for when nobody answers, and when all or nothing is wanted", arguments: [PartialPolicy.degrade, .fail])
    func waits(partial: PartialPolicy) async throws {
        let (cluster, name, lost, _) = try await cluster(clock: .leaping())
        for node in partial == .degrade ? cluster.nodes : [lost] {
            node.fail { method, earlier in method == "search" && earlier < 4 || method == "fetch" && earlier < 2 ? .error(Self.away) : nil }
        }
        var query = query
        query.partial = partial
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.coverage.isComplete && answer.coverage.unverified.isEmpty && answer.hits.count == 10)
    }

    @Test("nodes that have been away for long are not waited for")
    func hopeless() async throws {
        let passed = Mutex(Duration.zero)
        let leaping = DeadlineClock.leaping()
        let clock = DeadlineClock(now: { leaping.now() + passed.withLock { $0 } }, sleep: { until in try await leaping.sleep(until - passed.withLock { $0 }) })
        let (cluster, name, _, _) = try await cluster(clock: clock)
        for node in cluster.nodes { node.fail { _, _ in .error(Self.away) } }
        func calls() async -> Int {
            let before = cluster.nodes.reduce(0) { $0 + $1.calls.count }
            await #expect(throws: ClusterError.self) { try await cluster.coordinator.search(query, in: name, context: cluster.context) }
            return cluster.nodes.reduce(0) { $0 + $1.calls.count } - before
        }
        let patient = await calls()
        passed.withLock { $0 = .seconds(60) }
        #expect(await calls() == 8)
        #expect(patient > 8)
    }

    @Test("if nobody answers there is no answer")
    func nobody() async throws {
        let (cluster, name, _, _) = try await cluster(clock: .leaping())
        for node in cluster.nodes { node.fail { _, _ in .error(Self.away) } }
        let error = await #expect(throws: ClusterError.self) { try await cluster.coordinator.search(query, in: name, context: cluster.context) }
        #expect(error?.code == .unavailable && error?.message.hasPrefix("0 of 4 shards of \"c\" answered") == true)
    }

    @Test("a shard's complaint about the request is the answer")
    func requestErrors() async throws {
        let (cluster, name, node, _) = try await cluster()
        let complaint = ClusterError(.invalidArgument, "range of \"n\" is empty")
        node.fail { _, _ in .error(complaint) }
        await #expect(throws: complaint) { try await cluster.coordinator.search(query, in: name, context: cluster.context) }
    }

    @Test("hits for another range than the layout's do not count: they may be another shard's too")
    func ranges() async throws {
        let (cluster, name, node, lost) = try await cluster()
        node.fail { method, _ in method == "search" ? .wrongRange : nil }
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.coverage.gaps.map(\.reason.code) == [.failedPrecondition])
        #expect(answer.coverage.pointsSearched == 400 - lost)
    }

    @Test("a node that dies between search and fetch is a gap, and the others' hits fill the page")
    func fetchFails() async throws {
        let (cluster, name, node, lost) = try await cluster()
        node.fail { method, _ in method == "fetch" ? .error(Self.away) : nil }
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.coverage.gaps.map(\.node) == [node.name] && answer.coverage.pointsSearched == 400 - lost)
        #expect(answer.hits.count == 10 && answer.superseded == 0)
        let expected = (0..<400).reversed().map { PointID.integer(UInt64($0)) }.filter { id in
            !node.state.withLock { $0.rows.values.contains { $0[id] != nil } }
        }
        #expect(answer.hits.map(\.point.id) == Array(expected.prefix(10)))
    }

    @Test("counts and pages say what they miss, too; ids that cannot be looked up are an error")
    func otherReads() async throws {
        let (cluster, name, node, lost) = try await cluster()
        #expect(try await cluster.coordinator.count(name, context: cluster.context).count == 400)
        node.fail { _, _ in .error(Self.away) }
        let (count, coverage) = try await cluster.coordinator.count(name, context: cluster.context)
        #expect(count == 400 - lost && coverage.shardsAnswered == 3 && coverage.gaps.map(\.pointsLastKnown) == [lost])
        let page = try await cluster.coordinator.scroll(name, limit: 1_000, context: cluster.context)
        #expect(page.points.count == 400 - lost && page.coverage.shardsAnswered == 3 && page.next == nil)
        await #expect(throws: ClusterError.self) {
            try await cluster.coordinator.retrieve((0..<100).map { .integer($0) }, from: name, context: cluster.context)
        }
    }
}

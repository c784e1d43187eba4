import Coordination
import Model
import Synchronization
import Testing

@Suite("Several replicas of a shard") struct ReplicaTests {
    private static let away = ClusterError(.unavailable, "connection refused")
    private let query = SearchQuery(vector: [1, 0], limit: 10)
    private let point = Point(id: .integer(1), vector: [1, 1])

    /// A collection of one shard on two nodes that hold the same, and the nodes in the order of its placement.
    private func cluster(clock: DeadlineClock = .continuous) async throws -> (FakeCluster, CollectionName, first: FakeNode, second: FakeNode) {
        let cluster = try FakeCluster(nodes: 2, replicas: 2, clock: clock)
        let name = try await cluster.make("c", shards: 1)
        let outcome = try await cluster.coordinator.write([.upsert([point])], to: name, context: cluster.context)
        let isFirst = outcome.results[0].node == cluster.nodes[0].name
        return (cluster, name, cluster.nodes[isFirst ? 0 : 1], cluster.nodes[isFirst ? 1 : 0])
    }

    @Test("a node that refuses costs no read: the other replica answers, and after a few failures the node is left alone")
    func failover() async throws {
        // Time stands still, however slow the machine is: no probe is due again, and nothing is asked twice as it is slow.
        let now = ContinuousClock.now
        let (cluster, name, first, second) = try await cluster(clock: DeadlineClock(now: { now }, sleep: { _ in try await Task.sleep(for: .seconds(3_600)) }))
        first.fail { _, _ in .error(Self.away) }
        for _ in 0..<50 {
            let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
            #expect(answer.coverage.isComplete && answer.hits.count == 1)
        }
        #expect(second.calls.count { $0 == "search" } == 50)
        // Three failures, of searches or of fetches, and those that were under way then.
        #expect(first.calls.count { $0 == "search" || $0 == "fetch" } <= 10)
    }

    @Test("a node that says nothing costs no read: the other replica is asked, too")
    func suspicion() async throws {
        let (cluster, name, first, second) = try await cluster(clock: .hasty)
        first.fail { method, _ in method == "search" || method == "fetch" ? .hang : nil }
        for _ in 0..<20 {
            let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
            #expect(answer.coverage.isComplete && answer.hits.count == 1)
        }
        #expect(second.calls.count { $0 == "search" } == 20)
        #expect(first.calls.count { $0 == "search" } <= 20)
    }

    @Test("an error of the request itself is not tried elsewhere")
    func ownErrors() async throws {
        let (cluster, name, first, second) = try await cluster()
        for node in [first, second] { node.fail { method, _ in method == "search" ? .error(ClusterError(.invalidArgument, "vector: too short")) : nil } }
        await #expect(throws: ClusterError(.invalidArgument, "vector: too short")) {
            try await cluster.coordinator.search(query, in: name, context: cluster.context)
        }
        #expect(first.calls.count { $0 == "search" } + second.calls.count { $0 == "search" } == 1)
    }

    @Test("a write goes to the owner that the log names, and goes there at once the next time")
    func redirect() async throws {
        let (cluster, name, first, second) = try await cluster()
        first.owner.withLock { $0 = second.name }
        for _ in 0..<3 {
            let outcome = try await cluster.coordinator.write([.upsert([point])], to: name, context: cluster.context)
            #expect(outcome.results.map(\.node) == [second.name])
        }
        #expect(first.calls.count { $0 == "append" } == 2)  // the one that made the collection's first point, and the one sent on
        #expect(second.appends.count == 4)
    }

    @Test("an owner that cannot be reached is replaced; one that only somebody else named is not", arguments: [true, false])
    func takeover(isReachable: Bool) async throws {
        let (cluster, name, first, second) = try await cluster()
        second.owner.withLock { $0 = first.name }
        first.fail { [away = Self.away] method, earlier in method == "append" && (!isReachable || earlier == 1) ? .error(away) : nil }
        let outcome = try await cluster.coordinator.write([.upsert([point])], to: name, context: cluster.context)
        #expect(outcome.results.map(\.node) == [second.name])
        #expect(second.appends.last?.takeover == true)
    }

    @Test("an owner that says nothing, not even that it lives, is replaced; one that is only slow is waited for", arguments: [true, false])
    func silentOwner(lives: Bool) async throws {
        let (cluster, name, first, second) = try await cluster(clock: .hasty)
        second.owner.withLock { $0 = first.name }
        let error = ClusterError(.resourceExhausted, "the disk is slow today")
        first.fail { method, _ in
            switch method {
            case "append": lives ? .error(error) : .hang
            case "status": lives ? nil : .hang
            default: nil
            }
        }
        if lives {
            await #expect(throws: ClusterError.self) { try await cluster.coordinator.write([.upsert([point])], to: name, context: cluster.context) }
            #expect(second.calls.count { $0 == "append" } == 0)
        } else {
            let outcome = try await cluster.coordinator.write([.upsert([point])], to: name, context: cluster.context)
            #expect(outcome.results.map(\.node) == [second.name])
        }
    }

    @Test("H12: when no replica can tell what is current, the answer says so, or is an error for who asked for all or nothing")
    func unverified() async throws {
        let (cluster, name, first, second) = try await cluster(clock: .leaping())
        for node in [first, second] { node.isCutOff.withLock { $0 = true } }
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.coverage.isComplete && answer.hits.count == 1)
        #expect(answer.coverage.unverified.map(\.reason.code) == [.unavailable])
        var strict = query
        strict.partial = .fail
        await #expect(throws: ClusterError.self) { try await cluster.coordinator.search(strict, in: name, context: cluster.context) }
        var context = cluster.context
        context.consistency = .eventual
        #expect(try await cluster.coordinator.search(strict, in: name, context: context).coverage.unverified.isEmpty)
        // One that can is enough.
        second.isCutOff.withLock { $0 = false }
        #expect(try await cluster.coordinator.search(strict, in: name, context: cluster.context).coverage.unverified.isEmpty)
    }

    @Test("a read that may show nothing older asks all replicas again: a store that was slow for one listing answers the next")
    func onceMore() async throws {
        let (cluster, name, first, second) = try await cluster(clock: .leaping())
        first.fail { _, _ in .error(Self.away) }
        second.fail { method, earlier in method == "fetch" && earlier == 0 ? .error(ClusterError(.unavailable, "the store did not confirm")) : nil }
        #expect(try await cluster.coordinator.retrieve([point.id], from: name, context: cluster.context).map(\.id) == [point.id])
        second.fail { _, _ in .error(Self.away) }
        let before = second.calls.count { $0 == "fetch" }
        await #expect(throws: ClusterError.self) { try await cluster.coordinator.retrieve([point.id], from: name, context: cluster.context) }
        #expect((2...12).contains(second.calls.count { $0 == "fetch" } - before))
    }

    @Test("a read does not wait for a silent replica when the other cannot tell what is current: it says so")
    func silentAndUnsure() async throws {
        let (cluster, name, first, second) = try await cluster(clock: .hasty)
        for node in [first, second] { node.isCutOff.withLock { $0 = true } }
        first.fail { method, _ in method == "search" || method == "fetch" ? .hang : nil }
        let answer = try await cluster.coordinator.search(query, in: name, context: cluster.context)
        #expect(answer.hits.count == 1 && answer.coverage.unverified.count == 1)
    }

    @Test("strong reads go to the owner, which needs not ask the store, unless it is much slower; and again when that is some time ago")
    func prefersOwner() async throws {
        let start = ContinuousClock.now
        let passed = Mutex(Duration.zero)
        let clock = DeadlineClock(now: { start + passed.withLock { $0 } }, sleep: { _ in try await Task.sleep(for: .seconds(3_600)) })
        let (cluster, name, first, second) = try await cluster(clock: clock)
        func asked(_ searches: Int) async throws -> (first: Int, second: Int) {
            let before = (first.calls.count { $0 == "search" }, second.calls.count { $0 == "search" })
            for _ in 0..<searches { _ = try await cluster.coordinator.search(query, in: name, context: cluster.context) }
            return (first.calls.count { $0 == "search" } - before.0, second.calls.count { $0 == "search" } - before.1)
        }
        first.owner.withLock { $0 = second.name }
        _ = try await cluster.coordinator.write([.upsert([point])], to: name, context: cluster.context)
        #expect(try await asked(20) == (0, 20))
        first.afterSearch.withLock { $0 = { _, _ in passed.withLock { $0 += .milliseconds(1) } } }
        second.afterSearch.withLock { $0 = { _, _ in passed.withLock { $0 += .milliseconds(500) } } }
        #expect(try await asked(1) == (0, 1))
        second.afterSearch.withLock { $0 = nil }
        #expect(try await asked(20) == (20, 0))
        for _ in 0..<20 {
            passed.withLock { $0 += .seconds(5) }
            _ = try await asked(1)
        }
        #expect(try await asked(20) == (0, 20))
    }
}

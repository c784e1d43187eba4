import Logging
import Model
import Observability
import Placement
import Sharding
import Storage
import Synchronization
import Testing

@Suite("A replica that is asked to take a shard over") struct TakeoverTests {
    /// The owner `a`, and `b`, which reaches it through `link`.
    private func pair(
        isCut: @escaping @Sendable () -> Bool = { false }, link: (ShardNode) -> any ShardService
    ) async throws -> (Harness, a: ShardNode, b: ShardNode) {
        let harness = try await Harness()
        let ownersStore = FaultObjectStore(harness.store)
        ownersStore.replace { _ in isCut() ? .lost : .none }
        var configuration = ShardConfiguration()
        configuration.searchThreads = 1
        configuration.lease = .zero
        configuration.retryDelay = .zero
        configuration.verifyTimeout = .seconds(600)
        // Nobody runs out of time, however long this test waits for a processor.
        let clock = DeadlineClock(now: { ContinuousClock.now }, sleep: { _ in try await Task.sleep(for: .seconds(3_600)) })
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let a = ShardNode(node: NodeID("a"), store: ownersStore, configuration: configuration, clock: clock, metrics: Metrics(), logger: logger)
        let service = link(a)
        let record = ClusterRecord(version: 1, replicas: 2, members: [ClusterMember(node: NodeID("a")), ClusterMember(node: NodeID("b"))])
        let followers = Followers(of: NodeID("b"), members: try Members(record) { $0.node == NodeID("a") ? service : nil })
        let b = ShardNode(node: NodeID("b"), store: harness.store, configuration: configuration, followers: followers, clock: clock, metrics: Metrics(), logger: logger)
        return (harness, a, b)
    }

    @Test("passes the call on to an owner that it can reach, and leaves the shard with it")
    func passesOn() async throws {
        let (harness, a, b) = try await pair { $0 }
        try await harness.upsert([harness.point(1)], on: a)
        for id in UInt64(2)...4 { #expect(try await harness.upsert([harness.point(id)], on: b, request: "r\(id)").owner == nil) }
        #expect(try await harness.seal(b).points == 4)
        for node in [a, b] {
            #expect(try await harness.status(node).epoch == 1)
            #expect(try await harness.contents(node).count == 4)
        }
        // What comes again took effect already.
        #expect(try await harness.upsert([harness.point(2)], on: b, request: "r2").position == 3)
        await b.close()
        await a.close()
    }

    @Test("takes over from one that says nothing")
    func silent() async throws {
        let (harness, a, b) = try await pair { _ in Unreachable() }
        try await harness.upsert([harness.point(1)], on: a)
        try await harness.upsert([harness.point(2)], on: b)
        #expect(try await harness.status(b).epoch == 2)
        #expect(try await harness.contents(a).count == 2)
        await b.close()
        await a.close()
    }

    @Test("and is closed while it waits for the owner's lease holds nothing that others would wait for")
    func closedWhileItWaits() async throws {
        let harness = try await Harness()
        let owner = harness.node("owner")
        try await harness.upsert([harness.point(1)], on: owner)
        let gate = Gate()
        let passed = Mutex(Duration.zero)
        let clock = DeadlineClock(
            now: { ContinuousClock.now + passed.withLock { $0 } },
            sleep: { until in
                // Others are limits of calls.
                guard ContinuousClock.now.duration(to: until) > .seconds(3_000) else { return try await Task.sleep(for: .seconds(600)) }
                await gate.wait()
                passed.withLock { $0 = .seconds(7_200) }
            })
        let taker = harness.node("taker", clock: clock) { $0.lease = .seconds(3_600) }
        let write = Task { try await harness.upsert([harness.point(2)], on: taker) }
        await gate.reached()
        let close = Task { await taker.close() }
        for _ in 0..<20_000 { await Task.yield() }
        gate.open()
        await close.value
        _ = await write.result
        // A claim of the taker, if there is one, has its release behind it.
        let last = try #require(try await harness.positions().last)
        let entry = try LogEntry(decoding: try await harness.store.get(StoreKey.log(harness.shard, position: last)))
        if entry.writer.node == NodeID("taker"), case .release = entry.content {} else { #expect(entry.writer.node == NodeID("owner")) }
        await owner.close()
    }

    @Test("takes over from one that lives and does not reach the store")
    func cutFromStore() async throws {
        let isCut = Flag()
        let (harness, a, b) = try await pair(isCut: { isCut.value.withLock { $0 } }) { $0 }
        try await harness.upsert([harness.point(1)], on: a)
        isCut.value.withLock { $0 = true }
        await #expect(throws: ClusterError.self) { try await a.status(StatusRequest(shards: [harness.shard], nodeOnly: true), context: harness.context()) }
        #expect(try await a.status(StatusRequest(nodeOnly: true), context: harness.context()).node == NodeID("a"))
        try await harness.upsert([harness.point(2)], on: b)
        #expect(try await harness.status(b).epoch == 2)
        isCut.value.withLock { $0 = false }
        #expect(try await harness.contents(a).count == 2)
        await b.close()
        await a.close()
    }
}

private final class Flag: Sendable {
    let value = Mutex(false)
}

/// A node behind a network that refuses.
private struct Unreachable: ShardService {
    private func refuse() throws(ClusterError) -> Never { throw ClusterError(.unavailable, "connection refused") }
    func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply { try refuse() }
    func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply { try refuse() }
    func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply { try refuse() }
    func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply { try refuse() }
    func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply { try refuse() }
    func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply { try refuse() }
    func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply { try refuse() }
    func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply { try refuse() }
    func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) { try refuse() }
    func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) { try refuse() }
}

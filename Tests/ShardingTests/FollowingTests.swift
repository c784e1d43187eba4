import Logging
import Model
import Observability
import Placement
import Sharding
import Storage
import Synchronization
import Testing

/// Nodes `a`, which owns a shard, and `b`, which follows it.
@Suite("A replica whose shard is written elsewhere") struct FollowingTests {
    private struct Pair {
        let harness: Harness
        let a: ShardNode
        let b: ShardNode
        let link: Link

        init() async throws {
            harness = try await Harness()
            b = harness.node("b")
            let link = Link(to: b)
            self.link = link
            let record = ClusterRecord(version: 1, replicas: 2, members: [ClusterMember(node: NodeID("a")), ClusterMember(node: NodeID("b"))])
            var configuration = ShardConfiguration()
            (configuration.searchThreads, configuration.lease, configuration.retryDelay) = (1, .zero, .zero)
            a = ShardNode(
                node: NodeID("a"), store: harness.store, configuration: configuration,
                followers: Followers(of: NodeID("a"), members: try Members(record) { $0.node == NodeID("b") ? link : nil }), metrics: Metrics(),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        /// Points that `b` has without asking anybody.
        func seen() async throws -> Int {
            guard try await !isClosed() else { return 0 }
            var context = harness.context()
            context.consistency = .eventual
            return try await b.count(CountRequest(shard: harness.shard), context: context).count
        }

        /// Whether `b` comes to have so many.
        func sees(_ count: Int) async throws -> Bool {
            for _ in 0..<100_000 {
                if try await seen() == count { return true }
                await Task.yield()
            }
            return false
        }

        func isClosed() async throws -> Bool { try await b.status(StatusRequest(), context: harness.context()).shards.isEmpty }

        func close() async {
            await a.close()
            await b.close()
        }
    }

    @Test("has it open before anybody asks for it")
    func warm() async throws {
        let pair = try await Pair()
        var id: UInt64 = 0
        while try await pair.isClosed(), id < 10_000 {
            id += 1
            try await pair.harness.upsert([pair.harness.point(id)], on: pair.a)
        }
        #expect(try await !pair.isClosed())
        await pair.close()
    }

    @Test("reads from the log what a lost message had")
    func lost() async throws {
        let pair = try await Pair()
        try await pair.harness.upsert([pair.harness.point(1)], on: pair.a)
        #expect(try await pair.harness.contents(pair.b).count == 1)
        pair.link.isCut.withLock { $0 = true }
        for id in UInt64(2)...5 { try await pair.harness.upsert([pair.harness.point(id)], on: pair.a) }
        while pair.link.lost.withLock({ $0 }) < 4 { await Task.yield() }
        #expect(try await pair.seen() == 1)
        pair.link.isCut.withLock { $0 = false }
        try await pair.harness.upsert([pair.harness.point(6)], on: pair.a)
        #expect(try await pair.sees(6))
        await pair.close()
    }

    @Test("reads operations that lie in objects beside the log")
    func bulk() async throws {
        let pair = try await Pair()
        try await pair.harness.upsert([pair.harness.point(1)], on: pair.a)
        #expect(try await pair.harness.contents(pair.b).count == 1)
        let text = JSONValue.string(String(repeating: "x", count: 1 << 20))
        try await pair.harness.upsert((2...11).map { pair.harness.point($0, 0, ["text": text]) }, on: pair.a)
        #expect(try await pair.sees(11))
        await pair.close()
    }
}

/// A way to a node that loses messages.
private final class Link: ShardService {
    let node: ShardNode
    let isCut = Mutex(false)
    /// Entries in messages that did not arrive.
    let lost = Mutex(0)

    init(to node: ShardNode) { self.node = node }

    func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply { try await node.append(request, context: context) }
    func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply { try await node.search(request, context: context) }
    func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply { try await node.explain(request, context: context) }
    func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply { try await node.fetch(request, context: context) }
    func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply { try await node.count(request, context: context) }
    func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply { try await node.status(request, context: context) }
    func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply { try await node.outline(request, context: context) }
    func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply { try await node.seal(request, context: context) }
    func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) { try await node.drop(request, context: context) }
    func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) {
        if isCut.withLock({ $0 }) {
            lost.withLock { $0 += request.entries.count }
            throw ClusterError(.unavailable, "lost")
        }
        try await node.follow(request, context: context)
    }
}

import Logging
import Model
import NIOCore
import NIOPosix
import Observability
import Synchronization
import Transport


let testShard = ShardID(tenant: .default, incarnation: Incarnation(1), index: 0)

func context(deadline: Duration? = nil) -> CallContext {
    CallContext(requestID: RequestID("test-1"), tenant: .default, deadline: deadline.map { .now + $0 })
}

func quietLogger() -> Logger {
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    return logger
}

/// A shard node in memory whose every method does what the test says.
final class FakeShard: ShardService {
    let onSearch: @Sendable (SearchRequest, CallContext) async throws(ClusterError) -> SearchReply
    let onAppend: @Sendable (AppendRequest, CallContext) async throws(ClusterError) -> AppendReply
    let onFetch: @Sendable (FetchRequest, CallContext) async throws(ClusterError) -> FetchReply

    init(
        onSearch: @escaping @Sendable (SearchRequest, CallContext) async throws(ClusterError) -> SearchReply = { request, _ in
            reply(to: request)
        },
        onAppend: @escaping @Sendable (AppendRequest, CallContext) async throws(ClusterError) -> AppendReply = { request, _ in
            AppendReply(position: UInt64(request.operations.count), superseded: 2)
        },
        onFetch: @escaping @Sendable (FetchRequest, CallContext) async throws(ClusterError) -> FetchReply = { _, _ in FetchReply(points: []) }
    ) {
        self.onSearch = onSearch
        self.onAppend = onAppend
        self.onFetch = onFetch
    }

    func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply { try await onAppend(request, context) }
    func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply { try await onSearch(request, context) }
    func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply {
        ExplainReply(explanations: request.ids.map { Explanation(id: $0, step: .unknown) })
    }
    func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply { try await onFetch(request, context) }
    func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply { CountReply(count: 42) }
    func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply {
        StatusReply(node: NodeID("fake"), shards: [], codesScanned: 9)
    }
    func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply {
        OutlineReply(range: .all, position: UInt64(request.maximumBytes), manifestVersion: 2, outline: ShardOutline())
    }
    func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply { SealReply(points: 5, segments: 1) }
    func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) {}
    func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) {}
}

/// For each search one hit whose score is the first element of its vector.
func reply(to request: SearchRequest) -> SearchReply {
    let results = request.searches.map { search in
        SearchReply.Result(hits: [Hit(id: .integer(UInt64(search.limit)), score: search.vector.first ?? 0, version: 1)], work: SearchWork(pointsHeld: 1))
    }
    return SearchReply(results: results, range: .all, position: 1, manifestVersion: 0)
}

func searchRequest(_ value: Float = 1, limit: Int = 10) -> SearchRequest {
    SearchRequest(shard: testShard, [ShardSearch(vector: [value, 0.5], limit: limit)])
}

/// A generator that makes events as fast as they are taken, and counts them.
final class FakeGenerator: AnswerService {
    let eventCount: Int
    let eventBytes: Int
    let produced = Atomic<Int>(0)
    let ended = Gate()

    init(eventCount: Int, eventBytes: Int) {
        self.eventCount = eventCount
        self.eventBytes = eventBytes
    }

    func answer(_ request: AnswerRequest, context: CallContext) -> AsyncThrowingStream<AnswerEvent, any Error> {
        let source = Source(self)
        return AsyncThrowingStream { try await source.next() }
    }

    /// Ends when its reader lets go of it.
    private final class Source: Sendable {
        let generator: FakeGenerator
        init(_ generator: FakeGenerator) { self.generator = generator }
        deinit { generator.ended.open() }

        func next() async throws -> AnswerEvent? {
            try Task.checkCancellation()
            let index = generator.produced.add(1, ordering: .relaxed).oldValue
            if index < generator.eventCount { return .text(String(repeating: "x", count: generator.eventBytes)) }
            return index == generator.eventCount ? .finished(AnswerSummary(model: "fake")) : nil
        }
    }
}

/// Something that tests wait for, from any number of tasks; waiting ends with cancellation too.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiters: [Int: CheckedContinuation<Bool, Never>] = [:]
        var next = 0
    }
    private let state = Mutex(State())

    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume(returning: true) }
    }

    var isOpen: Bool { state.withLock { $0.isOpen } }

    /// Returns `false` if the task was cancelled first.
    @discardableResult
    func wait() async -> Bool {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result: Bool? = state.withLock { state in
                    if state.isOpen { return true }
                    if Task.isCancelled { return false }
                    state.waiters[id] = continuation
                    return nil
                }
                if let result { continuation.resume(returning: result) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: false)
        }
    }
}

/// A server on a free port of loopback and a peer of it.
struct Loopback {
    let server: NodeServer
    let port: Int
    let peer: Peer
    var shard: RemoteShard { RemoteShard(peer: peer) }
    var generator: RemoteGenerator { RemoteGenerator(peer: peer) }

    static let group = MultiThreadedEventLoopGroup.singleton

    static func with<Result>(
        shard: (any ShardService)? = nil, answer: (any AnswerService)? = nil, server: (inout NodeServerConfiguration) -> Void = { _ in },
        peer: (inout PeerConfiguration) -> Void = { _ in }, metrics: (server: Metrics, client: Metrics) = (Metrics(), Metrics()),
        _ body: (Loopback) async throws -> Result
    ) async throws -> Result {
        var configuration = NodeServerConfiguration()
        server(&configuration)
        let node = try NodeServer(configuration: configuration, shard: shard, answer: answer, group: group, metrics: metrics.server, logger: quietLogger())
        let port = try await node.start()
        let loopback = Loopback(server: node, port: port, peer: try makePeer(port: port, metrics: metrics.client, peer))
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(loopback)) } catch { result = .failure(error) }
        await loopback.peer.close()
        await node.drain(timeout: .seconds(5))
        return try result.get()
    }

    static func makePeer(port: Int, metrics: Metrics = Metrics(), _ change: (inout PeerConfiguration) -> Void = { _ in }) throws -> Peer {
        var configuration = PeerConfiguration()
        change(&configuration)
        return try Peer(host: "127.0.0.1", port: port, group: group, configuration: configuration, metrics: metrics, logger: quietLogger())
    }
}

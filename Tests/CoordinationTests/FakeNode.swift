import Coordination
import Foundation
import Logging
import Model
import Observability
import Placement
import Storage
import Synchronization
import VectorMath

/// A shard node in memory that obeys the contract of ``ShardService`` by the slowest and most obvious means, and breaks on demand.
final class FakeNode: ShardService {
    enum Fault: Sendable {
        case error(ClusterError)
        /// Returns only when the call is cancelled.
        case hang
        /// Searches, but says it searched another part of the hash space.
        case wrongRange
    }
    struct Row {
        var point: Point
        var version: UInt64
    }
    struct State {
        var rows: [ShardID: [PointID: Row]] = [:]
        var positions: [ShardID: UInt64] = [:]
        var appends: [AppendRequest] = []
        var dropped: Set<ShardID> = []
    }
    let name: NodeID
    let store: any ObjectStore
    let state: Held
    /// Who owns the shards, if it is another node.
    let owner = Mutex<NodeID?>(nil)
    /// Whether the node cannot tell what is current.
    let isCutOff = Mutex(false)
    private let received = Mutex<[String]>([])

    /// What nodes hold: each its own, or all that are replicas of each other the same.
    final class Held: Sendable {
        private let state = Mutex(State())
        func withLock<Value>(_ body: (inout State) throws -> Value) rethrows -> Value { try state.withLock { try body(&$0) } }
    }
    /// Asked at each call, by method and by how often the method was called before.
    private let faults = Mutex<@Sendable (String, Int) -> Fault?>({ _, _ in nil })
    /// Runs after a search has found its hits.
    let afterSearch = Mutex<(@Sendable (FakeNode, ShardID) -> Void)?>(nil)

    init(_ name: NodeID, store: any ObjectStore, state: Held = Held()) {
        self.name = name
        self.state = state
        self.store = store
    }

    func fail(_ fault: @escaping @Sendable (_ method: String, _ earlierCalls: Int) -> Fault?) { faults.withLock { $0 = fault } }
    func heal() { faults.withLock { $0 = { _, _ in nil } } }
    var calls: [String] { received.withLock { $0 } }
    var appends: [AppendRequest] { state.withLock { $0.appends } }
    var pointCount: Int { state.withLock { $0.rows.values.reduce(0) { $0 + $1.count } } }

    private func enter(_ method: String, _ shard: ShardID?) async throws(ClusterError) -> Fault? {
        let earlier = received.withLock { received in
            defer { received.append(method) }
            return received.count { $0 == method }
        }
        switch faults.withLock({ $0(method, earlier) }) {
        case .error(let error)?: throw error
        case .hang?:
            for await _ in AsyncStream<Never>.makeStream().stream {}
            throw ClusterError(.cancelled, "the caller went away")
        case .wrongRange?: return .wrongRange
        case nil: break
        }
        if let shard { _ = try await schema(of: shard) }
        return nil
    }

    private func schema(of shard: ShardID) async throws(ClusterError) -> CollectionSchema {
        if state.withLock({ $0.dropped.contains(shard) }) { throw ClusterError(.notFound, "shard \(shard) was dropped") }
        do {
            let bytes = try await store.get(StoreKey.schema(shard.incarnation, of: shard.tenant))
            return try CollectionSchema(stored: bytes)
        } catch { throw ClusterError(.notFound, "shard \(shard) has no schema: \(error)") }
    }

    func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        _ = try await enter("append", request.shard)
        if let owner = owner.withLock({ $0 }), !request.takeover { return AppendReply(position: 0, superseded: 0, owner: owner) }
        owner.withLock { $0 = nil }
        return state.withLock { state in
            state.appends.append(request)
            state.positions[request.shard, default: 0] += 1
            let position = state.positions[request.shard]!
            var rows = state.rows[request.shard, default: [:]]
            var superseded = 0
            for operation in request.operations {
                switch operation {
                case .upsert(let points): for point in points where rows.updateValue(Row(point: point, version: position), forKey: point.id) != nil { superseded += 1 }
                case .delete(let ids): for id in ids where rows.removeValue(forKey: id) != nil { superseded += 1 }
                case .deleteWhere(let filter):
                    for (id, row) in rows where filter.passes(id: id, payload: row.point.payload) {
                        rows[id] = nil
                        superseded += 1
                    }
                }
            }
            state.rows[request.shard] = rows
            return AppendReply(position: position, superseded: superseded)
        }
    }

    func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply {
        let fault = try await enter("search", request.shard)
        if isCutOff.withLock({ $0 }), context.consistency != .eventual { throw ClusterError(.unavailable, "the store does not answer") }
        let schema = try await schema(of: request.shard)
        let rows = rows(of: request.shard)
        let results = request.searches.map { search in
            SearchReply.Result(
                hits: Array(FakeNode.exact(rows, search.vector, schema.metric, search.filter, search.scoreThreshold).prefix(search.limit)),
                work: SearchWork(pointsHeld: rows.count, pointsExactly: rows.count))
        }
        var range = HashRange.tiling(schema.shardCount)[request.shard.index]
        if case .wrongRange? = fault { range = .all }
        afterSearch.withLock { $0 }?(self, request.shard)
        return SearchReply(results: results, range: range, position: state.withLock { $0.positions[request.shard] ?? 1 }, manifestVersion: 0)
    }

    /// Steps that need no index.
    func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply {
        _ = try await enter("explain", request.shard)
        let search = request.search
        let (schema, rows) = (try await schema(of: request.shard), rows(of: request.shard))
        let all = FakeNode.exact(rows, search.vector, schema.metric, search.filter, nil)
        return ExplainReply(explanations: request.ids.map { id in
            guard rows[id] != nil else { return Explanation(id: id, step: .unknown) }
            guard let place = all.firstIndex(where: { $0.id == id }) else { return Explanation(id: id, step: .filter, score: 0) }
            let hit = all[place]
            let isBelow = search.scoreThreshold.map { schema.metric.isBetter($0, than: hit.score) } ?? false
            return Explanation(
                id: id, step: isBelow ? .scoreThreshold : place < search.limit ? .hit : .rank, score: hit.score, version: hit.version,
                contentHash: hit.contentHash, exact: Rank(place + 1, of: all.count))
        })
    }

    func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply {
        _ = try await enter("fetch", request.shard)
        let rows = rows(of: request.shard)
        let chosen: [Row] =
            switch request.selection {
            case .ids(let ids): ids.compactMap { rows[$0] }
            case .versions(let versions): versions.compactMap { wanted in rows[wanted.id].flatMap { $0.version == wanted.version ? $0 : nil } }
            case .page(let from, let limit, let filter):
                Array(rows.values.filter { row in
                    (from.map { row.point.id >= $0 } ?? true) && (filter?.passes(id: row.point.id, payload: row.point.payload) ?? true)
                }.sorted { $0.point.id < $1.point.id }.prefix(limit))
            }
        return FetchReply(points: chosen.map {
            StoredPoint(
                id: $0.point.id, version: $0.version, vector: request.withVector ? $0.point.vector : [],
                payload: request.withPayload.select(from: $0.point.payload))
        })
    }

    func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply {
        _ = try await enter("count", request.shard)
        return CountReply(count: rows(of: request.shard).values.count { request.filter?.passes(id: $0.point.id, payload: $0.point.payload) ?? true })
    }

    func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply {
        _ = try await enter("status", nil)
        let shards = request.shards.isEmpty ? state.withLock { Array($0.rows.keys) } : request.shards
        return StatusReply(node: name, shards: shards.map {
            ShardStatus(
                shard: $0, range: .all, points: rows(of: $0).count, pointsByCode: 0, segments: 0, logPosition: 0, epoch: 1, manifestVersion: 0,
                indexBytes: 10, fileBytes: 20, damaged: $0.index == 1 ? ["segment-7: checksum"] : [])
        }, codesScanned: 5)
    }

    /// A ball of its own around each point.
    func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply {
        _ = try await enter("outline", request.shard)
        let schema = try await schema(of: request.shard)
        return state.withLock { state in
            let vectors = state.rows[request.shard, default: [:]].values.map(\.point.vector)
            let balls = ShardOutline.Balls(around: Array(vectors.joined()), dimension: schema.dimension) { take in for vector in vectors { take(vector.span) } }
            return OutlineReply(
                range: HashRange.tiling(schema.shardCount)[request.shard.index], position: state.positions[request.shard] ?? 1, manifestVersion: 0,
                outline: ShardOutline(balls: [balls]))
        }
    }

    func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply {
        _ = try await enter("seal", request.shard)
        return SealReply(points: rows(of: request.shard).count, segments: 1)
    }

    func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) {
        _ = try await enter("drop", nil)
        state.withLock { state in
            state.rows[request.shard] = nil
            state.dropped.insert(request.shard)
        }
    }

    func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) {}

    func rows(of shard: ShardID) -> [PointID: Row] { state.withLock { $0.rows[shard, default: [:]] } }

    /// Every row scored and sorted: what one node that held everything would answer.
    static func exact(_ rows: [PointID: Row], _ query: [Float], _ metric: Metric, _ filter: Filter?, _ threshold: Float?) -> [Hit] {
        rows.values.filter { filter?.passes(id: $0.point.id, payload: $0.point.payload) ?? true }.map { row in
            let score: Float =
                switch metric {
                case .cosine, .dot: zip(row.point.vector, query).reduce(0) { $0 + $1.0 * $1.1 }
                case .euclid: zip(row.point.vector, query).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
                }
            let text = UInt64(row.point.payload["text"]?.integer ?? 0)
            return Hit(id: row.point.id, score: score, version: row.version, contentHash: text)
        }.filter { hit in threshold.map { !metric.isBetter($0, than: hit.score) } ?? true }
            .sorted { Hit.ranksBefore($0, $1, under: metric) }
    }
}

/// A coordinator over fake nodes and one store in memory.
struct FakeCluster {
    let store: any ObjectStore
    let nodes: [FakeNode]
    let coordinator: Coordinator
    let metrics = Metrics()
    let context = CallContext(requestID: RequestID("test"), tenant: .default)

    /// - Parameter replicas: With more than one, all nodes hold the same.
    init(
        nodes count: Int = 4, replicas: Int = 1, store: any ObjectStore = MemoryObjectStore(), clock: DeadlineClock = .continuous,
        change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) throws {
        self.store = store
        let shared = FakeNode.Held()
        nodes = (0..<count).map { FakeNode(NodeID("node-\($0)"), store: store, state: replicas > 1 ? shared : FakeNode.Held()) }
        coordinator = try FakeCluster.coordinator(nodes, replicas: replicas, store, metrics, clock, change)
    }

    static func coordinator(
        _ nodes: [FakeNode], replicas: Int = 1, _ store: any ObjectStore, _ metrics: Metrics = Metrics(), _ clock: DeadlineClock = .continuous,
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) throws -> Coordinator {
        var configuration = CoordinatorConfiguration()
        // Beside all other tests a write may wait for a processor for longer than the default.
        configuration.writeTimeout = .seconds(600)
        change(&configuration)
        let record = ClusterRecord(version: 0, replicas: replicas, members: nodes.map { ClusterMember(node: $0.name) })
        let members = try Members(record) { member in nodes.first { $0.name == member.node } }
        return try Coordinator(
            store: store, members: members, configuration: configuration,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, metrics: metrics, clock: clock)
    }

    @discardableResult
    func make(_ name: String, dimension: Int = 2, metric: Metric = .dot, shards: Int? = nil) async throws -> CollectionName {
        let name = try CollectionName(name)
        _ = try await coordinator.createCollection(name, dimension: dimension, metric: metric, shardCount: shards, context: context)
        return name
    }

    /// Whose first shard of the collection it is.
    func node(of shard: ShardID) -> FakeNode? { nodes.first { $0.state.withLock { $0.rows[shard] != nil } } }
}

extension DeadlineClock {
    /// Every wait is over at once: a call that does not answer by itself is late.
    static let impatient = DeadlineClock(now: { ContinuousClock.now }, sleep: { _ in await Task.yield() })
}

extension DeadlineClock {
    /// Short waits are over at once, long ones never: whoever is slow is suspected, but nobody runs out of time.
    static let hasty = DeadlineClock(
        now: { ContinuousClock.now },
        sleep: { until in
            // Others have their turn, on one processor, too.
            await Task.yield()
            if ContinuousClock.now.duration(to: until) > .seconds(1) { try await ContinuousClock().sleep(until: until) }
        })
}

extension DeadlineClock {
    /// Short waits are over at once, and their time has passed; long ones never are.
    static func leaping() -> DeadlineClock {
        let start = ContinuousClock.now
        let passed = Passed()
        return DeadlineClock(
            now: { start + passed.time.withLock { $0 } },
            sleep: { until in
                await Task.yield()
                if (start + passed.time.withLock { $0 }).duration(to: until) > .seconds(1) { try await Task.sleep(for: .seconds(3_600)) }
                passed.time.withLock { $0 = max($0, start.duration(to: until)) }
            })
    }

    private final class Passed: Sendable {
        let time = Mutex(Duration.zero)
    }
}

/// A small seeded generator.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

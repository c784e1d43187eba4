import Foundation
import Logging
import Model
import Observability
import Sharding
import Storage
import Testing

/// A collection of one shard in some store, and nodes that serve it.
struct Harness: Sendable {
    let store: any ObjectStore
    let schema: CollectionSchema
    var shard: ShardID { schema.shard(0, of: .default) }

    /// What nodes take for the time of day, however long a test waits for a processor.
    static let began = ShardConfiguration().now()

    init(store: any ObjectStore = MemoryObjectStore(), dimension: Int = 4, metric: Metric = .euclid, datatype: VectorDatatype = .float32) async throws {
        self.store = store
        schema = CollectionSchema(
            name: try CollectionName("test"), incarnation: Incarnation(0xabc), dimension: dimension, metric: metric, datatype: datatype, shardCount: 1,
            createdAt: 0)
        let key = StoreKey.schema(schema.incarnation, of: .default)
        try? await store.put(key, try schema.stored(), ifAbsent: true)
        _ = try await store.size(key)
    }

    /// Seals only when asked to, unless configured otherwise.
    func node(_ name: String = "a", clock: DeadlineClock = .continuous, metrics: Metrics = Metrics(), _ adjust: (inout ShardConfiguration) -> Void = { _ in }) -> ShardNode {
        var configuration = ShardConfiguration()
        configuration.retryDelay = .zero
        configuration.searchThreads = 1
        configuration.lease = .zero
        // A test waits for a processor now and then.
        (configuration.verifyTimeout, configuration.cutPatience) = (.seconds(600), .seconds(600))
        configuration.now = { Self.began }
        adjust(&configuration)
        return ShardNode(node: NodeID(name), store: store, configuration: configuration, clock: clock, metrics: metrics, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func context() -> CallContext { CallContext(requestID: .random(), tenant: .default) }

    func point(_ id: UInt64, _ value: Float = 0, _ payload: Payload = [:]) -> Point {
        Point(id: .integer(id), vector: (0..<schema.dimension).map { value + Float($0) }, payload: payload)
    }

    @discardableResult
    func upsert(_ points: [Point], on node: ShardNode, request: String? = nil, part: UInt64 = 0) async throws -> AppendReply {
        try await node.append(
            AppendRequest(shard: shard, operations: [.upsert(points)], takeover: true, id: request.map { RequestID($0) } ?? .random(), part: part), context: context())
    }

    @discardableResult
    func delete(_ ids: [UInt64], on node: ShardNode) async throws -> AppendReply {
        try await node.append(AppendRequest(shard: shard, operations: [.delete(ids.map(PointID.integer))], takeover: true), context: context())
    }

    /// All points, in the order of ids.
    func contents(_ node: ShardNode, filter: Filter? = nil) async throws -> [StoredPoint] {
        try await node.fetch(
            FetchRequest(shard: shard, selection: .page(from: nil, limit: 100_000, filter: filter), withVector: true), context: context()
        ).points
    }

    func search(_ node: ShardNode, _ vector: [Float], limit: Int = 10, filter: Filter? = nil, effort: SearchEffort = SearchEffort()) async throws -> SearchReply.Result {
        try await node.search(SearchRequest(shard: shard, [ShardSearch(vector: vector, limit: limit, filter: filter, effort: effort)]), context: context()).results[0]
    }

    @discardableResult
    func seal(_ node: ShardNode) async throws -> SealReply { try await node.seal(SealRequest(shard: shard, takeover: true), context: context()) }

    func status(_ node: ShardNode) async throws -> ShardStatus {
        try #require(try await node.status(StatusRequest(shards: [shard]), context: context()).shards.first)
    }

    func keys(_ prefix: String) async throws -> [String] { try await store.listAll(prefix: prefix) }
    /// Of the log's entries that are in the store.
    func positions() async throws -> [UInt64] { try await keys(StoreKey.log(shard)).compactMap { StoreKey.number(at: $0) } }
}

struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// What a shard should hold: obviously right.
struct ShardModel {
    var points: [PointID: Point] = [:]

    mutating func apply(_ operations: [AppendRequest.Operation]) {
        for operation in operations {
            switch operation {
            case .upsert(let new): for point in new { points[point.id] = point }
            case .delete(let ids): for id in ids { points[id] = nil }
            case .deleteWhere(let filter): points = points.filter { !filter.passes(id: $0.key, payload: $0.value.payload) }
            }
        }
    }

    func sorted(_ filter: Filter? = nil) -> [Point] {
        points.values.filter { filter?.passes(id: $0.id, payload: $0.payload) ?? true }.sorted { $0.id < $1.id }
    }

    /// Ids of the nearest under the Euclidean distance.
    func nearest(_ query: [Float], limit: Int, filter: Filter?) -> [PointID] {
        var ranked: [(id: PointID, distance: Float)] = []
        for point in sorted(filter) {
            var distance: Float = 0
            for (a, b) in zip(point.vector, query) { distance += (a - b) * (a - b) }
            ranked.append((point.id, distance))
        }
        ranked.sort { $0.distance == $1.distance ? $0.id < $1.id : $0.distance < $1.distance }
        return ranked.prefix(limit).map(\.id)
    }
}

/// What `body` ends with, if not well.
func failure(of body: () async throws -> AppendReply) async -> ClusterError? {
    do {
        _ = try await body()
        return nil
    } catch { return error as? ClusterError ?? ClusterError(.internal, "\(error)") }
}

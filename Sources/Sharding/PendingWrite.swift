import Model
import Storage
import Synchronization

/// A write that waits for its shard's log: one request.
final class PendingWrite: Sendable {
    enum Operation: Sendable {
        case upsert(LoggedPoint)
        case delete([PointID])
        case deleteWhere(Filter)
    }
    enum Work: Sendable {
        case operations([Operation])
        /// Only become the owner.
        case claim
        /// Become the owner, and write an entry of nothing.
        case anchor
        /// End the shard.
        case terminal
        /// Give the shard up.
        case release
        /// Apply what the store has beyond this opening's position.
        case check
        /// Apply what the owner says it committed.
        case follow([(entry: LogEntry, byteCount: Int)])
    }

    let key: RequestWindow.Key
    let work: Work
    let byteCount: Int
    let stop: StopSignal
    /// Whether the shard is to be claimed from an owner on another node.
    let takeover: Bool
    private let continuation = Mutex<CheckedContinuation<Result<AppendReply, ClusterError>, Never>?>(nil)

    init(key: RequestWindow.Key, work: Work, byteCount: Int, stop: StopSignal, takeover: Bool = false) {
        self.takeover = takeover
        self.key = key
        self.work = work
        self.byteCount = byteCount
        self.stop = stop
    }

    /// Work of the shard's own.
    convenience init(_ work: Work, takeover: Bool = false, request: RequestID = RequestID("none")) {
        self.init(key: RequestWindow.Key(id: request, bodyHash: Nonce(high: 0, low: 0)), work: work, byteCount: 0, stop: StopSignal(), takeover: takeover)
    }

    func wait(with continuation: CheckedContinuation<Result<AppendReply, ClusterError>, Never>) {
        self.continuation.withLock { $0 = continuation }
    }

    func finish(_ result: Result<AppendReply, ClusterError>) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: result)
    }

    /// Whether the operations name filters, which are resolved when it is their turn (protocol, H20).
    var needsResolution: Bool {
        guard case .operations(let operations) = work else { return false }
        return operations.contains { if case .deleteWhere = $0 { true } else { false } }
    }
}

extension PendingWrite {
    /// Bytes of an entry around its points: names, counts, checksums.
    static let entryOverhead = 1_024
    /// Bytes of a request around its operations.
    static let requestOverhead = 256

    /// Checks a request: it becomes one entry, whatever its size, so that it takes effect whole (protocol, H24).
    ///
    /// - Throws: `invalidArgument` naming what is wrong, and with which point.
    convenience init(
        _ request: AppendRequest, id: RequestID, schema: CollectionSchema, configuration: ShardConfiguration, stop: StopSignal
    ) throws(ClusterError) {
        let limit = configuration.entryBytes - Self.entryOverhead - Self.requestOverhead
        var operations: [Operation] = []
        var byteCount = Self.requestOverhead
        for operation in request.operations {
            switch operation {
            case .upsert(let points):
                for point in points {
                    let logged = try LoggedPoint(point, schema: schema)
                    guard logged.byteCount <= limit else {
                        throw ClusterError(.invalidArgument, "point \(point.id) has \(logged.byteCount) bytes, the limit is \(limit)")
                    }
                    operations.append(.upsert(logged))
                    byteCount += logged.byteCount
                }
            case .delete(let ids):
                operations.append(.delete(ids))
                byteCount += LoggedOperation.byteCount(deleting: ids.count)
            case .deleteWhere(let filter): operations.append(.deleteWhere(filter))
            }
        }
        guard byteCount <= configuration.requestBytes else {
            throw ClusterError(.invalidArgument, "the request has \(byteCount) bytes for one shard, the limit is \(configuration.requestBytes)")
        }
        var reader = ByteReader(sha256(Self.canonicalBytes(operations)))
        let bodyHash = Nonce(high: (try? reader.read()) ?? 0, low: (try? reader.read()) ?? 0)
        self.init(
            key: RequestWindow.Key(id: id, bodyHash: bodyHash), work: .operations(operations), byteCount: byteCount, stop: stop,
            takeover: request.takeover)
    }

    /// Equal operations have equal bytes, in any process.
    private static func canonicalBytes(_ operations: [Operation]) -> [UInt8] {
        var writer = ByteWriter()
        for operation in operations {
            switch operation {
            case .upsert(let point):
                writer.append(UInt8(1))
                writer.append(id: point.id)
                writer.append(UInt32(point.payload.count))
                writer.append(bytes: point.payload)
                writer.append(floats: point.vector)
            case .delete(let ids):
                writer.append(UInt8(2))
                writer.append(UInt32(ids.count))
                for id in ids { writer.append(id: id) }
            case .deleteWhere(let filter):
                writer.append(UInt8(3))
                writer.append(bytes: filter.canonical.serialized())
            }
        }
        return writer.bytes
    }
}

extension LoggedPoint {
    /// - Throws: `invalidArgument` if the vector has the wrong dimension or a value that the collection's datatype does not hold.
    fileprivate init(_ point: Point, schema: CollectionSchema) throws(ClusterError) {
        guard point.vector.count == schema.dimension else {
            throw ClusterError(.invalidArgument, "vector of point \(point.id): expected \(schema.dimension) dimensions, found \(point.vector.count)")
        }
        let vector: [Float]
        do throws(ClusterError) { vector = try schema.datatype.stored(point.vector) } catch { throw ClusterError(error.code, "point \(point.id): \(error.message)") }
        self.init(
            id: point.id, vector: vector, payload: JSONValue.object(point.payload).serialized(),
            contentHash: point.payload[Chunk.Key.text]?.string.map(textHash) ?? 0)
    }
}

/// 64 bits of the text's SHA-256, never 0, which stands for "no text".
func textHash(_ text: String) -> UInt64 {
    max(1, sha256(Array(text.utf8)).prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
}

extension Filter {
    /// The filter as a value whose text is the same in every process.
    fileprivate var canonical: JSONValue {
        .object([
            "must": .array(must.map(\.canonical)), "should": .array(should.map(\.canonical)), "must_not": .array(mustNot.map(\.canonical)),
        ])
    }
}

extension Filter.Condition {
    fileprivate var canonical: JSONValue {
        switch self {
        case .match(let key, let values): ["match", .string(key), .array(values)]
        case .matchExcept(let key, let values): ["except", .string(key), .array(values)]
        case .range(let key, let range):
            [
                "range", .string(key),
                .array([range.greaterThan, range.greaterOrEqual, range.lessThan, range.lessOrEqual].map { $0.map(JSONValue.number) ?? .null }),
            ]
        case .hasID(let ids): ["ids", .array(ids.map { .string($0.description) })]
        case .isEmpty(let key): ["empty", .string(key)]
        case .nested(let filter): ["nested", filter.canonical]
        }
    }
}

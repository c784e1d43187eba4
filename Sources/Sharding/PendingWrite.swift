import Model
import Storage
import Synchronization

/// A write that waits for its shard's log: one request, or one part of a large one.
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
        /// End the shard.
        case terminal
    }

    let key: RequestWindow.Key
    let work: Work
    let byteCount: Int
    let stop: StopSignal
    private let continuation = Mutex<CheckedContinuation<Result<AppendReply, ClusterError>, Never>?>(nil)

    init(key: RequestWindow.Key, work: Work, byteCount: Int, stop: StopSignal) {
        self.key = key
        self.work = work
        self.byteCount = byteCount
        self.stop = stop
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

    /// Checks a request and cuts it into parts that fit into one log entry each. Points of one document stay together unless
    /// they alone exceed an entry.
    ///
    /// - Throws: `invalidArgument` naming the point and what is wrong with it.
    static func parts(
        of request: AppendRequest, id: RequestID, dimension: Int, entryBytes: Int, stop: StopSignal
    ) throws(ClusterError) -> [PendingWrite] {
        let limit = entryBytes - entryOverhead - requestOverhead
        var parts: [PendingWrite] = []
        var operations: [Operation] = []
        var byteCount = 0

        func close() {
            let hash = sha256(canonicalBytes(operations))
            var reader = ByteReader(hash)
            let bodyHash = Nonce(high: (try? reader.read()) ?? 0, low: (try? reader.read()) ?? 0)
            parts.append(
                PendingWrite(
                    key: RequestWindow.Key(id: id, bodyHash: bodyHash), work: .operations(operations), byteCount: byteCount + requestOverhead, stop: stop))
            operations = []
            byteCount = 0
        }
        /// Adds operations that belong together.
        func add(_ group: [(operation: Operation, bytes: Int)]) throws(ClusterError) {
            let total = group.reduce(0) { $0 + $1.bytes }
            if byteCount > 0 && byteCount + total > limit { close() }
            for (operation, bytes) in group {
                guard bytes <= limit else { throw ClusterError(.invalidArgument, "\(operation.name) has \(bytes) bytes, the limit is \(limit)") }
                if byteCount + bytes > limit { close() }
                operations.append(operation)
                byteCount += bytes
            }
        }

        for operation in request.operations {
            switch operation {
            case .upsert(let points):
                var document: [(operation: Operation, bytes: Int)] = []
                var hash: UInt64 = 0
                for point in points {
                    let logged = try LoggedPoint(point, dimension: dimension)
                    if !document.isEmpty && point.id.hash != hash {
                        try add(document)
                        document = []
                    }
                    hash = point.id.hash
                    document.append((.upsert(logged), logged.byteCount))
                }
                try add(document)
            case .delete(let ids):
                let perPart = limit / 17
                for start in stride(from: 0, to: ids.count, by: perPart) {
                    let some = Array(ids[start..<min(start + perPart, ids.count)])
                    try add([(.delete(some), 5 + some.count * 17)])
                }
            case .deleteWhere(let filter): try add([(.deleteWhere(filter), 0)])
            }
        }
        if !operations.isEmpty || parts.isEmpty { close() }
        return parts
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

extension PendingWrite.Operation {
    fileprivate var name: String {
        switch self {
        case .upsert(let point): "point \(point.id)"
        case .delete(let ids): "delete of \(ids.count) ids"
        case .deleteWhere: "delete by filter"
        }
    }
}

extension LoggedPoint {
    /// - Throws: `invalidArgument` if the vector has the wrong dimension or a value that is not finite.
    fileprivate init(_ point: Point, dimension: Int) throws(ClusterError) {
        guard point.vector.count == dimension else {
            throw ClusterError(.invalidArgument, "vector of point \(point.id): expected \(dimension) dimensions, found \(point.vector.count)")
        }
        guard point.vector.allSatisfy(\.isFinite) else { throw ClusterError(.invalidArgument, "vector of point \(point.id) has a value that is not finite") }
        self.init(
            id: point.id, vector: point.vector, payload: JSONValue.object(point.payload).serialized(),
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

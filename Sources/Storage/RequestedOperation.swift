import Model

/// One operation of a request to write, with its points as the log has them.
package enum RequestedOperation: Sendable {
    case upsert(LoggedPoint)
    case delete([PointID])
    case deleteWhere(Filter)
}

extension RequestedOperation {
    /// What a request is known by beside its id (protocol, H19): the first 128 bits of the SHA-256 of its operations, the same in any process.
    package static func hash(of operations: [RequestedOperation]) -> UInt128 {
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
        return sha256(writer.bytes).prefix(16).reduce(0) { $0 << 8 | UInt128($1) }
    }
}

extension AppendRequest {
    /// What a shard would know a request of these operations by.
    package static func hash(of operations: [Operation], schema: CollectionSchema) throws(ClusterError) -> UInt128 {
        var requested: [RequestedOperation] = []
        for operation in operations {
            switch operation {
            case .upsert(let points): for point in points { requested.append(.upsert(try LoggedPoint(point, schema: schema))) }
            case .delete(let ids): requested.append(.delete(ids))
            case .deleteWhere(let filter): requested.append(.deleteWhere(filter))
            }
        }
        return RequestedOperation.hash(of: requested)
    }
}

extension LoggedPoint {
    /// - Throws: `invalidArgument` if the vector has the wrong dimension or a value that the collection's datatype does not hold.
    package init(_ point: Point, schema: CollectionSchema) throws(ClusterError) {
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
package func textHash(_ text: String) -> UInt64 {
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

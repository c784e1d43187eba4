import Model

extension ShardID: WireValue {
    package init(_ message: Covey_V1_ShardID) throws(ClusterError) {
        guard message.index >= 0 else { throw ClusterError(.invalidArgument, "shard index must be at least 0, found \(message.index)") }
        self.init(tenant: try TenantID(message.tenant), incarnation: Incarnation(message.incarnation), index: Int(message.index))
    }

    package var message: Covey_V1_ShardID {
        var message = Covey_V1_ShardID()
        message.tenant = tenant.rawValue
        message.incarnation = incarnation.rawValue
        message.index = Int64(index)
        return message
    }
}

extension PointID: WireValue {
    package init(_ message: Covey_V1_PointID) throws(ClusterError) {
        switch message.kind {
        case .integer(let value): self = .integer(value)
        case .uuid(let uuid): self = .uuid(high: uuid.high, low: uuid.low)
        case nil: throw ClusterError(.invalidArgument, "point id is missing")
        }
    }

    package var message: Covey_V1_PointID {
        var message = Covey_V1_PointID()
        switch self {
        case .integer(let value): message.integer = value
        case .uuid(let high, let low):
            var uuid = Covey_V1_UUID()
            uuid.high = high
            uuid.low = low
            message.uuid = uuid
        }
        return message
    }
}

extension Point: WireValue {
    package init(_ message: Covey_V1_Point) throws(ClusterError) {
        self.init(id: try PointID(message.id), vector: message.vector, payload: try parsePayload(message.payload))
    }

    package var message: Covey_V1_Point {
        var message = Covey_V1_Point()
        message.id = id.message
        message.vector = vector
        message.payload = serialize(payload)
        return message
    }
}

extension StoredPoint: WireValue {
    package init(_ message: Covey_V1_StoredPoint) throws(ClusterError) {
        self.init(
            id: try PointID(message.id), version: message.version, vector: message.vector, payload: try parsePayload(message.payload))
    }

    package var message: Covey_V1_StoredPoint {
        var message = Covey_V1_StoredPoint()
        message.id = id.message
        message.version = version
        message.vector = vector
        message.payload = serialize(payload)
        return message
    }
}

extension PointVersion: WireValue {
    package init(_ message: Covey_V1_PointVersion) throws(ClusterError) {
        self.init(id: try PointID(message.id), version: message.version)
    }

    package var message: Covey_V1_PointVersion {
        var message = Covey_V1_PointVersion()
        message.id = id.message
        message.version = version
        return message
    }
}

extension Hit: WireValue {
    package init(_ message: Covey_V1_Hit) throws(ClusterError) {
        self.init(id: try PointID(message.id), score: message.score, version: message.version, contentHash: message.contentHash)
    }

    package var message: Covey_V1_Hit {
        var message = Covey_V1_Hit()
        message.id = id.message
        message.score = score
        message.version = version
        message.contentHash = contentHash
        return message
    }
}

extension HashRange: WireValue {
    package init(_ message: Covey_V1_HashRange) throws(ClusterError) {
        guard message.first <= message.last else {
            throw ClusterError(.invalidArgument, "hash range \(message.first)...\(message.last) is empty")
        }
        self.init(first: message.first, last: message.last)
    }

    package var message: Covey_V1_HashRange {
        var message = Covey_V1_HashRange()
        message.first = first
        message.last = last
        return message
    }
}

/// `map` with a typed error.
func convert<Input, Output>(_ values: [Input], _ transform: (Input) throws(ClusterError) -> Output) throws(ClusterError) -> [Output] {
    var converted: [Output] = []
    converted.reserveCapacity(values.count)
    for value in values { converted.append(try transform(value)) }
    return converted
}

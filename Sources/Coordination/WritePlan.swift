import Model

/// A batch of operations, checked, and divided among the shards of a collection into requests, each of which is one log entry.
///
/// The points of one document, and deletions that stand directly before them, are never divided: they change in one log
/// entry, so a reader sees the old document or the new one (protocol, H24). Within a shard the order stays.
struct WritePlan {
    /// What becomes one log entry of a shard.
    struct Entry {
        var operations: [AppendRequest.Operation]
        /// Its place among those of a first shard, see ``AppendRequest/part``.
        var part: Int
        /// See ``AppendRequest/bodyHash``.
        var bodyHash: UInt128?
    }
    /// By the shard's place in the layout: the entries to append, one after the other.
    private(set) var entries: [[Entry]]
    private(set) var pointCount = 0

    /// - Throws: `invalidArgument` naming the point by its place in the batch and its id.
    init(_ operations: [AppendRequest.Operation], schema: CollectionSchema, layout: ShardLayout, configuration: CoordinatorConfiguration) throws(ClusterError) {
        // By the collection's first shards, so that a request's parts stay the same when shards are split between two attempts.
        var parts = Array(repeating: ShardPart(limit: configuration.maximumEntryBytes), count: schema.shardCount)
        for operation in operations {
            switch operation {
            case .upsert(let points):
                pointCount += points.count
                try Self.check(pointCount, configuration)
                for (index, var point) in points.enumerated() {
                    let bytes = try Self.prepare(&point, at: index, schema, configuration)
                    parts[schema.firstShardIndex(of: point.id)].upsert(point, byteCount: bytes)
                }
            case .delete(let ids):
                pointCount += ids.count
                try Self.check(pointCount, configuration)
                for (shard, ids) in Dictionary(grouping: ids, by: schema.firstShardIndex(of:)) { parts[shard].delete(.delete(ids), byteCount: ids.count * 17) }
            case .deleteWhere(let filter):
                for shard in Self.shards(of: filter, schema) { parts[shard].delete(operation, byteCount: 64) }
            }
        }
        for part in parts { try part.check(limit: configuration.maximumDocumentBytes) }
        entries = Array(repeating: [], count: layout.shards.count)
        let places = Dictionary(grouping: layout.shards.indices) { ShardLayout.root(of: layout.shards[$0].index, firstCount: schema.shardCount) }
        for (first, part) in parts.enumerated() {
            let places = places[first]!
            for (number, operations) in part.finished().enumerated() {
                guard places.count > 1 else {
                    entries[places[0]].append(Entry(operations: operations, part: number))
                    continue
                }
                let bodyHash = try AppendRequest.hash(of: operations, schema: schema)
                for place in places {
                    let own = operations.compactMap { $0.narrowed(to: layout.shards[place].range) }
                    if !own.isEmpty { entries[place].append(Entry(operations: own, part: number, bodyHash: bodyHash)) }
                }
            }
        }
    }

    private static func check(_ count: Int, _ configuration: CoordinatorConfiguration) throws(ClusterError) {
        guard count <= configuration.maximumBatchPoints else {
            throw ClusterError(.invalidArgument, "a batch may have \(configuration.maximumBatchPoints) points, found at least \(count)")
        }
    }

    /// Checks one point and brings its vector to the form that is stored.
    ///
    /// - Returns: About how many bytes it takes in the log.
    private static func prepare(
        _ point: inout Point, at index: Int, _ schema: CollectionSchema, _ configuration: CoordinatorConfiguration
    ) throws(ClusterError) -> Int {
        do throws(ClusterError) {
            point.vector = try storedVector(point.vector, for: schema)
            let payloadBytes = JSONValue.object(point.payload).byteCount
            guard payloadBytes <= configuration.maximumPayloadBytes else {
                throw ClusterError(.invalidArgument, "payload has \(payloadBytes) bytes, the limit is \(configuration.maximumPayloadBytes)")
            }
            return payloadBytes + point.vector.count * 4 + 32
        } catch {
            throw ClusterError(error.code, "point \(index) (id \(point.id)): \(error.message)")
        }
    }

    /// Shards that may hold points which pass the filter: all, unless it names ids.
    private static func shards(of filter: Filter, _ schema: CollectionSchema) -> [Int] {
        for case .hasID(let ids) in filter.must { return Set(ids.map(schema.firstShardIndex(of:))).sorted() }
        return Array(0..<schema.shardCount)
    }
}

extension AppendRequest.Operation {
    /// What of it concerns a hash range; `nil` if nothing does.
    fileprivate func narrowed(to range: HashRange) -> AppendRequest.Operation? {
        switch self {
        case .upsert(let points):
            let own = points.filter { range.contains($0.id.hash) }
            return own.isEmpty ? nil : .upsert(own)
        case .delete(let ids):
            let own = ids.filter { range.contains($0.hash) }
            return own.isEmpty ? nil : .delete(own)
        case .deleteWhere: return self
        }
    }
}

/// The operations of one shard, packed into entries of a limited size.
private struct ShardPart {
    /// What must stay in one entry: deletions, then the points that take the place of what they deleted.
    private struct Unit {
        var deletions: [AppendRequest.Operation] = []
        var points: [Point] = []
        var byteCount = 0
        /// First half of the points' UUIDs, if they are a document's.
        var document: UInt64?
    }
    private let limit: Int
    private var units: [Unit] = []

    init(limit: Int) { self.limit = limit }

    mutating func delete(_ operation: AppendRequest.Operation, byteCount: Int) {
        if units.last?.points.isEmpty != true { units.append(Unit()) }
        units[units.count - 1].deletions.append(operation)
        units[units.count - 1].byteCount += byteCount
    }

    mutating func upsert(_ point: Point, byteCount: Int) {
        let document: UInt64? = if case .uuid(let high, _) = point.id { high } else { nil }
        let continues = units.last.map { $0.points.isEmpty || (document != nil && $0.document == document) } ?? false
        if !continues { units.append(Unit()) }
        units[units.count - 1].points.append(point)
        units[units.count - 1].byteCount += byteCount
        units[units.count - 1].document = document
    }

    /// - Throws: `invalidArgument` for a document that is too large to change in one entry.
    func check(limit: Int) throws(ClusterError) {
        guard let unit = units.first(where: { $0.byteCount > limit }) else { return }
        throw ClusterError(
            .invalidArgument, "a document of \(unit.points.count) points has \(unit.byteCount) bytes with vectors and payloads, the limit is \(limit)")
    }

    /// Each entry as few operations: neighbouring upserts are one.
    func finished() -> [[AppendRequest.Operation]] {
        var entries: [[AppendRequest.Operation]] = []
        var points: [Point] = []
        var byteCount = 0
        func flush() {
            if !points.isEmpty { entries[entries.count - 1].append(.upsert(points)) }
            points = []
        }
        for unit in units {
            if entries.isEmpty || byteCount + unit.byteCount > limit {
                if !entries.isEmpty { flush() }
                entries.append([])
                byteCount = 0
            }
            if !unit.deletions.isEmpty {
                flush()
                entries[entries.count - 1] += unit.deletions
            }
            points += unit.points
            byteCount += unit.byteCount
        }
        if !entries.isEmpty { flush() }
        return entries
    }
}

/// The vector as a collection asks with it: of unit length when the metric is cosine.
///
/// - Throws: `invalidArgument` for a wrong dimension, an element that is not finite, or, with cosine, a vector without direction.
func preparedVector(_ vector: [Float], for schema: CollectionSchema) throws(ClusterError) -> [Float] {
    try checkDirection(vector, schema) { squares in
        let scale = 1 / squares.squareRoot()
        return vector.map { Float(Double($0) * scale) }
    }
}

/// The vector as a collection stores it: as it asks with it, but for integers, and as its datatype holds it.
///
/// - Throws: As ``preparedVector(_:for:)``; `invalidArgument` also for what the datatype does not hold.
func storedVector(_ vector: [Float], for schema: CollectionSchema) throws(ClusterError) -> [Float] {
    try schema.datatype.stored(schema.datatype.isInteger ? checkDirection(vector, schema) { _ in vector } : preparedVector(vector, for: schema))
}

/// - Parameter unit: Brings a vector to unit length, if it has to be, given the sum of its squares.
private func checkDirection(_ vector: [Float], _ schema: CollectionSchema, unit: (Double) -> [Float]) throws(ClusterError) -> [Float] {
    guard vector.count == schema.dimension else {
        throw ClusterError(.invalidArgument, "expected \(schema.dimension) dimensions, found \(vector.count)")
    }
    // In double precision, so that squares of large elements do not overflow and those of small ones do not vanish.
    var squares = 0.0
    for element in vector { squares += Double(element) * Double(element) }
    guard squares.isFinite else {
        let index = vector.firstIndex { !$0.isFinite }!
        throw ClusterError(.invalidArgument, "element \(index) of the vector is \(vector[index])")
    }
    guard schema.metric == .cosine else { return vector }
    guard squares > 0 else { throw ClusterError(.invalidArgument, "a vector of zeros has no direction, which cosine needs") }
    return unit(squares)
}

/// What a collection is: fixed when it is created.
package struct CollectionSchema: Hashable, Sendable, Codable {
    package var name: String
    /// ``Incarnation`` as 16 hexadecimal digits.
    package var incarnationText: String
    package var dimension: Int
    package var metricName: String
    package var datatypeName: String
    /// Shards that the collection had at first; see ``ShardLayout``.
    package var shardCount: Int
    /// The embedding model that fills the collection, if it holds documents; a search with another one is refused.
    package var embeddingModel: String?
    /// Seconds since 1970, UTC.
    package var createdAt: Int64
    /// Free text of the creator: what `metadata` is in OpenAI's vector stores.
    package var metadata: [String: String]

    package init(
        name: CollectionName, incarnation: Incarnation, dimension: Int, metric: Metric, datatype: VectorDatatype = .float32, shardCount: Int,
        embeddingModel: String? = nil, createdAt: Int64, metadata: [String: String] = [:]
    ) {
        self.name = name.rawValue
        self.incarnationText = incarnation.description
        self.dimension = dimension
        self.metricName = metric.rawValue
        self.datatypeName = datatype.rawValue
        self.shardCount = shardCount
        self.embeddingModel = embeddingModel
        self.createdAt = createdAt
        self.metadata = metadata
    }

    /// Largest accepted dimension: what the widest embedding models in use need.
    package static let maximumDimension = 4_096
    /// Most shards of one collection: a query asks each of them.
    package static let maximumShardCount = 256

    package var incarnation: Incarnation { Incarnation(incarnationText) ?? Incarnation(0) }
    package var metric: Metric { Metric(rawValue: metricName) ?? .cosine }
    package var datatype: VectorDatatype { VectorDatatype(rawValue: datatypeName) ?? .float32 }

    /// - Throws: `invalidArgument` naming the field, its limit and its value; `dataLoss` for a schema read from a store that no Covey wrote.
    package func validate() throws(ClusterError) {
        _ = try CollectionName(name)
        guard (1...Self.maximumDimension).contains(dimension) else {
            throw ClusterError(.invalidArgument, "dimension must be 1…\(Self.maximumDimension), found \(dimension)")
        }
        guard (1...Self.maximumShardCount).contains(shardCount) else {
            throw ClusterError(.invalidArgument, "shard count must be 1…\(Self.maximumShardCount), found \(shardCount)")
        }
        guard Metric(rawValue: metricName) != nil else { throw ClusterError(.dataLoss, "unknown metric \"\(metricName)\"") }
        guard VectorDatatype(rawValue: datatypeName) != nil else { throw ClusterError(.dataLoss, "unknown datatype \"\(datatypeName)\"") }
        guard Incarnation(incarnationText) != nil else { throw ClusterError(.dataLoss, "unreadable incarnation \"\(incarnationText)\"") }
    }

    package func shard(_ index: Int, of tenant: TenantID) -> ShardID { ShardID(tenant: tenant, incarnation: incarnation, index: index) }
    /// Those that the collection had at first.
    package func firstShards(of tenant: TenantID) -> [ShardID] { (0..<shardCount).map { shard($0, of: tenant) } }

    /// The first shard in whose range a point lies. Their layout is ``HashRange/tiling(_:)``, so this is one multiplication.
    package func firstShardIndex(of id: PointID) -> Int {
        let hash = id.hash
        let guess = Int(UInt64(shardCount).multipliedFullWidth(by: hash).high)
        // Boundaries are rounded down, so a hash just at one may belong to the next range.
        return HashRange.tile(guess, of: shardCount).contains(hash) ? guess : guess + 1
    }
}

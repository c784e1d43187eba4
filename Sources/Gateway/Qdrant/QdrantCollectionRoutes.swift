import Coordination
import Hummingbird
import Model

/// Qdrant's routes `/` and `/collections`.
struct QdrantCollectionRoutes: Sendable {
    let documents: Documents
    let configuration: GatewayConfiguration
    private var coordinator: Coordinator { documents.coordinator }
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    /// The version of Qdrant's API that the routes follow: what its clients compare themselves with.
    static let qdrantVersion = "1.20.0"

    func add(to router: Router<GatewayContext>) {
        router.get("/", use: root)
        router.get("/collections", use: list)
        router.get("/collections/:name", use: describe)
        router.get("/collections/:name/exists", use: exists)
        router.put("/collections/:name", use: create)
        router.patch("/collections/:name", use: update)
        router.delete("/collections/:name", use: drop)
        router.put("/collections/:name/index", use: indexPayload)
        router.delete("/collections/:name/index/:field", use: dropPayloadIndex)
        router.post("/collections/:name/shards/:shard/split", use: split)
        router.post("/collections/:name/shards/:shard/merge", use: merge)
    }

    @Sendable private func root(_ request: Request, _ context: GatewayContext) async throws -> Response {
        Response(json: ["title": "covey", "version": .string(Self.qdrantVersion)])
    }

    @Sendable private func list(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try checkParameters(request)
        let schemas = try await coordinator.collections(context: context.call)
        return QdrantReply.ok(["collections": .array(schemas.map { ["name": .string($0.name)] })], context)
    }

    @Sendable private func exists(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try checkParameters(request)
        do {
            _ = try await coordinator.schema(of: try CollectionName(context.parameter("name")), context: context.call)
            return QdrantReply.ok(["exists": true], context)
        } catch let error as ClusterError where error.code == .notFound {
            return QdrantReply.ok(["exists": false], context)
        }
    }

    @Sendable private func create(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try checkParameters(request)
        var fields = try JSONFields(try await reading.json(request, context))
        try fields.refuse("sparse_vectors", "init_from", "strict_mode_config", "metadata", "payload", "id_tracker")
        // They tune an index that is not here; answers do not depend on them.
        var ignored = fields.ignore("hnsw_config", "wal_config", "optimizers_config", "quantization_config", "on_disk_payload")
        try fields.accept("sharding_method", only: "auto")
        try fields.accept("replication_factor", only: 1)
        try fields.accept("write_consistency_factor", only: 1)
        let shardCount = try fields.integer("shard_number", in: 1...CollectionSchema.maximumShardCount)
        var vectors = try fields.required("vectors", try fields.object("vectors"))
        ignored += vectors.ignore("hnsw_config", "quantization_config", "on_disk")
        let (size, metric, datatype) = try Self.vectorParameters(&vectors)
        try fields.finish()
        try await documents.quota.admitCollection(context.call)
        _ = try await coordinator.createCollection(name, dimension: size, metric: metric, datatype: datatype, shardCount: shardCount, context: context.call)
        return QdrantReply.ok(true, covey: ["ignored": .array(ignored.map(JSONOutput.string))], context)
    }

    private static func vectorParameters(_ fields: inout JSONFields) throws -> (size: Int, metric: Metric, datatype: VectorDatatype) {
        try fields.refuse("multivector_config", "memory")
        let datatype = try Self.datatype(try fields.string("datatype"), at: fields.name("datatype"))
        let size = try fields.required("size", try fields.integer("size", in: 1...CollectionSchema.maximumDimension))
        let distance = try fields.required("distance", try fields.string("distance"))
        try fields.finish()
        let path = fields.name("distance")
        if distance == "Manhattan" { throw RequestError.unsupported(path, "\(path): Manhattan is not supported; Cosine, Dot and Euclid are") }
        guard let metric = Metric.allCases.first(where: { $0.qdrantName == distance }) else {
            throw RequestError.invalid(path, "\(path) must be Cosine, Dot or Euclid, found \"\(distance.prefix(64))\"")
        }
        return (size, metric, datatype)
    }

    /// - Parameter name: One of Qdrant's, or `int8`, which it lacks.
    private static func datatype(_ name: String?, at path: String) throws -> VectorDatatype {
        guard let name else { return .float32 }
        if let datatype = VectorDatatype(rawValue: name) { return datatype }
        let names = VectorDatatype.allCases.map(\.rawValue).joined(separator: ", ")
        if name.hasPrefix("turbo") { throw RequestError.unsupported(path, "\(path): \(name.prefix(64)) is not supported; \(names) are") }
        throw RequestError.invalid(path, "\(path) must be one of \(names), found \"\(name.prefix(64))\"")
    }

    /// Setting `optimizers_config.indexing_threshold`, which in Qdrant starts the building of indexes, seals the collection here.
    @Sendable private func update(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try checkParameters(request)
        var fields = try JSONFields(try await reading.json(request, context))
        try fields.refuse("vectors", "params", "hnsw_config", "quantization_config", "sparse_vectors", "strict_mode_config", "metadata")
        var optimizers = try fields.required("optimizers_config", try fields.object("optimizers_config"))
        try fields.finish()
        try optimizers.refuse(
            "deleted_threshold", "vacuum_min_vector_number", "default_segment_number", "max_segment_size", "memmap_threshold",
            "flush_interval_sec", "max_optimization_threads", "prevent_unoptimized")
        let key = "indexing_threshold"
        let threshold = try optimizers.required(key, try optimizers.integer(key, in: 0...Int.max))
        try optimizers.finish()
        guard threshold > 0 else {
            throw RequestError.unsupported(
                optimizers.name(key), "\(optimizers.name(key)): 0, which turns indexing off, is not supported; any other value seals what is there")
        }
        let replies = try await coordinator.seal(name, context: context.call)
        let shards = replies.map { reply -> JSONOutput in ["points": .integer(reply.points), "segments": .integer(reply.segments)] }
        return QdrantReply.ok(true, covey: ["shards": .array(shards)], context)
    }

    /// Frameworks ask for an index of each key that they filter by. Every sealed segment has one of all its keys, so nothing is left to do.
    @Sendable private func indexPayload(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try QueryParameters.checkWriteOptions(request)
        var fields = try JSONFields(try await reading.json(request, context))
        _ = try fields.required("field_name", try fields.string("field_name"))
        let path = fields.name("field_schema")
        var type: String?
        switch fields.take("field_schema") {
        case nil: break
        case .string(let name)?: type = name
        // Its other members tune Qdrant's index.
        case let schema?:
            var members = try JSONFields(schema, at: path)
            type = try members.required("type", try members.string("type"))
        }
        try fields.finish()
        let types = ["keyword", "integer", "float", "bool", "uuid"]
        if let type, !types.contains(type) { throw RequestError.unsupported(path, "\(path): \(type.prefix(64)) is not supported; \(types.joined(separator: ", ")) are") }
        return try await indexed(name, context)
    }

    @Sendable private func dropPayloadIndex(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters.checkWriteOptions(request)
        return try await indexed(try CollectionName(context.parameter("name")), context)
    }

    private func indexed(_ name: CollectionName, _ context: GatewayContext) async throws -> Response {
        _ = try await coordinator.schema(of: name, context: context.call)
        return QdrantReply.ok(["operation_id": 0, "status": "completed"], context)
    }

    /// Not one of Qdrant's, which divides a collection's shards once and for all.
    @Sendable private func split(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let (name, shard, isDry) = try shard(request, context)
        let (points, halves) = try await coordinator.split(shard, of: name, isDry: isDry, context: context.call)
        let shards = halves.map { half -> JSONOutput in ["shard": .integer(half.index), "nodes": .array(half.nodes.map { JSONOutput.string($0.rawValue) })] }
        return QdrantReply.ok(["points": .integer(points), "shards": .array(shards)], context)
    }

    /// Not one of Qdrant's either.
    @Sendable private func merge(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let (name, shard, isDry) = try shard(request, context)
        let merge = try await coordinator.merge(shard, of: name, isDry: isDry, context: context.call)
        return QdrantReply.ok(
            [
                "points": .integer(merge.points), "merged": .array([.integer(merge.lower), .integer(merge.upper)]), "shard": .integer(merge.merged),
                "nodes": .array(merge.nodes.map { JSONOutput.string($0.rawValue) }),
            ], context)
    }

    private func shard(_ request: Request, _ context: GatewayContext) throws -> (CollectionName, shard: Int, isDry: Bool) {
        let name = try CollectionName(context.parameter("name"))
        guard let shard = Int(try context.parameter("shard")), shard >= 0 else {
            throw RequestError.invalid("shard", "shard must be a whole number from 0, found \"\(try context.parameter("shard").prefix(64))\"")
        }
        var parameters = try QueryParameters(request)
        _ = parameters.take("timeout")
        let isDry = try parameters.choice("dry_run", of: ["true", "false"]) == "true"
        try parameters.finish()
        return (name, shard, isDry)
    }

    @Sendable private func drop(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try checkParameters(request)
        return QdrantReply.ok(.bool(try await documents.dropCollection(name, context: context.call)), context)
    }

    @Sendable private func describe(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try checkParameters(request)
        return QdrantReply.ok(try QdrantCollectionInfo(try await coordinator.status(of: name, context: context.call)).json, context)
    }

    private func checkParameters(_ request: Request) throws {
        var parameters = try QueryParameters(request)
        _ = parameters.take("timeout")
        try parameters.finish()
    }
}

extension Metric {
    var qdrantName: String {
        switch self {
        case .cosine: "Cosine"
        case .dot: "Dot"
        case .euclid: "Euclid"
        }
    }
}

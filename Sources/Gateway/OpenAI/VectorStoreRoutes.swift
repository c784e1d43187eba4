import Coordination
import Hummingbird
import Model

/// OpenAI's routes under `/v1/vector_stores`: collections that hold documents. A store's id is its collection's name. The name that it is given is the id
/// if a collection may have it, and else a label, of which there may be several alike.
struct VectorStoreRoutes: Sendable {
    let documents: Documents
    let configuration: GatewayConfiguration
    private var coordinator: Coordinator { documents.coordinator }
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    /// Where the schema's metadata have a name that is not the id; no key of a client has a dot.
    private static let label = "covey.name"
    /// Longest label in bytes. Reason: that of other metadata.
    private static let maximumLabelBytes = AttributeFilter.maximumValueBytes

    func add(to router: Router<GatewayContext>) {
        router.post("/v1/vector_stores", use: create)
        router.get("/v1/vector_stores", use: list)
        router.get("/v1/vector_stores/:id", use: describe)
        router.post("/v1/vector_stores/:id", use: update)
        router.delete("/v1/vector_stores/:id", use: delete)
    }

    @Sendable private func create(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        var fields = try JSONFields(try await reading.optionalJSON(request, context) ?? .object([]))
        try fields.refuse("expires_after", "description")
        if var strategy = try fields.object("chunking_strategy") {
            try strategy.accept("type", only: "auto")
            try strategy.refuse("static")
            try strategy.finish()
        }
        let label = try fields.string("name", maximumBytes: Self.maximumLabelBytes)
        let ownName = label.flatMap { try? CollectionName($0) }
        let name = try ownName ?? CollectionName("vs_" + fixedHex(.random(in: 0...UInt64.max)))
        context.note["collection"] = .string(name.rawValue)
        let metadata = try AttributeFilter.attributes(fields.take("metadata"), at: "metadata")
        let fileIDs = try fields.array("file_ids", maximumCount: 100).map { try JSONFields.strings($0, at: "file_ids") } ?? []
        try fields.finish()
        let texts = try metadata.map { key, value in
            guard let text = value.string else { throw RequestError.invalid("metadata.\(key)", "metadata.\(key) must be a string") }
            return (key, text)
        }
        var stored = Dictionary(uniqueKeysWithValues: texts)
        if ownName == nil { stored[Self.label] = label }
        var files: [UploadedFiles.File] = []
        for id in fileIDs { files.append(try await documents.files.file(id, for: context.call)) }
        try await documents.quota.admitCollection(context.call)
        let schema = try await coordinator.createCollection(
            name, dimension: documents.embedder.dimension, metric: .cosine, embeddingModel: documents.embedder.model,
            metadata: stored, context: context.call)
        for file in files { _ = try await documents.attach(file, attributes: [:], to: schema, context: context.call) }
        return Response(json: try await json(schema, context))
    }

    @Sendable private func list(_ request: Request, _ context: GatewayContext) async throws -> Response {
        var parameters = try QueryParameters(request)
        let page = try OpenAIPage(&parameters)
        try parameters.finish()
        let stores = try await coordinator.collections(context: context.call).filter { $0.embeddingModel != nil }
            .sorted { ($0.createdAt, $0.name) < ($1.createdAt, $1.name) }
        let (schemas, hasMore) = try page.slice(of: stores, id: \.name)
        var data: [JSONOutput] = []
        for schema in schemas { data.append(try await json(schema, context)) }
        return OpenAIPage.response(data, ids: schemas.map(\.name), hasMore: hasMore)
    }

    @Sendable private func describe(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        return Response(json: try await json(try await schema(context), context))
    }

    @Sendable private func update(_ request: Request, _ context: GatewayContext) async throws -> Response {
        _ = try await schema(context)
        throw RequestError(
            .notImplemented, code: "unsupported", "a vector store's name and metadata are fixed when it is created; changing them is not supported")
    }

    @Sendable private func delete(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let schema = try await schema(context)
        _ = try await documents.dropCollection(try CollectionName(schema.name), context: context.call)
        return OpenAIPage.deleted(schema.name, "vector_store.deleted")
    }

    private func schema(_ context: GatewayContext) async throws -> CollectionSchema {
        try await documents.schema(of: try context.parameter("id"), field: "vector_store_id", context: context.call)
    }

    private func json(_ schema: CollectionSchema, _ context: GatewayContext) async throws -> JSONOutput {
        let name = try CollectionName(schema.name)
        let (count, coverage) = try await coordinator.count(name, filter: Documents.firstChunks, context: context.call)
        let status = try await coordinator.status(of: name, context: context.call)
        var metadata = schema.metadata
        let label = metadata.removeValue(forKey: Self.label)
        return [
            "id": .string(schema.name), "object": "vector_store", "created_at": .integer(Int(schema.createdAt)), "name": .string(label ?? schema.name),
            "usage_bytes": .integer(status.fileBytes),
            "file_counts": [
                "in_progress": 0, "completed": .integer(count), "failed": 0, "cancelled": 0, "total": .integer(count),
            ],
            "status": "completed", "expires_after": nil, "expires_at": nil, "last_active_at": nil,
            "metadata": .value(.object(metadata.mapValues(JSONValue.string))),
            "covey": [
                "embedding_model": schema.embeddingModel.map(JSONOutput.string) ?? .null, "points": .integer(status.points),
                "coverage": coverage.json,
            ],
        ]
    }
}

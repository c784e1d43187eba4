import Coordination
import Hummingbird
import Ingestion
import Model

/// OpenAI's routes under `/v1/vector_stores/{id}/files`: the documents of a collection.
struct VectorStoreFileRoutes: Sendable {
    let documents: Documents
    let configuration: GatewayConfiguration
    private var coordinator: Coordinator { documents.coordinator }
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    func add(to router: Router<GatewayContext>) {
        router.post("/v1/vector_stores/:id/files", use: create)
        router.get("/v1/vector_stores/:id/files", use: list)
        router.get("/v1/vector_stores/:id/files/:file", use: describe)
        router.delete("/v1/vector_stores/:id/files/:file", use: delete)
    }

    /// Ingests the file and answers when it can be searched. The attribute `document`, if there is one, names the
    /// document: a later file under the same name replaces it.
    @Sendable private func create(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        var fields = try JSONFields(try await reading.json(request, context))
        if var strategy = try fields.object("chunking_strategy") {
            try strategy.accept("type", only: "auto")
            try strategy.refuse("static")
            try strategy.finish()
        }
        let fileID = try fields.required("file_id", try fields.string("file_id"))
        let attributes = try AttributeFilter.attributes(fields.take("attributes"), at: "attributes")
        try fields.finish()
        if let name = attributes["document"], name.string?.isEmpty ?? true {
            throw RequestError.invalid("attributes.document", "attributes.document must be a string that is not empty")
        }
        let schema = try await schema(context)
        let file = try await documents.files.file(fileID, for: context.call)
        let attachment = try await documents.attach(file, attributes: attributes, to: schema, context: context.call)
        return Response(json: try await json(fileID, attachment, schema, context))
    }

    @Sendable private func describe(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let schema = try await schema(context)
        let fileID = try context.parameter("file")
        guard let attachment = try await documents.files.attachment(of: fileID, to: schema.incarnation, tenant: context.call.tenant) else {
            throw missing(fileID, schema)
        }
        return Response(json: try await json(fileID, attachment, schema, context))
    }

    @Sendable private func delete(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let schema = try await schema(context)
        let fileID = try context.parameter("file")
        guard try await documents.detach(fileID, from: schema, context: context.call) else { throw missing(fileID, schema) }
        return OpenAIPage.deleted(fileID, "vector_store.file.deleted")
    }

    /// Without `order`, documents come in the order of their points' ids, which costs a page what it holds; with it, all
    /// are read and sorted by the time of their creation.
    @Sendable private func list(_ request: Request, _ context: GatewayContext) async throws -> Response {
        var parameters = try QueryParameters(request)
        let page = try OpenAIPage(&parameters)
        if let status = try parameters.choice("filter", of: ["in_progress", "completed", "failed", "cancelled"]), status != "completed" {
            throw RequestError.unsupported("filter", "filter: only completed files are listed, found \(status)")
        }
        try parameters.finish()
        let schema = try await schema(context)
        let found: [Documents.Document]
        let hasMore: Bool
        if page.isAscending == nil, page.before == nil {
            (found, hasMore) = try await self.page(page, schema, context)
        } else {
            let all = try await allDocuments(schema, context).sorted { ($0.createdAt, $0.fileID) < ($1.createdAt, $1.fileID) }
            (found, hasMore) = try page.slice(of: all, id: \.fileID)
        }
        return OpenAIPage.response(found.map { json($0, schema) }, ids: found.map(\.fileID), hasMore: hasMore)
    }

    private func page(_ page: OpenAIPage, _ schema: CollectionSchema, _ context: GatewayContext) async throws -> ([Documents.Document], Bool) {
        var start: PointID?
        if let after = page.after {
            guard let attachment = try await documents.files.attachment(of: after, to: schema.incarnation, tenant: context.call.tenant) else {
                throw RequestError.invalid("after", "after: there is no \"\(after.prefix(128))\"")
            }
            // The document's second chunk stands behind its first, which alone passes the filter.
            start = documentPointID(document: attachment.document, chunk: 1)
        }
        let found = try await scroll(from: start, limit: page.limit + 1, schema, context)
        return (Array(found.points.compactMap(Documents.Document.init).prefix(page.limit)), found.points.count > page.limit)
    }

    private func allDocuments(_ schema: CollectionSchema, _ context: GatewayContext) async throws -> [Documents.Document] {
        var all: [Documents.Document] = []
        var next: PointID?
        repeat {
            let page = try await scroll(from: next, limit: 1_000, schema, context)
            all += page.points.compactMap(Documents.Document.init)
            next = page.next
        } while next != nil
        return all
    }

    /// A list must be whole: a document of a shard that is away would look deleted.
    private func scroll(from: PointID?, limit: Int, _ schema: CollectionSchema, _ context: GatewayContext) async throws -> ScrollPage {
        try await coordinator.scroll(
            try CollectionName(schema.name), from: from, limit: limit, filter: Documents.firstChunks,
            withPayload: .only(Documents.Document.payloadKeys), partial: .fail, context: context.call)
    }

    private func schema(_ context: GatewayContext) async throws -> CollectionSchema {
        try await documents.schema(of: try context.parameter("id"), field: "vector_store_id", context: context.call)
    }

    private func missing(_ fileID: String, _ schema: CollectionSchema) -> RequestError {
        .notFound("no file \"\(fileID.prefix(128))\" in vector store \"\(schema.name)\"", field: "file_id")
    }

    private func json(_ fileID: String, _ attachment: Attachment, _ schema: CollectionSchema, _ context: GatewayContext) async throws -> JSONOutput {
        if let error = attachment.error {
            return [
                "id": .string(fileID), "object": "vector_store.file", "created_at": .integer(Int(attachment.createdAt)),
                "vector_store_id": .string(schema.name), "status": "failed",
                "last_error": ["code": .string(attachment.errorCode ?? "server_error"), "message": .string(error)],
                "usage_bytes": 0, "attributes": nil, "covey": ["document": .string(attachment.document)],
            ]
        }
        guard let document = try await documents.document(named: attachment.document, in: schema, context: context.call), document.fileID == fileID else {
            throw missing(fileID, schema)
        }
        return json(document, schema)
    }

    private func json(_ document: Documents.Document, _ schema: CollectionSchema) -> JSONOutput {
        var covey: [(String, JSONOutput)] = [
            ("document", .string(document.name)), ("title", .string(document.title)), ("filename", .string(document.filename)),
            ("sha256", .string(document.sha256)), ("chunks", .integer(document.chunks)),
        ]
        if !document.notes.isEmpty { covey.append(("notes", .array(document.notes.map(JSONOutput.string)))) }
        return [
            "id": .string(document.fileID), "object": "vector_store.file", "created_at": .integer(Int(document.createdAt)),
            "vector_store_id": .string(schema.name), "status": "completed", "last_error": nil, "usage_bytes": .integer(document.bytes),
            "attributes": .value(.object(document.attributes)), "chunking_strategy": ["type": "other"],
            "covey": .object(covey),
        ]
    }
}

import Hummingbird
import HTTPTypes
import Model
import NIOCore

/// OpenAI's routes under `/v1/files`.
struct FileRoutes: Sendable {
    let documents: Documents
    let configuration: GatewayConfiguration
    private var files: UploadedFiles { documents.files }
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    /// Purposes for which a file can be used here.
    private static let purposes = ["assistants", "user_data"]
    private static let otherPurposes = ["batch", "fine-tune", "vision", "evals"]
    /// Longest file name. File systems know no longer ones.
    private static let maximumNameBytes = 1_024

    func add(to router: Router<GatewayContext>) {
        router.post("/v1/files", use: create)
        router.get("/v1/files", use: list)
        router.get("/v1/files/:id", use: describe)
        router.get("/v1/files/:id/content", use: content)
        router.delete("/v1/files/:id", use: delete)
    }

    @Sendable private func create(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let body = try await reading.bytes(request, context, limit: configuration.maximumFileBytes, name: "the form")
        let form = try MultipartForm(body, contentType: request.headers[.contentType] ?? "")
        var file: MultipartForm.Part?
        var purpose: String?
        var lifetime: UploadedFiles.Lifetime?
        for part in form.parts {
            switch part.name {
            case "file" where file == nil: file = part
            case "purpose" where purpose == nil: purpose = String(decoding: part.bytes, as: UTF8.self)
            case "covey[lifetime]" where lifetime == nil:
                // OpenAI's API has no word for a file that is only the source of a document.
                lifetime = UploadedFiles.Lifetime(rawValue: String(decoding: part.bytes, as: UTF8.self))
                guard lifetime != nil else { throw RequestError.invalid(part.name, "\(part.name) must be while_attached") }
            case "file", "purpose", "covey[lifetime]": throw RequestError.invalid(part.name, "\(part.name) occurs twice")
            case _ where part.name.hasPrefix("expires_after"): throw RequestError.unsupported("expires_after")
            default: throw RequestError.invalid(part.name, "unknown field \(part.name)")
            }
        }
        guard let file else { throw RequestError.invalid("file", "file is missing") }
        guard let purpose else { throw RequestError.invalid("purpose", "purpose is missing") }
        if Self.otherPurposes.contains(purpose) { throw RequestError.unsupported("purpose", "purpose: \(purpose) is not supported, assistants and user_data are") }
        guard Self.purposes.contains(purpose) else { throw RequestError.invalid("purpose", "purpose must be assistants or user_data, found \"\(purpose.prefix(64))\"") }
        guard let filename = file.filename, (1...Self.maximumNameBytes).contains(filename.utf8.count) else {
            throw RequestError.invalid("file", "file needs a filename of 1…\(Self.maximumNameBytes) bytes")
        }
        guard !file.bytes.isEmpty else { throw RequestError.invalid("file", "file is empty") }
        try await documents.quota.admitFile(files, context.call)
        let created = try await files.create(
            Array(file.bytes), filename: filename, purpose: purpose, contentType: file.contentType, lifetime: lifetime,
            for: context.call)
        return Response(json: created.json)
    }

    @Sendable private func list(_ request: Request, _ context: GatewayContext) async throws -> Response {
        var parameters = try QueryParameters(request)
        let page = try OpenAIPage(&parameters, defaultLimit: 10_000, maximumLimit: 10_000)
        let purpose = parameters.take("purpose")
        try parameters.finish()
        var wanted: [String] = []
        for (id, _) in try await files.ids(tenant: context.call.tenant) {
            if purpose != nil || context.call.scope != .all {
                do {
                    let file = try await files.file(id, for: context.call)
                    if let purpose, file.purpose != purpose { continue }
                } catch let error as RequestError where error.status == .notFound { continue }
            }
            wanted.append(id)
        }
        let (ids, hasMore) = try page.slice(of: wanted) { $0 }
        var data: [JSONOutput] = []
        for id in ids { data.append(try await files.file(id, for: context.call).json) }
        return OpenAIPage.response(data, ids: ids, hasMore: hasMore)
    }

    @Sendable private func describe(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        return Response(json: try await file(context).json)
    }

    @Sendable private func content(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let file = try await file(context)
        let bytes = try await files.content(of: file.id, tenant: context.call.tenant)
        // Never shown as a page of this origin, whatever the upload claims to be.
        return Response(
            status: .ok,
            headers: [.contentType: "application/octet-stream", .contentDisposition: "attachment", .xContentTypeOptions: "nosniff"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    @Sendable private func delete(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let file = try await file(context)
        try await documents.delete(file, context: context.call)
        return OpenAIPage.deleted(file.id, "file")
    }

    private func file(_ context: GatewayContext) async throws -> UploadedFiles.File {
        try await files.file(try context.parameter("id"), for: context.call)
    }
}

extension UploadedFiles.File {
    var json: JSONOutput {
        [
            "id": .string(id), "object": "file", "bytes": .integer(bytes), "created_at": .integer(Int(createdAt)), "filename": .string(filename),
            "purpose": .string(purpose), "status": "processed", "expires_at": nil, "status_details": nil,
        ]
    }
}

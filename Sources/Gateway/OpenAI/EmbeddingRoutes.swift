import Embedding
import Foundation
import Hummingbird
import Model

/// OpenAI's routes `/v1/embeddings` and `/v1/models`.
struct EmbeddingRoutes: Sendable {
    let documents: Documents
    let configuration: GatewayConfiguration
    private var embedder: any Embedder { documents.embedder }
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    func add(to router: Router<GatewayContext>) {
        router.post("/v1/embeddings", use: embed)
        router.get("/v1/models", use: models)
        router.get("/v1/models/:id", use: model)
    }

    @Sendable private func embed(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        var fields = try JSONFields(try await reading.json(request, context))
        let model = try fields.required("model", try fields.string("model"))
        let texts = try texts(try fields.required("input", fields.take("input")))
        let isBase64 = try fields.choice("encoding_format", of: ["float", "base64"]) == "base64"
        try fields.accept("dimensions", only: .integer(Int64(embedder.dimension)))
        _ = try fields.string("user")  // names the client's own user; nothing depends on it
        try fields.finish()
        guard model == embedder.model else {
            throw RequestError.notFound("no embedding model \"\(model.prefix(128))\", there is \(embedder.model)", code: "model_not_found", field: "model")
        }
        var tokens = 0
        for (offset, text) in texts.enumerated() {
            let count = embedder.tokenCount(text)
            guard count <= embedder.maximumTokens else {
                throw RequestError.invalid("input[\(offset)]", "input[\(offset)] has \(count) tokens, the limit of \(embedder.model) is \(embedder.maximumTokens)")
            }
            tokens += count
        }
        let vectors = try await embedder.embed(texts)
        let data = vectors.enumerated().map { index, vector -> JSONOutput in
            ["object": "embedding", "index": .integer(index), "embedding": isBase64 ? .string(Self.base64(vector)) : .floats(vector)]
        }
        return Response(json: [
            "object": "list", "data": .array(data), "model": .string(model),
            "usage": ["prompt_tokens": .integer(tokens), "total_tokens": .integer(tokens)],
        ])
    }

    private func texts(_ input: JSONInput) throws -> [String] {
        if case .string(let text) = input { return try checked([text]) }
        if case .numbers = input { throw tokensGiven }
        guard let elements = input.elements else { throw RequestError.invalid("input", "input must be a string or a list of strings, found \(input.kind)") }
        guard (1...configuration.maximumEmbeddingInputs).contains(elements.count) else {
            throw RequestError.invalid("input", "input has \(elements.count) texts, allowed are 1…\(configuration.maximumEmbeddingInputs)")
        }
        if elements[0].elements != nil { throw tokensGiven }
        return try checked(try JSONFields.strings(elements, at: "input"))
    }

    private func checked(_ texts: [String]) throws -> [String] {
        if let offset = texts.firstIndex(of: "") { throw RequestError.invalid("input[\(offset)]", "input[\(offset)] is empty") }
        return texts
    }

    private var tokensGiven: RequestError { .unsupported("input", "input: token ids are not supported, texts are") }

    /// Little-endian 32-bit floats, as OpenAI's clients expect them.
    private static func base64(_ vector: [Float]) -> String {
        var bytes = Data(capacity: vector.count * 4)
        for value in vector {
            var bits = value.bitPattern
            for _ in 0..<4 {
                bytes.append(UInt8(truncatingIfNeeded: bits))
                bits >>= 8
            }
        }
        return bytes.base64EncodedString()
    }

    // MARK: - Models: the collections that can be asked

    @Sendable private func models(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let schemas = try await documents.coordinator.collections(context: context.call).filter { $0.embeddingModel != nil }
        return Response(json: ["object": "list", "data": .array(schemas.map { Self.json($0, context) })])
    }

    @Sendable private func model(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let id = try context.parameter("id")
        let schemas = try await documents.coordinator.collections(context: context.call)
        guard let schema = schemas.first(where: { $0.name == id && $0.embeddingModel != nil }) else {
            throw RequestError.notFound("no model \"\(id.prefix(128))\": models are the collections that hold documents", code: "model_not_found", field: "model")
        }
        return Response(json: Self.json(schema, context))
    }

    private static func json(_ schema: CollectionSchema, _ context: GatewayContext) -> JSONOutput {
        ["id": .string(schema.name), "object": "model", "created": .integer(Int(schema.createdAt)), "owned_by": .string(context.call.tenant.rawValue)]
    }
}

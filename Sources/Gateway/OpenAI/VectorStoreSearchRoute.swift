import Coordination
import Hummingbird
import Model

/// OpenAI's route `/v1/vector_stores/{id}/search`: the chunks nearest to a text.
struct VectorStoreSearchRoute: Sendable {
    let documents: Documents
    let retrieval: Retrieval
    let configuration: GatewayConfiguration

    /// Most texts of one search.
    private static let maximumQueries = 16

    func add(to router: Router<GatewayContext>) { router.post("/v1/vector_stores/:id/search", use: search) }

    @Sendable private func search(_ request: Request, _ context: GatewayContext) async throws -> Response {
        var parameters = try QueryParameters(request)
        let policy = try parameters.readOptions(request)
        try parameters.finish()
        var fields = try JSONFields(try await RequestReading(configuration: configuration).json(request, context))
        let queries = try queries(&fields)
        let limit = try fields.integer("max_num_results", in: 1...50) ?? 10
        let filter = try fields.take("filters").map { try AttributeFilter.read($0, at: "filters") }
        try fields.accept("rewrite_query", only: false)
        var threshold: Float?
        if var ranking = try fields.object("ranking_options") {
            try ranking.accept("ranker", only: "auto", "none")
            threshold = try ranking.number("score_threshold", in: 0...1).map { Float($0) }
            try ranking.refuse("hybrid_search")
            try ranking.finish()
        }
        var options = RetrievalOptions(limit: limit, partial: policy)
        try options.takeSearchOnly(&fields)
        try fields.finish()
        guard options.explain.isEmpty || queries.count == 1 else {
            throw RequestError.invalid("covey.explain", "covey.explain wants one query, found \(queries.count)")
        }
        let schema = try await documents.schema(of: try context.parameter("id"), field: "vector_store_id", context: context.call)
        let found = try await retrieval.search(
            queries, in: schema, limit: limit, filter: filter, scoreThreshold: threshold, options: options, context: context.call)
        var covey: [(String, JSONOutput)] = [("coverage", found.coverage.json)]
        if !options.explain.isEmpty { covey.append(("explanations", .array(found.explanations.map(\.json)))) }
        return Response(json: [
            "object": "vector_store.search_results.page", "search_query": .array(queries.map(JSONOutput.string)),
            "data": .array(found.best(limit).compactMap(json)), "has_more": false, "next_page": nil, "covey": .object(covey),
        ])
    }

    private func queries(_ fields: inout JSONFields) throws -> [String] {
        let input = try fields.required("query", fields.take("query"))
        let queries: [String]
        if case .string(let text) = input {
            queries = [text]
        } else {
            guard let elements = input.elements, (1...Self.maximumQueries).contains(elements.count) else {
                throw RequestError.invalid("query", "query must be a string or a list of 1…\(Self.maximumQueries) strings")
            }
            queries = try JSONFields.strings(elements, at: "query")
        }
        for query in queries {
            guard !query.allSatisfy(\.isWhitespace) else { throw RequestError.invalid("query", "query is empty") }
            let tokens = documents.embedder.tokenCount(query)
            guard tokens <= documents.embedder.maximumTokens else {
                throw RequestError.invalid("query", "query has \(tokens) tokens, the limit of \(documents.embedder.model) is \(documents.embedder.maximumTokens)")
            }
        }
        return queries
    }

    /// `nil` for a point that is no chunk of a document: collections may hold others too.
    private func json(_ hit: ScoredPoint) -> JSONOutput? {
        let payload = hit.point.payload
        guard let chunk = Chunk(payload: payload) else { return nil }
        var covey: [(String, JSONOutput)] = [
            ("id", hit.point.id.json), ("document", .string(chunk.document)), ("title", .string(chunk.title)),
            ("headings", .array(chunk.headings.map(JSONOutput.string))), ("start", .integer(chunk.start)), ("end", .integer(chunk.end)),
        ]
        if let place = chunk.place { covey.append(("place", .value(place.json))) }
        return [
            "file_id": .string(payload[Documents.Key.file]?.string ?? ""),
            "filename": .string(payload[Documents.Key.filename]?.string ?? chunk.document), "score": .float(hit.score),
            "attributes": .value(.object(payload[Documents.Key.attributes]?.object ?? [:])),
            "content": [["type": "text", "text": .string(chunk.text)]],
            "covey": .object(covey),
        ]
    }
}

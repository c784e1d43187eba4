import Coordination
import Model

/// The body of `points/query`, or one of `points/query/batch`: nearest neighbours of a vector, or of a stored point.
package struct QdrantQuery {
    enum Target {
        case vector([Float])
        case point(PointID)
    }

    let target: Target
    /// Everything but the vector.
    private let search: SearchQuery
    var limit: Int { search.limit }

    /// Takes all fields and checks that none is left.
    package init(_ fields: inout JSONFields, maximumLimit: Int, partial: PartialPolicy) throws {
        try fields.refuse("shard_key", "prefetch", "using", "lookup_from")
        guard let query = fields.take("query") else {
            throw RequestError.unsupported(fields.name("query"), "\(fields.name("query")) is missing: a query without one lists points, which only points/scroll does here")
        }
        target = try Self.target(query, at: fields.name("query"))
        let limit = try fields.integer("limit", in: 1...maximumLimit) ?? 10
        let offset = try fields.integer("offset", in: 0...maximumLimit) ?? 0
        let filter = try fields.filter()
        let effort = try Self.effort(&fields)
        let threshold = try fields.number("score_threshold")
        let payload = try fields.payloadSelection(default: .none)
        let withVector = try fields.withVector()
        let policy = try fields.partial(default: partial)
        var explain: [PointID] = []
        if var covey = try fields.object("covey") {
            explain = try covey.explain()
            try covey.finish()
        }
        try fields.finish()
        search = SearchQuery(
            vector: [], limit: limit, offset: offset, filter: filter, scoreThreshold: threshold.map { Float($0) }, effort: effort,
            withPayload: payload, withVector: withVector, partial: policy, explain: explain)
    }

    private static func target(_ input: JSONInput, at path: String) throws -> Target {
        switch input {
        case .numbers, .array: return .vector(try input.vector(at: path))
        case .integer, .unsigned, .string: return .point(try input.pointID(at: path))
        case .object:
            var fields = try JSONFields(input, at: path)
            try fields.refuse(
                "recommend", "discover", "context", "order_by", "fusion", "rrf", "formula", "sample", "relevance_feedback", "mmr",
                "indices", "values", "text", "image", "model", "object", "options")
            let nearest = try fields.required("nearest", fields.take("nearest"))
            try fields.finish()
            return try target(nearest, at: fields.name("nearest"))
        default: throw RequestError.invalid(path, "\(path) must be a vector, a point's id or an object, found \(input.kind)")
        }
    }

    private static func effort(_ fields: inout JSONFields) throws -> SearchEffort {
        guard var params = try fields.object("params") else { return SearchEffort() }
        try params.refuse("quantization", "acorn", "idf")
        try params.accept("indexed_only", only: false)
        let exact = try params.bool("exact") ?? false
        // Qdrant's width of the search: here, as there, the candidates that are compared with their full vectors.
        let candidates = try params.integer("hnsw_ef", in: 1...1_000_000)
        // Covey's own: Qdrant has no word for it.
        let targetRecall = try params.number("target_recall")
        try params.finish()
        return SearchEffort(exact: exact, targetRecall: targetRecall, candidates: candidates)
    }

    /// The searches with their vectors, which for stored points are looked up; such a point itself is then no answer.
    static func resolved(_ queries: [QdrantQuery], in name: CollectionName, of coordinator: Coordinator, context: CallContext) async throws -> [SearchQuery] {
        var ids: Set<PointID> = []
        for case .point(let id) in queries.lazy.map(\.target) { ids.insert(id) }
        var vectors: [PointID: [Float]] = [:]
        if !ids.isEmpty {
            for point in try await coordinator.retrieve(Array(ids), from: name, withPayload: .none, withVector: true, context: context) { vectors[point.id] = point.vector }
        }
        return try queries.map { query in
            var search = query.search
            switch query.target {
            case .vector(let vector): search.vector = vector
            case .point(let id):
                guard let vector = vectors[id] else {
                    throw RequestError.notFound("Not found: point \(id) of query does not exist in collection \"\(name)\"")
                }
                search.vector = vector
                search.filter = Filter(must: search.filter.map { [.nested($0)] } ?? [], mustNot: [.hasID([id])])
            }
            return search
        }
    }
}

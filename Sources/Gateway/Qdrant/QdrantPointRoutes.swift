import Coordination
import HTTPTypes
import Hummingbird
import Model
import Transport

/// Qdrant's routes under `/collections/{name}/points`.
struct QdrantPointRoutes: Sendable {
    let coordinator: Coordinator
    let quota: StorageQuota
    let configuration: GatewayConfiguration
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    func add(to router: Router<GatewayContext>) {
        router.put("/collections/:name/points", use: upsert)
        router.post("/collections/:name/points", use: retrieve)
        router.post("/collections/:name/points/query", use: query)
        router.post("/collections/:name/points/query/batch", use: queryBatch)
        router.post("/collections/:name/points/scroll", use: scroll)
        router.post("/collections/:name/points/delete", use: delete)
        router.post("/collections/:name/points/count", use: count)
        router.get("/collections/:name/points/:id", use: point)
    }

    // MARK: - Writes

    @Sendable private func upsert(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try QueryParameters.checkWriteOptions(request)
        var context = context
        context.call.idempotencyKey = try IdempotencyKey.take(from: request)
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > configuration.maximumBodyBytes {
            return try await StreamedUpsert(coordinator: coordinator, quota: quota, collection: name, configuration: configuration).run(request, context)
        }
        var fields = try JSONFields(try await reading.json(request, context))
        try fields.refuse("shard_key", "update_filter", "update_mode")
        let points = try QdrantPoints.take(from: &fields, maximumCount: configuration.maximumBatch)
        try fields.finish()
        try await quota.admitPoints(points.count, context.call)
        return try await write([.upsert(points)], to: name, context)
    }

    @Sendable private func delete(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        try QueryParameters.checkWriteOptions(request)
        var fields = try JSONFields(try await reading.json(request, context))
        var context = context
        context.call.idempotencyKey = try IdempotencyKey.take(from: request)
        try fields.refuse("shard_key")
        let ids = try fields.pointIDs("points", maximumCount: configuration.maximumBatch)
        let filter = try fields.filter()
        try fields.finish()
        switch (ids, filter) {
        case (let ids?, nil):
            context.note["ids"] = .integer(Int64(ids.count))
            return try await write([.delete(ids)], to: name, context)
        case (nil, let filter?):
            context.note["by_filter"] = true
            return try await write([.deleteWhere(filter)], to: name, context)
        default: throw RequestError.invalid("points", "either points or filter must be given")
        }
    }

    private func write(_ operations: [AppendRequest.Operation], to name: CollectionName, _ context: GatewayContext) async throws -> Response {
        let outcome = try await coordinator.writeEach(operations, to: name, context: context.call)
        let covey: JSONOutput = ["shards": outcome.shardsJSON]
        if let error = outcome.error {
            var error = RequestError(error)
            error.details = covey
            throw error
        }
        return QdrantReply.ok(["operation_id": .unsigned(outcome.position), "status": "completed"], covey: covey, context)
    }

    // MARK: - Reads

    @Sendable private func retrieve(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        _ = try readOptions(request)  // a point that cannot be read is always an error: left out, it would look deleted
        var fields = try JSONFields(try await reading.json(request, context))
        try fields.refuse("shard_key")
        let ids = try fields.required("ids", try fields.pointIDs("ids", maximumCount: configuration.maximumBatch))
        let payload = try fields.payloadSelection(default: .all)
        let withVector = try fields.withVector()
        try fields.finish()
        let points = try await coordinator.retrieve(ids, from: name, withPayload: payload, withVector: withVector, context: context.call)
        return await QdrantReply.ok(points: points.count, like: points.first, context) { records(points, payload, withVector) }
    }

    @Sendable private func point(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        _ = try readOptions(request)
        let text = try context.parameter("id")
        guard let id = UInt64(text).map(PointID.integer) ?? PointID(uuid: text) else {
            throw RequestError.invalid("id", "id must be an unsigned integer or a UUID, found \"\(text.prefix(64))\"")
        }
        let points = try await coordinator.retrieve([id], from: name, withPayload: .all, withVector: true, context: context.call)
        guard let point = points.first else { throw RequestError.notFound("Not found: point \(id) does not exist in collection \"\(name)\"") }
        return QdrantReply.ok(QdrantReply.record(point, withPayload: true, withVector: true), context)
    }

    @Sendable private func scroll(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        let policy = try readOptions(request)
        var fields = try JSONFields(try await reading.json(request, context))
        try fields.refuse("shard_key", "order_by")
        let partial = try fields.partial(default: policy)
        let from = try fields.take("offset")?.pointID(at: "offset")
        let limit = try fields.integer("limit", in: 1...configuration.maximumBatch) ?? 10
        let filter = try fields.filter()
        let payload = try fields.payloadSelection(default: .all)
        let withVector = try fields.withVector()
        try fields.finish()
        let page = try await coordinator.scroll(
            name, from: from, limit: limit, filter: filter, withPayload: payload, withVector: withVector, partial: partial, context: context.call)
        return await QdrantReply.ok(points: page.points.count, like: page.points.first, covey: ["coverage": page.coverage.json], context) {
            ["points": records(page.points, payload, withVector), "next_page_offset": page.next?.json ?? .null]
        }
    }

    @Sendable private func count(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        let policy = try readOptions(request)
        var fields = try JSONFields(try await reading.json(request, context))
        try fields.refuse("shard_key")
        let partial = try fields.partial(default: policy)
        let filter = try fields.filter()
        _ = try fields.bool("exact")  // the count is exact either way
        try fields.finish()
        let (count, coverage) = try await coordinator.count(name, filter: filter, partial: partial, context: context.call)
        return QdrantReply.ok(["count": .integer(count)], covey: ["coverage": coverage.json], context)
    }

    @Sendable private func query(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        let policy = try readOptions(request)
        var fields = try JSONFields(try await reading.json(request, context))
        let found = try await find([try QdrantQuery(&fields, maximumLimit: configuration.maximumBatch, partial: policy)], in: name, context)[0]
        return await QdrantReply.ok(points: found.answer.hits.count, like: found.answer.hits.first?.point, covey: found.covey, context) { found.result }
    }

    /// Searches whose hits may be put together on an event loop. Reason: what else is on that loop waits meanwhile.
    private static let mostOnLoop = 8

    @Sendable private func queryBatch(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let name = try CollectionName(context.parameter("name"))
        let policy = try readOptions(request)
        var fields = try JSONFields(try await reading.json(request, context))
        let searches = try fields.required("searches", fields.array("searches", maximumCount: configuration.maximumBatch))
        try fields.finish()
        let queries = try searches.enumerated().map { number, search in
            var fields = try JSONFields(search, at: "searches[\(number)]")
            return try QdrantQuery(&fields, maximumLimit: configuration.maximumBatch, partial: policy)
        }
        let hits = queries.reduce(0) { $0 + $1.limit }
        guard hits <= configuration.maximumBatch else {
            throw RequestError.invalid("searches", "the limits of searches add up to \(hits); at most \(configuration.maximumBatch) hits are answered at once")
        }
        context.spend(max(0, queries.count - 1))
        let found = queries.count <= Self.mostOnLoop
            ? try await find(queries, in: name, context) : try await awayFromLoops { try await find(queries, in: name, context) }
        let count = found.reduce(0) { $0 + $1.answer.hits.count }
        let like = found.lazy.compactMap(\.answer.hits.first?.point).first
        return await QdrantReply.ok(points: count, like: like, covey: ["searches": .array(found.map(\.covey))], context) { .array(found.map(\.result)) }
    }

    /// What one search found, and how it is told.
    private struct Found: Sendable {
        let search: SearchQuery
        let answer: SearchAnswer

        var result: JSONOutput {
            ["points": .array(answer.hits.map { QdrantReply.scored($0, withPayload: search.withPayload != .none, withVector: search.withVector) })]
        }
        var covey: JSONOutput {
            var covey: [(String, JSONOutput)] = [("coverage", answer.coverage.json)]
            if !search.explain.isEmpty { covey.append(("explanations", .array(answer.explanations.map(\.json)))) }
            return .object(covey)
        }
    }

    private func find(_ queries: [QdrantQuery], in name: CollectionName, _ context: GatewayContext) async throws -> [Found] {
        let searches = try await QdrantQuery.resolved(queries, in: name, of: coordinator, context: context.call)
        return zip(searches, try await coordinator.search(searches, in: name, context: context.call)).map { Found(search: $0, answer: $1) }
    }

    private func readOptions(_ request: Request) throws -> PartialPolicy {
        var parameters = try QueryParameters(request)
        let policy = try parameters.readOptions(request)
        try parameters.finish()
        return policy
    }

    private func records(_ points: [StoredPoint], _ payload: PayloadSelection, _ withVector: Bool) -> JSONOutput {
        .array(points.map { QdrantReply.record($0, withPayload: payload != .none, withVector: withVector) })
    }
}

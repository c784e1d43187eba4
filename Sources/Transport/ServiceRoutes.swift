import Logging
import Model
import Wire

/// Every method that a node serves, by its path.
struct ServiceRoutes: Sendable {
    private(set) var routes: [String: Route] = [:]
    private let logger: Logger

    static let shardService = "covey.v1.Shard"
    static let generatorService = "covey.v1.Generator"

    init(shard: (any ShardService)?, answer: (any AnswerService)?, health: HealthService, logger: Logger) {
        self.logger = logger
        routes["/grpc.health.v1.Health/Check"] = .unary { bytes, _ throws(ClusterError) in try health.check(bytes) }
        routes["/grpc.health.v1.Health/Watch"] = .streaming { bytes, _, writer throws(ClusterError) in try await health.watch(bytes, writer) }
        if let shard { add(shard) }
        if let answer { add(answer) }
    }

    private mutating func add(_ shard: any ShardService) {
        let service = Self.shardService
        unary("/\(service)/Append") { (request: AppendRequest, context) throws(ClusterError) in
            try await shard.append(request, context: context).encoded()
        }
        unary("/\(service)/Search") { (request: SearchRequest, context) throws(ClusterError) in
            let reply = try await shard.search(request, context: context)
            return try reply.results.count == 1 ? reply.encoded() : await awayFromLoops { () throws(ClusterError) in try reply.encoded() }
        }
        unary("/\(service)/Explain") { (request: ExplainRequest, context) throws(ClusterError) in
            try await shard.explain(request, context: context).encoded()
        }
        unary("/\(service)/Fetch") { (request: FetchRequest, context) throws(ClusterError) in
            let reply = try await shard.fetch(request, context: context)
            return try LoopExecutor.mayEncode(reply.points.count, of: reply.points.first)
                ? reply.encoded() : await awayFromLoops { () throws(ClusterError) in try reply.encoded() }
        }
        unary("/\(service)/Count") { (request: CountRequest, context) throws(ClusterError) in
            try await shard.count(request, context: context).encoded()
        }
        unary("/\(service)/Status") { (request: StatusRequest, context) throws(ClusterError) in
            try await shard.status(request, context: context).encoded()
        }
        unary("/\(service)/Outline") { (request: OutlineRequest, context) throws(ClusterError) in
            let reply = try await shard.outline(request, context: context)
            return try (reply.outline?.byteCount ?? 0) <= LoopExecutor.mostBytes
                ? reply.encoded() : await awayFromLoops { () throws(ClusterError) in try reply.encoded() }
        }
        unary("/\(service)/Seal") { (request: SealRequest, context) throws(ClusterError) in
            try await shard.seal(request, context: context).encoded()
        }
        unary("/\(service)/Drop") { (request: DropRequest, context) throws(ClusterError) in
            try await shard.drop(request, context: context)
            return []  // a DropReply
        }
        unary("/\(service)/Follow") { (request: FollowRequest, context) throws(ClusterError) in
            try await shard.follow(request, context: context)
            return []  // a FollowReply
        }
    }

    private mutating func add(_ answer: any AnswerService) {
        let path = "/\(Self.generatorService)/Answer"
        routes[path] = .streaming { [logger] bytes, call, writer throws(ClusterError) in
            let (request, tenant) = try Self.decode(AnswerRequest.self, bytes, path, call, logger)
            do {
                for try await event in answer.answer(request, context: call.context(tenant)) { try await writer.write(event.encoded()) }
            } catch {
                throw Self.logged(ClusterError(error), path, tenant, call, logger)
            }
        }
    }

    private mutating func unary<Request: WireRequest>(
        _ path: String, _ serve: @escaping @Sendable (Request, CallContext) async throws(ClusterError) -> [UInt8]
    ) {
        routes[path] = .unary { [logger] bytes, call throws(ClusterError) in
            let (request, tenant) = try Self.decode(Request.self, bytes, path, call, logger)
            do throws(ClusterError) {
                return try await serve(request, call.context(tenant))
            } catch {
                throw Self.logged(error, path, tenant, call, logger)
            }
        }
    }

    /// Reads a message. One that cannot be read is logged at once: who sends it is of another release, or no node.
    private static func decode<Request: WireRequest>(
        _ type: Request.Type, _ bytes: [UInt8], _ path: String, _ call: ServiceCall, _ logger: Logger
    ) throws(ClusterError) -> (Request, TenantID) {
        do throws(ClusterError) { return try Request.decode(bytes) } catch {
            logger.info("call refused", metadata: ["method": "\(path)", "request": "\(call.requestID)", "error": "\(error)"])
            throw error
        }
    }

    /// Writes one line for a call that failed: loud for what an operator must look into, quiet for what callers cause.
    private static func logged(_ error: ClusterError, _ path: String, _ tenant: TenantID, _ call: ServiceCall, _ logger: Logger) -> ClusterError {
        let level: Logger.Level =
            switch error.code {
            case .internal, .dataLoss, .unknown: .error
            default: .debug
            }
        logger.log(
            level: level, "call failed",
            metadata: ["method": "\(path)", "request": "\(call.requestID)", "tenant": "\(tenant)", "error": "\(error)"])
        return error
    }
}

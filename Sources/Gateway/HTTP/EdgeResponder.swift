import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Model
import NIOCore
import Observability

/// What every request meets first and every response last: a request id, the key, a place inside, a deadline; then the
/// error's shape, one log line and the figures.
struct EdgeResponder<Routes: HTTPResponder<GatewayContext>>: HTTPResponder {
    let routes: Routes
    let keys: KeyRing
    let gate: AdmissionGate
    let readiness: Readiness
    let configuration: GatewayConfiguration
    let metrics: Metrics
    let logger: Logger

    /// What Hummingbird's router calls the place of a request that it has no route for.
    private static var noRoute: String { "NotFound" }
    /// Routes that answer without a key and without a place inside, so that a full gateway is not taken for a dead one.
    private var health: Set<String> { ["/healthz", "/readyz"] }

    func respond(to request: Request, context: GatewayContext) async throws -> Response {
        let path = request.uri.path
        let dialect = Dialect(path: path)
        var context = context
        if let id = request.headers[.requestID], let accepted = Self.accepted(id) { context.call.requestID = Model.RequestID(accepted) }

        var response: Response
        var failure: RequestError?
        do {
            if !health.contains(path) {
                let caller = try keys.caller(presenting: Self.key(in: request.headers))
                context.call.tenant = caller.tenant
                context.isOperator = caller.isOperator
                context.pass = try gate.enter(caller.tenant)
                context.call.deadline = try timeout(of: request, dialect: dialect).map { context.arrived + $0 }
                context.call.consistency = try Self.consistency(of: request)
            }
            context.logger[metadataKey: "request"] = .string(context.call.requestID.rawValue)
            context.logger[metadataKey: "tenant"] = .string(context.call.tenant.rawValue)
            let entered = context
            response = try await withDeadline(context.arrived + configuration.maximumTimeout, "the request") { try await routes.respond(to: request, context: entered) }
            if context.endpointPath == Self.noRoute { throw RequestError.notFound("no route \(request.method.rawValue) \(path)", code: "unknown_url") }
        } catch {
            failure = RequestError(error)
            response = dialect.response(to: failure!, requestID: context.call.requestID, seconds: context.seconds)
        }
        if readiness.isDraining { response.headers[.connection] = "close" }
        response.headers[.requestID] = context.call.requestID.rawValue
        record(request, response, failure, context)
        return response
    }

    /// The same over HTTP/2, with what Hummingbird's server does around it over HTTP/1.1.
    func respond(to request: Request, over channel: any Channel, logger: Logger) async -> Response {
        var context = GatewayContext(source: ApplicationRequestContextSource(channel: channel, logger: logger))
        context.isCancelledWithClient = true
        var response: Response
        do { response = try await respond(to: request, context: context) } catch { response = Response(status: .internalServerError) }
        response.headers[.date] = Self.date()
        response.headers[.server] = "covey"
        return response
    }

    /// Now, as a header has it: RFC 9110, 5.6.7.
    private static func date() -> String {
        var clock = time(nil)
        var parts = unsafe tm()
        unsafe gmtime_r(&clock, &parts)
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { text in
            unsafe strftime(text.baseAddress!, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            return unsafe String(cString: text.baseAddress!)
        }
    }

    private func record(_ request: Request, _ response: Response, _ failure: RequestError?, _ context: GatewayContext) {
        let status = String(response.status.code)
        let route = context.endpointPath ?? Self.noRoute
        let seconds = context.seconds
        metrics.counter(
            "covey_http_requests_total", help: "Requests answered, by route and status.",
            labels: [("method", request.method.rawValue), ("route", route), ("status", status)]
        ).add()
        metrics.counter(
            "covey_http_tenant_requests_total", help: "Requests answered, by tenant.",
            labels: [("tenant", metrics.tenantLabel(context.call.tenant.rawValue))]
        ).add()
        metrics.histogram(
            "covey_http_request_seconds", help: "Time until a response began, by route.", labels: [("route", route)]
        ).observe(seconds)
        metrics.gauge("covey_http_requests_inside", help: "Requests at work.").set(Double(gate.inside))

        var metadata: Logger.Metadata = [
            "request": .string(context.call.requestID.rawValue), "tenant": .string(context.call.tenant.rawValue),
            "method": .string(request.method.rawValue), "path": .string(String(request.uri.path.prefix(256))), "status": .string(status),
            "ms": .string(String(Double(Int(seconds * 1e5)) / 100)),
        ]
        if let failure { metadata["error"] = .string(failure.message) }
        let level: Logger.Level = response.status.code >= 500 ? .error : (failure == nil ? .info : .notice)
        logger.log(level: level, "request", metadata: metadata)
    }

    /// Qdrant's `timeout`, in seconds; `nil` leaves the time to the coordinator, which knows reads from writes from sealing.
    private func timeout(of request: Request, dialect: Dialect) throws -> Duration? {
        guard dialect == .qdrant, let text = request.uri.queryParameters["timeout"] else { return nil }
        let limit = configuration.maximumTimeout.seconds
        guard let seconds = Double(text), seconds > 0, seconds <= limit else {
            throw RequestError.invalid("timeout", "timeout must be above 0 and at most \(Int(limit)) seconds, found \"\(text)\"")
        }
        return .seconds(seconds)
    }

    /// How fresh a read has to be: the parameter `consistency` or the header `covey-consistency`. Qdrant's words and numbers ask how many
    /// replicas must agree; `strong` promises what all of them together would.
    private static func consistency(of request: Request) throws -> Consistency {
        guard let text = request.uri.queryParameters["consistency"].map(String.init) ?? request.headers[.consistency] else { return .strong }
        if ["majority", "quorum", "all"].contains(text) || Int(text) != nil { return .strong }
        do throws(ClusterError) { return try Consistency(text) } catch { throw RequestError.invalid("consistency", error.message) }
    }

    /// A client's request id if it can stand in a log line: visible ASCII, not too long.
    private static func accepted(_ id: String) -> String? {
        let isFine = !id.isEmpty && id.utf8.count <= Model.RequestID.maximumLength && id.utf8.allSatisfy { (0x21...0x7e).contains($0) }
        return isFine ? id : nil
    }

    private static func key(in headers: HTTPFields) -> String? {
        if let key = headers[.apiKey] { return key }
        guard let authorization = headers[.authorization] else { return nil }
        let parts = authorization.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return parts[1].trimmingSpaces
    }
}

extension HTTPField.Name {
    static let requestID = Self("x-request-id")!
    static let apiKey = Self("api-key")!
    /// `fail` or `degrade`: see ``Model/PartialPolicy``. For clients that cannot add a field to the body.
    static let partial = Self("covey-partial")!
    /// `strong`, `bounded:<milliseconds>` or `eventual`: see ``Model/Consistency``.
    static let consistency = Self("covey-consistency")!
}

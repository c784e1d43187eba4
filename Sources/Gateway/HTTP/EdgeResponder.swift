import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Model
import NIOCore
import Observability
import Transport

/// What every request meets first and every response last: a request id, the key and its role, its tenant's rate, a place inside, a deadline;
/// then the error's shape, one log line, one of the audit log, and the figures.
struct EdgeResponder<Routes: HTTPResponder<GatewayContext>>: HTTPResponder {
    let routes: Routes
    let tenants: TenantDirectory
    let gate: AdmissionGate
    let buckets = TokenBuckets<TenantID>()
    let addresses: AddressLimits
    let proxies: TrustedProxies
    let audit: AuditLog?
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
        if let id = request.headers[.requestID], Model.RequestID.accepts(id) { context.call.requestID = Model.RequestID(id) }

        let rule = RouteRule(method: request.method.rawValue, path: path)
        var response: Response
        var failure: RequestError?
        var caller: KeyRing.Caller?
        var rate: RateVerdict?
        context.client = IPAddress(context.remoteAddress).map { proxies.client(of: $0, forwardedFor: request.headers[.forwardedFor]) }
        do {
            if !health.contains(path) {
                if let client = context.client { try addresses.admitRequest(of: client, at: context.arrived) }
                let known = try addresses.caller(presenting: Self.key(in: request.headers), from: context.client, in: tenants.keys, at: context.arrived)
                caller = known
                context.call.tenant = known.tenant
                context.call.scope = known.collections
                context.isOperator = known.isOperator
                context.limits = tenants.limits(of: known.tenant)
                rate = takeTokens(of: known.tenant, context)
                if rate != nil {
                    let counted = context
                    context.spend = { _ = takeTokens($0, isOwed: true, of: known.tenant, counted) }
                }
                if let rate, !rate.isAdmitted { throw Self.tooMany(rate, context.limits) }
                guard known.role >= rule.role else {
                    throw RequestError(
                        .forbidden, code: "insufficient_role", "this call takes a key of role \(rule.role.rawValue), and \(known.keyName) is of role \(known.role.rawValue)")
                }
                context.pass = try gate.enter(known.tenant, ownLimit: context.limits.concurrentRequests)
                context.call.deadline = try timeout(of: request, dialect: dialect).map { context.arrived + $0 }
                context.call.consistency = try Self.consistency(of: request)
            }
            context.logger[metadataKey: "request"] = .string(context.call.requestID.rawValue)
            context.logger[metadataKey: "tenant"] = .string(context.call.tenant.rawValue)
            let entered = context
            response = try await withDeadline(context.arrived + configuration.maximumTimeout, "the request") {
                try await withTaskExecutorPreference(Self.isShort(request) ? LoopExecutor.shared : globalConcurrentExecutor) { try await routes.respond(to: request, context: entered) }
            }
            if context.endpointPath == Self.noRoute { throw RequestError.notFound("no route \(request.method.rawValue) \(path)", code: "unknown_url") }
        } catch {
            failure = RequestError(error)
            response = dialect.response(to: failure!, requestID: context.call.requestID, seconds: context.seconds)
        }
        if request.method == .head { response = response.createHeadResponse() }
        if readiness.isDraining { response.headers[.connection] = "close" }
        response.headers[.requestID] = context.call.requestID.rawValue
        if dialect == .openAI, let rate { Self.tell(rate, &response) }
        record(request, response, failure, caller, context)
        if let caller, let event = rule.event, context.pass != nil || response.status == .forbidden {
            recordInAudit(event, rule, request, response, failure, caller, context)
        }
        if context.pass == nil, [401, 429, 503].contains(failure?.status.code) { try? await Task.sleep(for: configuration.refusalDelay) }
        return response
    }

    /// Whether its body is one that an event loop may read.
    private static func isShort(_ request: Request) -> Bool {
        guard let length = request.headers[.contentLength] else { return request.method == .get || request.method == .head }
        return Int(length).map { $0 <= LoopExecutor.mostBytes } ?? false
    }

    // MARK: Rates

    private func takeTokens(_ count: Int = 1, isOwed: Bool = false, of tenant: TenantID, _ context: GatewayContext) -> RateVerdict? {
        context.limits.requestsPerSecond.map { buckets.take(tenant, tokens: count, isOwed: isOwed, rate: $0, burst: context.limits.burst, at: context.arrived) }
    }

    private static func tooMany(_ rate: RateVerdict, _ limits: TenantLimits) -> RequestError {
        let perSecond = (limits.requestsPerSecond ?? 0).formatted(.number.grouping(.never).locale(Locale(identifier: "en_US")))
        return .tooMany("rate_limit_exceeded", "this tenant's rate is \(perSecond) requests a second, \(rate.limit) at once", rate.untilNext)
    }

    /// OpenAI's headers, of which its clients make use.
    private static func tell(_ rate: RateVerdict, _ response: inout Response) {
        response.headers[.rateLimit] = String(rate.limit)
        response.headers[.rateRemaining] = String(rate.remaining)
        response.headers[.rateReset] = rate.untilFull.inWords
    }

    // MARK: Records

    private func recordInAudit(
        _ event: String, _ rule: RouteRule, _ request: Request, _ response: Response, _ failure: RequestError?, _ caller: KeyRing.Caller, _ context: GatewayContext
    ) {
        var entry = AuditLog.Entry(event)
        entry.tenant = caller.tenant.rawValue
        entry.key = caller.keyName
        entry.role = caller.role.rawValue
        entry.request = context.call.requestID.rawValue
        let isForwarded = context.client != IPAddress(context.remoteAddress)
        entry.address = isForwarded ? context.client?.description : context.remoteAddress.map { "\($0.ipAddress ?? "?"):\($0.port ?? 0)" }
        entry.forwardedFor = request.headers[.forwardedFor].map { String($0.prefix(256)) }
        entry.route = "\(request.method.rawValue) \(Self.template(context.endpointPath ?? String(request.uri.path.prefix(256))))"
        entry.object = context.note.all
        for (name, value) in rule.object { entry.object[name] = .string(String(value.prefix(256))) }
        entry.status = response.status.code
        entry.error = failure?.message
        entry.outcome =
            switch response.status.code {
            case ..<400: "done"
            case 401, 403, 429: "denied"
            case ..<499: "refused"
            default: "failed"
            }
        do { try audit?.record(entry) } catch {
            metrics.counter("covey_audit_failures_total", help: "Lines that the audit log should have and could not be written.").add()
            logger.error("the audit log cannot be written", metadata: ["reason": "\(error)", "request": "\(context.call.requestID)", "event": "\(event)"])
        }
    }

    private static func template(_ path: String) -> String { path.hasPrefix("/") ? path : "/" + path }

    /// The same over HTTP/2, with what Hummingbird's server does around it over HTTP/1.1.
    func respond(to request: Request, over channel: any Channel, logger: Logger) async -> Response {
        var context = GatewayContext(source: ApplicationRequestContextSource(channel: channel, logger: logger))
        context.isHTTP2 = true
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

    private func record(_ request: Request, _ response: Response, _ failure: RequestError?, _ caller: KeyRing.Caller?, _ context: GatewayContext) {
        let status = String(response.status.code)
        let route = context.endpointPath ?? Self.noRoute
        let seconds = context.seconds
        metrics.counter(
            "covey_http_requests_total", help: "Requests answered, by route and status.",
            labels: [("method", request.method.rawValue), ("route", route), ("status", status)]
        ).add()
        if let caller {
            let tenant = ("tenant", metrics.tenantLabel(caller.tenant.rawValue))
            metrics.counter("covey_http_tenant_requests_total", help: "Requests answered, by tenant.", labels: [tenant]).add()
            if let failure, [403, 429, 503].contains(failure.status.code) {
                metrics.counter(
                    "covey_http_tenant_refused_total", help: "Requests refused for a role, a rate, a share or a quota, by tenant.",
                    labels: [tenant, ("reason", failure.code)]
                ).add()
            }
        } else if response.status == .unauthorized {
            metrics.counter("covey_http_unauthenticated_total", help: "Requests without a good key.").add()
        } else if let failure, failure.status == .tooManyRequests {
            metrics.refusedAddress(failure.code).add()
        }
        metrics.histogram(
            "covey_http_request_seconds", help: "Time until a response began, by route.", labels: [("route", route)]
        ).observe(seconds)
        metrics.gauge("covey_http_requests_inside", help: "Requests at work.").set(Double(gate.inside))

        var metadata: Logger.Metadata = [
            "request": .string(context.call.requestID.rawValue), "tenant": .string(caller?.tenant.rawValue ?? ""),
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
    static let forwardedFor = Self("x-forwarded-for")!
    static let rateLimit = Self("x-ratelimit-limit-requests")!
    static let rateRemaining = Self("x-ratelimit-remaining-requests")!
    static let rateReset = Self("x-ratelimit-reset-requests")!
    static let retryAfterMilliseconds = Self("retry-after-ms")!
    static let shouldRetry = Self("x-should-retry")!
    /// `fail` or `degrade`: see ``Model/PartialPolicy``. For clients that cannot add a field to the body.
    static let partial = Self("covey-partial")!
    /// `strong`, `bounded:<milliseconds>` or `eventual`: see ``Model/Consistency``.
    static let consistency = Self("covey-consistency")!
}

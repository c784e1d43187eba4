import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Model
import NIOCore
import NIOHTTPTypes
import Synchronization
import Transport

/// What the middleware found out about a request, for the routes.
struct GatewayContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    var call: CallContext
    let arrived: ContinuousClock.Instant
    /// Whether the caller may see what concerns all tenants.
    var isOperator = false
    /// Over HTTP/2 the request's task is cancelled when its client goes away; over HTTP/1.1 the connection has to be watched for that.
    var isHTTP2 = false
    /// Of the caller's tenant.
    var limits = TenantLimits()
    /// Takes further tokens of the tenant's rate, for a request that does the work of several.
    var spend: @Sendable (Int) -> Void = { _ in }
    /// What the audit log is to say of the call beside the names in its path.
    let note = AuditNote()
    let remoteAddress: SocketAddress?
    private let channel: any Channel
    /// Whose request it is, a trusted proxy having been believed.
    var client: IPAddress?
    /// Held while the request is at work; a streamed response takes it along.
    var pass: AdmissionGate.Pass?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        call = CallContext(requestID: .random(), tenant: .default)
        arrived = .now
        remoteAddress = source.channel.remoteAddress
        channel = source.channel
    }

    /// Tells a client of HTTP/1.1 that waits for it with its body (`Expect: 100-continue`) to send it: RFC 9110, 10.1.1.
    func invite(bodyOf request: Request) {
        guard !isHTTP2, request.expectsContinue else { return }
        channel.writeAndFlush(HTTPResponsePart.head(HTTPResponse(status: .continue)), promise: nil)
    }

    var seconds: Double { (ContinuousClock.now - arrived).seconds }

    /// A part of the path, decoded.
    func parameter(_ name: String) throws -> String {
        guard let text = parameters.get(name) else { throw RequestError(.internalServerError, code: "internal", "route without \(name)") }
        guard let value = text.removingPercentEncoding else { throw RequestError.invalid(name, "\(name) in the path is not UTF-8") }
        return value
    }
}

/// What a route found out about what it is asked to do, for the audit log.
final class AuditNote: Sendable {
    private let fields = Mutex<[String: JSONValue]>([:])

    subscript(name: String) -> JSONValue? {
        get { fields.withLock { $0[name] } }
        set { fields.withLock { $0[name] = newValue } }
    }
    var all: [String: JSONValue] { fields.withLock { $0 } }
}

extension Request {
    var expectsContinue: Bool { headers[.expect]?.lowercased() == "100-continue" }

    /// Runs `work` on a request whose body has been read, and cancels it when the client goes away. Over HTTP/1.1 that takes the connection, which
    /// must be closed afterwards.
    func whileClientStays<Value: Sendable>(_ context: GatewayContext, _ work: () async throws -> Value) async throws -> Value {
        if context.isHTTP2 {
            // Whatever the work makes of its cancellation.
            do { return try await work() } catch where Task.isCancelled { throw CancellationError() }
        }
        return try await body.consumeWithCancellationOnInboundClose { _ in try await work() }
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// Runs `work`, which is cancelled when `deadline` has passed.
///
/// - Throws: what `work` throws, or `deadlineExceeded`.
func withDeadline<Value: Sendable>(
    _ deadline: ContinuousClock.Instant?, _ what: String, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    guard let deadline else { return try await work() }
    return try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await DeadlineClock.onLoops.sleep(deadline)
            throw ClusterError(.deadlineExceeded, "\(what) took longer than the request's deadline")
        }
        defer { group.cancelAll() }
        return try await group.next()!
    }
}

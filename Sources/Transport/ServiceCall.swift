import Model

/// What a request says about itself besides its message.
struct ServiceCall: Sendable {
    var requestID: RequestID
    var deadline: ContinuousClock.Instant?
    var consistency = Consistency.strong

    func context(_ tenant: TenantID) -> CallContext {
        CallContext(requestID: requestID, tenant: tenant, deadline: deadline, consistency: consistency)
    }
}

/// How a method is served: a message in, a message or several out. Runs outside the event loop.
enum Route: Sendable {
    case unary(@Sendable ([UInt8], ServiceCall) async throws(ClusterError) -> [UInt8])
    case streaming(@Sendable ([UInt8], ServiceCall, ReplyWriter) async throws(ClusterError) -> Void)
}

/// Takes the messages of a streamed reply.
struct ReplyWriter: Sendable {
    /// Sends one message; suspends while more than `streamHighWaterBytes` wait for the reader.
    ///
    /// - Throws: `cancelled` once nobody reads any more.
    let write: @Sendable ([UInt8]) async throws(ClusterError) -> Void
}

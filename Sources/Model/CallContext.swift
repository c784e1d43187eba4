/// What travels with a call from hop to hop: who asks, under which name it is logged, until when an answer is of use, and how fresh it
/// has to be.
///
/// Cancellation is not here: it is the cancellation of the task that makes the call.
package struct CallContext: Sendable {
    package var requestID: RequestID
    package var tenant: TenantID
    package var deadline: ContinuousClock.Instant?
    /// Of a read; writes do not look at it.
    package var consistency: Consistency
    /// What the caller says makes a write one, however often it is sent (protocol, H19); `nil`: each is one of its own.
    package var idempotencyKey: RequestID?
    /// What the caller may touch of the tenant's. The coordinator looks at it; it is not sent to shard nodes.
    package var scope: CollectionScope

    package init(requestID: RequestID, tenant: TenantID, deadline: ContinuousClock.Instant? = nil, consistency: Consistency = .strong, scope: CollectionScope = .all) {
        self.scope = scope
        self.consistency = consistency
        self.requestID = requestID
        self.tenant = tenant
        self.deadline = deadline
    }

    /// Time left until the deadline, never negative; `nil` without one.
    package var remaining: Duration? { deadline.map { max(.zero, ContinuousClock.now.duration(to: $0)) } }
}

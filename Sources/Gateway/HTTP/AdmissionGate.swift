import HTTPTypes
import Model
import Synchronization

/// Bounds the requests at work, all together and per tenant. Nobody waits here: a refusal at once is what a client can act on.
///
/// A tenant may have as many requests at work as there are places left, and no more than its own limit: one that floods gets half of the places at
/// most, two of them a third each, and there is always room for those who ask little.
///
/// - SeeAlso: Choudhury, Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking 6(2), 1998.
package final class AdmissionGate: Sendable {
    private struct State {
        var total = 0
        var perTenant: [TenantID: Int] = [:]
    }

    private let state = Mutex(State())
    private let limit: Int
    private let limitPerTenant: Int?

    /// - Parameter limitPerTenant: Of tenants that have no limit of their own; `nil` if there is but one tenant, who may take all places.
    package init(limit: Int, limitPerTenant: Int?) {
        self.limit = limit
        self.limitPerTenant = limitPerTenant
    }

    package var inside: Int { state.withLock { $0.total } }

    /// - Parameter ownLimit: The tenant's own limit.
    /// - Throws: 503 if the gateway is full, 429 if the tenant has its share; both with `Retry-After`.
    package func enter(_ tenant: TenantID, ownLimit: Int? = nil) throws(RequestError) -> Pass {
        let refusal: RequestError? = state.withLock { state in
            if state.total >= limit {
                return RequestError(.serviceUnavailable, code: "overloaded", "too many requests are at work; try again", retryAfterSeconds: 1)
            }
            let own = state.perTenant[tenant, default: 0]
            let share = limitPerTenant.map { min(ownLimit ?? $0, limit - state.total) } ?? ownLimit ?? limit
            if own >= share {
                return RequestError(
                    .tooManyRequests, code: "rate_limit_exceeded",
                    "\(own) requests of this tenant are at work, which is its share; try again when one is done", retryAfterSeconds: 1)
            }
            state.total += 1
            state.perTenant[tenant] = own + 1
            return nil
        }
        if let refusal { throw refusal }
        return Pass(gate: self, tenant: tenant)
    }

    private func leave(_ tenant: TenantID) {
        state.withLock { state in
            state.total -= 1
            let left = state.perTenant[tenant, default: 1] - 1
            state.perTenant[tenant] = left == 0 ? nil : left
        }
    }

    /// A place inside. It is given back when the last reference goes, so a response that is never written cannot keep it.
    package final class Pass: Sendable {
        private let gate: AdmissionGate
        private let tenant: TenantID

        fileprivate init(gate: AdmissionGate, tenant: TenantID) {
            self.gate = gate
            self.tenant = tenant
        }

        deinit { gate.leave(tenant) }
    }
}

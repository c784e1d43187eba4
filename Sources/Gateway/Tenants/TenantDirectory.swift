import Model
import Synchronization

/// Who may call and how much each may take; replaced as a whole while requests are served.
package final class TenantDirectory: Sendable {
    package struct Contents: Sendable {
        package var keys: KeyRing
        /// Of tenants that have limits of their own.
        package var limits: [TenantID: TenantLimits]
        /// Of all others, and where a tenant's own say nothing.
        package var defaults: TenantLimits

        package init(keys: KeyRing, limits: [TenantID: TenantLimits] = [:], defaults: TenantLimits = TenantLimits()) {
            self.keys = keys
            self.limits = limits
            self.defaults = defaults
        }
    }

    /// Whether everyone may call without a key; it stays as it was at first, so no change of keys ever opens the gateway.
    package let isOpen: Bool
    private let current: Mutex<Contents>

    package init(_ contents: Contents) {
        isOpen = contents.keys.isOpen
        current = Mutex(contents)
    }

    /// Counts from the next request on.
    package func replace(with contents: Contents) {
        precondition(contents.keys.isOpen == isOpen, "a gateway with keys cannot become one without")
        current.withLock { $0 = contents }
    }

    package var keys: KeyRing { current.withLock { $0.keys } }

    package func limits(of tenant: TenantID) -> TenantLimits { current.withLock { ($0.limits[tenant] ?? TenantLimits()).over($0.defaults) } }

    /// Who has a key.
    package var tenants: [TenantID] { keys.tenants }
}

/// What one tenant may take. `nil` in any of them: no limit of its own.
package struct TenantLimits: Hashable, Sendable {
    /// Requests a second, on average, at each coordinator.
    package var requestsPerSecond: Double?
    /// Requests at once after a pause. Without one: a second's.
    package var burst: Int?
    /// Requests at work at the same time, at each coordinator.
    package var concurrentRequests: Int?
    /// Bytes of a request's body, files included; the gateway's own limits hold besides.
    package var bodyBytes: Int?
    package var collections: Int?
    /// Points of all collections, chunks of documents included.
    package var points: Int?
    /// Uploaded files.
    package var files: Int?
    /// Snapshots that the tenant keeps in the store.
    package var snapshots: Int?

    package init() {}

    /// These, and the others' where these say nothing.
    package func over(_ defaults: TenantLimits) -> TenantLimits {
        var limits = self
        limits.requestsPerSecond = requestsPerSecond ?? defaults.requestsPerSecond
        // A bucket that was sized for another rate says nothing about this one.
        limits.burst = burst ?? (requestsPerSecond == nil ? defaults.burst : nil)
        limits.concurrentRequests = concurrentRequests ?? defaults.concurrentRequests
        limits.bodyBytes = bodyBytes ?? defaults.bodyBytes
        limits.collections = collections ?? defaults.collections
        limits.points = points ?? defaults.points
        limits.files = files ?? defaults.files
        limits.snapshots = snapshots ?? defaults.snapshots
        return limits
    }
}

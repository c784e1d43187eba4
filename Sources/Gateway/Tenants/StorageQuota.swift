import Coordination
import Model
import Sharding
import Storage
import Synchronization

/// Holds tenants to what they may store, all coordinators together.
///
/// What there is is counted at the shards and in the store, not kept in step: of two calls at the same moment both may pass. Points are counted
/// anew at most every ``countInterval`` a tenant, and in between what this coordinator wrote is added as if it were all new, so a tenant that
/// writes through N coordinators may be above its limit by what N − 1 of them wrote within that time. Tenants without a limit cost nothing; counting opens every shard
/// of the tenant.
struct StorageQuota: Sendable {
    let coordinator: Coordinator
    let store: any ObjectStore
    let tenants: TenantDirectory
    private let counts = Counts()

    private static let countInterval: Duration = .seconds(10)
    /// Close to the limit the shards are asked again, but not more often.
    private static let leastInterval: Duration = .seconds(1)

    private final class Counts: Sendable {
        struct Count {
            var points: Int
            var added = 0
            var at: ContinuousClock.Instant
        }
        let byTenant = Mutex<[TenantID: Count]>([:])
    }

    init(coordinator: Coordinator, store: any ObjectStore, tenants: TenantDirectory) {
        self.coordinator = coordinator
        self.store = store
        self.tenants = tenants
    }

    /// - Throws: 403 if the tenant has as many collections as it may.
    func admitCollection(_ context: CallContext) async throws {
        guard let limit = tenants.limits(of: context.tenant).collections else { return }
        let count = try await coordinator.collections(context: context.ofTenant).count
        guard count < limit else { throw Self.exceeded("collections", has: count, limit, context) }
    }

    /// - Throws: 403 if the tenant has as many files as it may.
    func admitFile(_ files: UploadedFiles, _ context: CallContext) async throws {
        guard let limit = tenants.limits(of: context.tenant).files else { return }
        let count = try await files.ids(tenant: context.tenant).count
        guard count < limit else { throw Self.exceeded("files", has: count, limit, context) }
    }

    /// - Throws: 403 if the tenant has as many snapshots as it may.
    func admitSnapshot(_ context: CallContext) async throws {
        guard let limit = tenants.limits(of: context.tenant).snapshots else { return }
        let count = try await SnapshotShelf(store: store, tenant: context.tenant).list().count
        guard count < limit else { throw Self.exceeded("snapshots", has: count, limit, context) }
    }

    /// - Parameter added: Points of the call, each taken for a new one.
    /// - Throws: 403 if the tenant would have more points than it may.
    func admitPoints(_ added: Int, _ context: CallContext) async throws {
        guard added > 0, let limit = tenants.limits(of: context.tenant).points else { return }
        for staleness in [Self.countInterval, Self.leastInterval] {
            let count = try await count(notOlderThan: staleness, context)
            let isAdmitted = counts.byTenant.withLock { known in
                let taken = known[context.tenant]?.added ?? count.added
                guard count.points + taken + added <= limit else { return false }
                known[context.tenant]?.added = taken + added
                return true
            }
            if isAdmitted { return }
        }
        let count = try await count(notOlderThan: Self.countInterval, context)
        throw Self.exceeded("points", has: count.points + count.added, limit, context, more: added)
    }

    private func count(notOlderThan staleness: Duration, _ context: CallContext) async throws -> Counts.Count {
        let now = ContinuousClock.now
        if let known = counts.byTenant.withLock({ $0[context.tenant] }), known.at.duration(to: now) < staleness { return known }
        let count = Counts.Count(points: try await points(context), at: now)
        counts.byTenant.withLock { known in
            // Rare and simple: what is old is of no use.
            if known.count > 10_000 { known = known.filter { $0.value.at.duration(to: now) < Self.countInterval } }
            known[context.tenant] = count
        }
        return count
    }

    private func points(_ context: CallContext) async throws(ClusterError) -> Int {
        var points = 0
        let context = context.ofTenant
        for schema in try await coordinator.collections(context: context) {
            do throws(ClusterError) {
                let status = try await coordinator.status(of: CollectionName(schema.name), context: context)
                points += status.points + status.gaps.reduce(0) { $0 + ($1.pointsLastKnown ?? 0) }
            } catch where error.code == .notFound {
                // Dropped since it was listed.
            }
        }
        return points
    }

    /// A key that is bound to collections is not told how much there is of the others.
    private static func exceeded(_ what: String, has count: Int, _ limit: Int, _ context: CallContext, more: Int = 1) -> RequestError {
        let has = context.scope == .all ? "this tenant has \(count) \(what), and " : ""
        return RequestError(.forbidden, code: "quota_exceeded", "\(has)\(more) more \(has.isEmpty ? what + " " : "")would be above \(has.isEmpty ? "this tenant's" : "its") limit of \(limit)")
    }
}

extension CallContext {
    /// The same call, of all that the tenant has.
    fileprivate var ofTenant: CallContext {
        var context = self
        context.scope = .all
        return context
    }
}

import Model
import Synchronization

/// The plans of collections in use, each looked up anew once it is older than ``CoordinatorConfiguration/schemaStaleness``.
final class PlanCache: Sendable {
    struct Key: Hashable {
        var tenant: TenantID
        var name: CollectionName
    }
    private struct Entry {
        var plan: CollectionPlan
        var checkedAt: ContinuousClock.Instant
    }
    private let entries = Mutex<[Key: Entry]>([:])
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// The plan, and whether this caller is to check that it still holds: one caller per interval is, the others go on.
    func plan(_ key: Key, now: ContinuousClock.Instant, staleness: Duration) -> (plan: CollectionPlan, mustCheck: Bool)? {
        entries.withLock { entries in
            guard let entry = entries[key] else { return nil }
            let mustCheck = entry.checkedAt.duration(to: now) >= staleness
            if mustCheck { entries[key]!.checkedAt = now }
            return (entry.plan, mustCheck)
        }
    }

    /// Keeps the plan unless one as new or newer is known; returns the one that is kept.
    func keep(_ plan: CollectionPlan, for key: Key, now: ContinuousClock.Instant) -> CollectionPlan {
        entries.withLock { entries in
            if let known = entries[key], known.plan.version > plan.version || known.plan.version == plan.version && known.plan.isAsNew(as: plan) { return known.plan }
            // Rare and simple: a full cache is emptied of its older half.
            if entries.count >= limit {
                let middle = entries.values.map(\.checkedAt).sorted()[entries.count / 2]
                entries = entries.filter { $0.value.checkedAt > middle }
            }
            entries[key] = Entry(plan: plan, checkedAt: now)
            return plan
        }
    }

    var all: [CollectionPlan] { entries.withLock { $0.values.map(\.plan) } }

    func drop(_ key: Key) { entries.withLock { $0[key] = nil } }
}

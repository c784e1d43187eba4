import Model
import Storage

/// Walks a store and checks every object's checksum and every reference, by reading alone: `covey verify`.
///
/// It may run beside a cluster that writes. What looks wrong is judged again after the newest manifest or record was read again: objects
/// named by what is still the newest must be there, and whatever it does not name may be in the making. So a finding is a fact, not a
/// moment's impression.
///
/// Memory: the keys of one tenant. Cost: a listing of everything, another one of each shard, and every object read once but for what is superseded.
package struct StoreAudit: Sendable {
    let store: any ObjectStore
    /// Before a reference is judged that two puts or deletes in a row make and break, so that both are over.
    let pause: @Sendable () async -> Void
    let threads: WorkerThreads

    /// - Parameter threads: See ``WorkerThreads``.
    package init(store: any ObjectStore, threads: Int = 2, pause: @escaping @Sendable () async -> Void = { try? await Task.sleep(for: .seconds(2)) }) {
        self.store = store
        self.pause = pause
        self.threads = WorkerThreads(name: "verify", count: threads, limit: 1_024)
    }

    /// - Parameters:
    ///   - tenant: Only this one's objects; `nil` for all of the store.
    ///   - report: Gets each tenant as soon as it was walked.
    /// - Returns: What was found outside of any tenant.
    /// - Throws: what the store said if it cannot be read.
    package func run(tenant only: TenantID? = nil, report: (TenantAudit) async -> Void) async throws(ClusterError) -> [StoreFinding] {
        var outside: [StoreFinding] = []
        var (tenant, keys): (TenantID?, [String]) = (only, [])
        var last: String?
        let prefix = only.map(StoreKey.tenant) ?? ""
        while true {
            let after = last
            let page = try await stored { () throws(StoreError) in try await store.list(prefix: prefix, after: after, limit: 1_000) }
            for key in page {
                // All keys of a tenant stand together, whatever the store's order.
                let owner = tenant.flatMap { key.hasPrefix(StoreKey.tenant($0)) ? $0 : nil } ?? KeyPlace.tenant(of: key)
                if owner != tenant, let done = tenant {
                    await report(try await audit(done, keys))
                    keys = []
                }
                tenant = owner
                if owner != nil { keys.append(key) } else if let finding = try await judgeOutside(key) { outside.append(finding) }
            }
            guard page.count == 1_000 else { break }
            last = page.last
        }
        if let tenant { await report(try await audit(tenant, keys)) }
        return outside
    }

    private func audit(_ tenant: TenantID, _ keys: [String]) async throws(ClusterError) -> TenantAudit {
        var walk = TenantWalk(tenant: tenant, keys: keys, audit: self)
        return try await walk.run()
    }

    private func judgeOutside(_ key: String) async throws(ClusterError) -> StoreFinding? {
        if key.hasPrefix(StoreKey.clusterRecords), StoreKey.manifestVersion(at: key) != nil {
            let bytes = try await stored { () throws(StoreError) in try await store.get(key) }
            do throws(ClusterError) { _ = try ClusterRegistry.record(at: key, bytes) } catch { return StoreFinding(.damaged, key, error.message) }
            return nil
        }
        return key.hasPrefix("covey-probe/")
            ? StoreFinding(.pending, key, "a starting node tries the store out with it")
            : ErasureMark(key: key) != nil ? StoreFinding(.pending, key, "the shard holds deleted or overwritten points, to be erased")
            : key == SnapshotRecord.key ? StoreFinding(.pending, key, "the store is a snapshot")
            : StoreFinding(.orphan, key, "no tenant's, and nothing that Covey puts there")
    }
}

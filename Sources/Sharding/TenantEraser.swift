import Logging
import Model
import Observability
import Storage

/// Erases everything of a tenant, in a store beside whatever cluster runs on it: collections, uploaded files, snapshots.
package struct TenantEraser: Sendable {
    let store: any ObjectStore
    let tenant: TenantID

    package init(store: any ObjectStore, tenant: TenantID) {
        self.store = store
        self.tenant = tenant
    }

    private static let attempts = 5

    /// Ends every collection, so that no owner can write any more, and deletes what the tenant has but for what tells a sleeping owner that
    /// it was deposed: fences, and records of names. Doing it again does no harm, and deletes what calls on their way have put since.
    ///
    /// - Returns: Collections that were ended.
    package func erase() async throws(ClusterError) -> Int {
        let registry = SchemaRegistry(store: store)
        var ended = 0
        for (name, record) in try await registry.all(of: tenant).found where !record.isDropped {
            if try await registry.drop(name, tenant: tenant) != nil { ended += 1 }
        }
        let node = ShardNode(
            node: NodeID("drop-tenant"), store: store, metrics: Metrics(), logger: Logger(label: "drop-tenant") { _ in SwiftLogNoOpLogHandler() })
        var shards: Set<ShardID> = []
        for key in try await listed(StoreKey.tenant(tenant) + "c/") {
            switch KeyPlace(key, of: tenant) {
            case .shard(let incarnation, let index, _): shards.insert(ShardID(tenant: tenant, incarnation: incarnation, index: index))
            case .schema(let incarnation):
                // One that was never written must refuse writes from now on, too.
                guard let bytes = try? await store.get(key), let schema = try? CollectionSchema(stored: bytes), (try? schema.validate()) != nil else { continue }
                shards.formUnion((0..<schema.shardCount).map { ShardID(tenant: tenant, incarnation: incarnation, index: $0) })
            default: break
            }
        }
        var failure: ClusterError?
        var waiting = shards.sorted { ($0.incarnation.rawValue, $0.index) > ($1.incarnation.rawValue, $1.index) }
        while let shard = waiting.popLast() {
            // An owner that is still at work may be first a few times.
            for attempt in 1...Self.attempts {
                do throws(ClusterError) {
                    try await node.drop(DropRequest(shard: shard), context: CallContext(requestID: .random(), tenant: tenant))
                    break
                } catch {
                    // Of one that was split only fences are left; its halves are among the others. One that two were merged into may have no object yet.
                    if error.code == .outOfRange {
                        let merged = error.successor.map { ShardID(tenant: tenant, incarnation: shard.incarnation, index: $0) }
                        if let merged, shards.insert(merged).inserted { waiting.append(merged) }
                        break
                    }
                    if attempt == Self.attempts || !error.isRetryable { failure = failure ?? error }
                }
            }
        }
        await node.close()
        try await delete(try await listed(StoreKey.files(of: tenant)) + listed(StoreKey.snapshots(of: tenant)))
        try await delete(try await listed(ErasureMark.prefix).filter { ErasureMark(key: $0)?.shard.tenant == tenant })
        if let failure { throw failure }
        return ended
    }

    /// Deletes every object of the tenant, fences and names too: for when no process can be alive that served it.
    package func eraseFinally() async throws(ClusterError) {
        _ = try await erase()
        try await delete(try await listed(StoreKey.tenant(tenant)))
    }

    private func listed(_ prefix: String) async throws(ClusterError) -> [String] {
        try await stored { () throws(StoreError) in try await store.listAll(prefix: prefix) }
    }

    private func delete(_ keys: [String]) async throws(ClusterError) {
        try await stored { () throws(StoreError) in try await store.delete(keys) }
    }
}

import Model
import Storage

/// Bytes that are superseded and still in the store.
package struct ErasureProgress: Hashable, Sendable {
    /// Shards rewritten since.
    package var erased = 0
    /// Shards whose time has not come.
    package var waiting = 0
    /// Shards that could not be rewritten; they are tried again.
    package var failed = 0

    package init(erased: Int = 0, waiting: Int = 0, failed: Int = 0) {
        self.erased = erased
        self.waiting = waiting
        self.failed = failed
    }
}

extension Coordinator {
    /// Has each shard rewritten in which something was deleted or overwritten half the erasure deadline ago, so that there is time to try again:
    /// afterwards no object holds it. Of all tenants; what is at rest costs nothing.
    ///
    /// - Parameter now: Seconds since 1970.
    package func finishErasures(now: Int64) async throws(ClusterError) -> ErasureProgress {
        var marks: [ShardID: [ErasureMark]] = [:]
        do {
            for key in try await store.listAll(prefix: ErasureMark.prefix) {
                if let mark = ErasureMark(key: key) { marks[mark.shard, default: []].append(mark) }
            }
        } catch { throw ClusterError(error) }
        let latest = now - Int64(configuration.erasureDeadline.components.seconds) / 2
        // A mark of the future is of a clock that went wrong.
        let due = marks.filter { $0.value.contains { Int64(clamping: $0.markedAt) <= latest || Int64(clamping: $0.markedAt) > now + Self.clockError } }
        var progress = ErasureProgress(waiting: marks.count - due.count)
        let order = due.sorted { $0.value.map(\.markedAt).min()! < $1.value.map(\.markedAt).min()! }
        for start in stride(from: 0, to: order.count, by: Self.rewrittenAtOnce) where !Task.isCancelled {
            await withTaskGroup(of: Bool.self) { group in
                for (shard, marks) in order[start..<min(start + Self.rewrittenAtOnce, order.count)] {
                    group.addTask { await self.rewrite(shard, marks) }
                }
                for await isErased in group {
                    if isErased { progress.erased += 1 } else { progress.failed += 1 }
                }
            }
        }
        metrics.gauge("covey_erasures_pending", help: "Shards that hold deleted or overwritten points to be erased.").set(Double(progress.waiting + progress.failed))
        return progress
    }

    /// Seconds by which nodes' clocks may differ. Reason: what S3 services allow.
    private static let clockError: Int64 = 900
    /// Shards rewritten at once. Reason: a node builds one segment at a time, so this reaches a few nodes.
    private static let rewrittenAtOnce = 8

    /// - Parameter marks: All of the shard's: those that come later may stand for later writes.
    private func rewrite(_ shard: ShardID, _ marks: [ErasureMark]) async -> Bool {
        let context = CallContext(requestID: .random(), tenant: shard.tenant, deadline: clock.now() + configuration.sealTimeout)
        do {
            do {
                let schema = try CollectionSchema(stored: try await store.get(StoreKey.schema(shard.incarnation, of: shard.tenant)))
                let name = try CollectionName(schema.name)
                let plan = makePlan(SchemaRegistry.Record(version: 0, isDropped: false, schema: schema), name, shard.tenant)
                if let target = target(of: shard, schema) {
                    _ = try await atOwner(of: target, plan, context) { (service, takeover, context) throws(ClusterError) in
                        try await service.seal(SealRequest(shard: shard, takeover: takeover), context: context)
                    }
                }
            } catch let error as StoreError {
                // A collection that is gone was erased as a whole; so was a shard that was split.
                guard case .notFound = error else { throw error }
            } catch let error as ClusterError where error.code == .notFound || error.code == .outOfRange {}
            try await store.delete(marks.map(\.key))
            return true
        } catch {
            log(.warning, "deleted points could not be erased yet", ["shard": "\(shard)", "error": "\(error)"], context)
            return false
        }
    }
}

extension ShardService {
    /// Makes a call that is given up when this node does not even say that it lives, or cannot reach the store that the call needs; one that is
    /// only slow is waited for.
    ///
    /// - Parameters:
    ///   - shard: The one that the call is about, if it waits for the store and for nothing that takes long: then the node is asked whether it reaches it.
    ///   - probesFirst: Whether it is asked for a sign of life before the call, too.
    /// - Returns: What the call does, or `unavailable` with the reason, at most twice ``NodeProbe/interval`` after the last sign of life, or `deadlineExceeded`.
    package func watched<Reply: Sendable>(
        _ shard: ShardID?, _ context: CallContext, clock: DeadlineClock, probesFirst: Bool = false,
        _ call: @escaping @Sendable (CallContext) async throws(ClusterError) -> Reply
    ) async -> Result<Reply, ClusterError> {
        let probe = NodeProbe(service: self, shard: shard, context: context, clock: clock)
        if probesFirst, let error = await probe.failure() { return .failure(error) }
        return await withTaskGroup(of: Watched<Reply>.self) { group in
            group.addTask {
                do throws(ClusterError) { return .answered(.success(try await call(context))) } catch { return .answered(.failure(error)) }
            }
            group.addTask {
                while true {
                    do { try await clock.sleep(clock.now() + NodeProbe.interval) } catch { return .silent(ClusterError(.cancelled, "answered")) }
                    // Nobody waits for the answer any more, whatever became of it.
                    if let deadline = context.deadline, clock.now() >= deadline { return .silent(ClusterError(.deadlineExceeded, "the deadline passed before the answer came")) }
                    if let error = await probe.failure() { return .silent(error) }
                }
            }
            let first = await group.next()!
            group.cancelAll()
            switch first {
            case .answered(let result): return result
            case .silent(let error):
                // The call may have been answered while the probe ran out.
                while let event = await group.next() { if case .answered(.success(let reply)) = event { return .success(reply) } }
                return .failure(error)
            }
        }
    }
}

private enum Watched<Reply: Sendable>: Sendable {
    case answered(Result<Reply, ClusterError>)
    case silent(ClusterError)
}

/// Asks a node whether it could carry out a call that needs the store.
package struct NodeProbe: Sendable {
    /// Time between two probes, and for the answer to one. Reason: together they leave a takeover the second half of its two seconds.
    package static let interval: Duration = .milliseconds(500)
    let service: any ShardService
    let shard: ShardID?
    let context: CallContext
    let clock: DeadlineClock

    /// Why the node does not say so.
    func failure() async -> ClusterError? {
        let end = clock.now() + Self.interval
        do throws(ClusterError) {
            return try await clock.limited(until: end, else: ClusterError(.deadlineExceeded, "no sign of life within \(Self.interval)")) {
                () throws(ClusterError) in
                let request = StatusRequest(shards: shard.map { [$0] } ?? [], nodeOnly: true)
                _ = try await service.status(request, context: CallContext(requestID: context.requestID, tenant: context.tenant, deadline: end))
                return nil
            }
        } catch { return ClusterError(.unavailable, "the node does not answer: \(error.message)") }
    }
}

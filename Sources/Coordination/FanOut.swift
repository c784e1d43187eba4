import Logging
import Model
import Observability

/// Asks several shards at once, until a deadline.
///
/// A call that is not answered by then is cancelled and counts as `deadlineExceeded`; services return promptly from a
/// cancelled call. A call that fails as `unavailable` is repeated once, at once, where repeating does no harm: most often a
/// connection broke because its node was restarted, and the next one works.
struct FanOut: Sendable {
    let clock: DeadlineClock
    let metrics: Metrics
    let method: String
    let context: CallContext
    let deadline: ContinuousClock.Instant
    var mayRepeat = true

    /// One result per target, in the order of the targets.
    func ask<Reply: Sendable>(
        _ targets: [ShardTarget], _ call: @escaping @Sendable (ShardTarget, CallContext) async throws(ClusterError) -> Reply
    ) async -> [Result<Reply, ClusterError>] {
        let started = clock.now()
        return await withTaskGroup(of: Event<Reply>.self) { group in
            for (index, target) in targets.enumerated() {
                group.addTask { .answered(index, await attempt(target, call)) }
            }
            group.addTask {
                do { try await clock.sleep(deadline) } catch { return .timerStopped }
                return .timeIsUp
            }
            var results = [Result<Reply, ClusterError>?](repeating: nil, count: targets.count)
            var unanswered = targets.count
            var isTimeUp = false
            while unanswered > 0, let event = await group.next() {
                switch event {
                case .answered(let index, let result):
                    results[index] = result
                    unanswered -= 1
                    if isTimeUp, case .failure(let error) = result, error.code == .cancelled {
                        results[index] = .failure(ClusterError(.deadlineExceeded, "no answer within \(started.duration(to: deadline).inSeconds)"))
                    }
                case .timeIsUp:
                    isTimeUp = true
                    group.cancelAll()
                case .timerStopped: break
                }
            }
            group.cancelAll()
            for (target, result) in zip(targets, results) {
                guard case .failure(let error) = result else { continue }
                let labels = [("node", target.node.rawValue), ("method", method), ("code", "\(error.code)")]
                metrics.counter("covey_shard_call_failures_total", help: "Calls to shards that failed.", labels: labels).add()
            }
            return results.map { $0! }
        }
    }

    private enum Event<Reply: Sendable>: Sendable {
        case answered(Int, Result<Reply, ClusterError>)
        case timeIsUp
        case timerStopped
    }

    private func attempt<Reply: Sendable>(
        _ target: ShardTarget, _ call: @Sendable (ShardTarget, CallContext) async throws(ClusterError) -> Reply
    ) async -> Result<Reply, ClusterError> {
        var context = context
        context.deadline = deadline
        let started = clock.now()
        var result = await Result(catching: call, target, context)
        if mayRepeat, !Task.isCancelled, case .failure(let error) = result, error.code == .unavailable, clock.now() < deadline {
            result = await Result(catching: call, target, context)
        }
        let labels = [("node", target.node.rawValue), ("method", method)]
        metrics.histogram("covey_shard_call_seconds", help: "Time of calls to shards, by node and method.", labels: labels)
            .observe(started.duration(to: clock.now()))
        return result
    }
}

extension Result where Failure == ClusterError, Success: Sendable {
    fileprivate init(
        catching call: @Sendable (ShardTarget, CallContext) async throws(ClusterError) -> Success, _ target: ShardTarget, _ context: CallContext
    ) async {
        do throws(ClusterError) { self = .success(try await call(target, context)) } catch { self = .failure(error) }
    }
}

extension Duration {
    /// For messages: `1.5 s`.
    var inSeconds: String {
        let (seconds, attoseconds) = components
        let milliseconds = (Double(seconds) * 1_000 + Double(attoseconds) * 1e-15).rounded()
        return "\(milliseconds / 1_000) s"
    }
}

import Logging
import Model
import Observability
import Synchronization

/// Asks several shards at once, until a deadline.
///
/// A call that is not answered by then is cancelled and counts as `deadlineExceeded`; services return promptly from a
/// cancelled call.
struct FanOut: Sendable {
    enum Mode: Sendable {
        /// Any replica will do: another is asked when one fails, or is slow.
        case read
        /// One after the other, until one does not fail.
        case inTurn
        /// The one that is chosen.
        case chosen
        /// The call finds the shard's owner itself.
        case owner
    }

    let clock: DeadlineClock
    let metrics: Metrics
    let hedging: HedgeRule
    /// Knows who owns the shards.
    let plan: CollectionPlan?
    let method: String
    let context: CallContext
    let deadline: ContinuousClock.Instant
    var mode = Mode.read
    /// Whether an answer without some of the shards will do, and a `strong` read is answered by what a replica has when none can tell what is
    /// current; those shards are in ``unverified``.
    var mayDegrade = false
    let unverified = Unverified()

    /// Shards that answered without knowing what is current, and why they could not know.
    final class Unverified: Sendable {
        private let reasons = Mutex<[ShardID: ClusterError]>([:])
        var all: [ShardID: ClusterError] { reasons.withLock { $0 } }
        fileprivate func note(_ shard: ShardID, _ reason: ClusterError) { reasons.withLock { $0[shard] = reason } }
    }

    typealias Call<Reply> = @Sendable (ShardTarget, CallContext) async throws(ClusterError) -> Reply

    /// For how long a read asks again where no replica can be reached, at most. Reason: a node that is back, or a network that is whole again, is
    /// noticed within a second (`PeerConfiguration.maximumBackOff`).
    private static let patience: Duration = .seconds(2)
    /// Shards whose replicas have all been away for longer are not waited for.
    private static let hope: Duration = .seconds(30)
    /// Before the second attempt; four times as long before each that follows, up to the longest.
    private static let firstPause: Duration = .milliseconds(20)
    private static let longestPause: Duration = .milliseconds(320)

    /// One result per target, in the order of the targets.
    ///
    /// A read that would come to nothing, since no replica can be reached, is tried again for a while: when none of the shards answered, and when one is
    /// missing that the caller cannot do without.
    func ask<Reply: Sendable>(_ targets: [ShardTarget], _ call: @escaping Call<Reply>) async -> [Result<Reply, ClusterError>] {
        var results = await askOnce(targets, call)
        if mode == .read {
            let end = min(deadline, clock.now() + Self.patience)
            var pause = Self.firstPause
            while !Task.isCancelled {
                let silent = targets.indices.filter { if case .failure(let error) = results[$0] { error.code == .unavailable } else { false } }
                let now = clock.now()
                guard !silent.isEmpty, !mayDegrade || silent.count == targets.count, now + pause < end,
                    silent.contains(where: { index in targets[index].replicas.contains { !$0.health.isAway(for: Self.hope, now: now) } }) else { break }
                guard (try? await clock.sleep(now + pause)) != nil else { break }
                for (index, result) in zip(silent, await askOnce(silent.map { targets[$0] }, call)) { results[index] = result }
                pause = min(pause * 4, Self.longestPause)
            }
        }
        for (target, result) in zip(targets, results) {
            guard case .failure(let error) = result else { continue }
            let labels = [("node", target.node.rawValue), ("method", method), ("code", "\(error.code)")]
            metrics.counter("covey_shard_call_failures_total", help: "Calls to shards that failed.", labels: labels).add()
        }
        return results
    }

    private func askOnce<Reply: Sendable>(_ targets: [ShardTarget], _ call: @escaping Call<Reply>) async -> [Result<Reply, ClusterError>] {
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
            return results.map { $0! }
        }
    }

    private enum Event<Reply: Sendable>: Sendable {
        case answered(Int, Result<Reply, ClusterError>)
        case timeIsUp
        case timerStopped
    }

    private func attempt<Reply: Sendable>(_ target: ShardTarget, _ call: @escaping Call<Reply>) async -> Result<Reply, ClusterError> {
        var context = context
        context.deadline = deadline
        switch mode {
        case .chosen, .owner: return await observed(target, context, call)
        case .inTurn:
            var result = await observed(target, context, call)
            for replica in target.replicas.indices.dropFirst() {
                guard case .failure(let error) = result, error.isRetryable, !Task.isCancelled else { break }
                result = await observed(target.asking(replica), context, call)
            }
            return result
        case .read: break
        }
        let result = await read(target, context, call)
        guard mayDegrade, context.consistency != .eventual, case .failure(let error) = result, error.isRetryable, !Task.isCancelled, clock.now() < deadline
        else { return result }
        context.consistency = .eventual
        let old = await read(target, context, call)
        if case .success = old { unverified.note(target.shard, error) }
        return old
    }

    private enum ReplicaEvent<Reply: Sendable>: Sendable {
        case answered(Result<Reply, ClusterError>)
        case slow
        case suspect
        case late
        case timerStopped
    }

    /// Asks the replica that is likely to answer soonest; then others, when it fails or is slow. The first answer counts, the other calls
    /// are cancelled.
    private func read<Reply: Sendable>(_ target: ShardTarget, _ context: CallContext, _ call: @escaping Call<Reply>) async -> Result<Reply, ClusterError> {
        let order = target.order(now: clock.now(), leaseHolder: context.consistency == .eventual ? nil : plan?.owner(of: target.shard))
        guard order.count > 1 else { return await observed(target, context, call) }
        let began = clock.now()
        let hedgeAfter = hedging.began(method)
        return await withTaskGroup(of: ReplicaEvent<Reply>.self) { group in
            var asked = 1
            var failures: [ClusterError] = []
            var isLate = false
            // One that cannot tell what is current, and one that says nothing: an older answer is better than to wait for the latter.
            let mayBeOlder = mayDegrade && context.consistency != .eventual
            group.addTask { .answered(await observed(target.asking(order[0]), context, call)) }
            group.addTask { await timer(began + hedgeAfter, .slow) }
            while let event = await group.next() {
                var isMoreWanted = false
                switch event {
                case .answered(.success(let reply)):
                    group.cancelAll()
                    return .success(reply)
                case .answered(.failure(let error)):
                    failures.append(error)
                    isMoreWanted = error.isRetryable && !Task.isCancelled
                    if !isMoreWanted || asked == order.count && failures.count == asked { return fail(failures, &group) }
                case .slow:
                    isMoreWanted = asked == 1 && hedging.take()
                    if isMoreWanted { metrics.counter("covey_shard_calls_hedged_total", help: "Reads sent to a second replica as well.", labels: [("method", method)]).add() }
                    group.addTask { await timer(began + HedgeRule.suspicion, .suspect) }
                case .suspect:
                    // One that answers others is slow, as many may be at once: asking elsewhere as well would make all of them slower.
                    isMoreWanted = target.replicas[order[0]].health.suspect(since: began, now: clock.now()) || asked == 1 && hedging.take()
                    group.addTask { await timer(began + HedgeRule.patience, .late) }
                case .late: (isMoreWanted, isLate) = (true, true)
                case .timerStopped: break
                }
                if isLate, mayBeOlder, asked == order.count, !failures.isEmpty { return fail(failures, &group) }
                if isMoreWanted, asked < order.count {
                    let next = order[asked]
                    asked += 1
                    group.addTask { .answered(await observed(target.asking(next), context, call)) }
                }
            }
            return .failure(ClusterError(.cancelled, "the caller went away"))
        }
    }

    private func fail<Reply: Sendable>(_ failures: [ClusterError], _ group: inout TaskGroup<ReplicaEvent<Reply>>) -> Result<Reply, ClusterError> {
        group.cancelAll()
        var last = failures[failures.count - 1]
        last.message = failures.map(\.message).joined(separator: "; ")
        return .failure(last)
    }

    private func timer<Reply: Sendable>(_ end: ContinuousClock.Instant, _ event: ReplicaEvent<Reply>) async -> ReplicaEvent<Reply> {
        do { try await clock.sleep(end) } catch { return .timerStopped }
        return event
    }

    /// One call to one node, counted.
    private func observed<Reply: Sendable>(_ target: ShardTarget, _ context: CallContext, _ call: Call<Reply>) async -> Result<Reply, ClusterError> {
        let started = clock.now()
        if mode != .owner { target.health.began(now: started) }
        let result: Result<Reply, ClusterError>
        do throws(ClusterError) { result = .success(try await call(target, context)) } catch { result = .failure(error) }
        let ended = clock.now()
        let time = started.duration(to: ended)
        switch result {
        case _ where mode == .owner: break
        case .failure(let error) where error.code == .cancelled || Task.isCancelled: target.health.ended(.abandoned, now: ended)
        case .failure(let error) where error.code == .unavailable || error.code == .deadlineExceeded: target.health.ended(.failed, now: ended)
        default:
            target.health.ended(.answered(time), now: ended)
            if mode == .read { hedging.answered(method, after: time) }
        }
        metrics.histogram("covey_shard_call_seconds", help: "Time of calls to shards, by node and method.", labels: [("node", target.node.rawValue), ("method", method)])
            .observe(time)
        return result
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

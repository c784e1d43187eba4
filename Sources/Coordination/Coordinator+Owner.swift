import Model

/// A reply to a call that only a shard's owner carries out.
protocol OwnersReply: Sendable {
    /// The owner, if another node was asked.
    var owner: NodeID? { get }
}
extension AppendReply: OwnersReply {}
extension SealReply: OwnersReply {}

extension Coordinator {
    /// Rounds over all replicas when none can be reached. Reason: with the pauses between them some five seconds, in which a node that is restarted
    /// is back; where each attempt waits for a store that is away, as long as the caller's deadline allows.
    private static let rounds = 12
    /// Between two rounds, at most. Reason: a store or a node that is back is noticed so much later.
    private static let longestPause: Duration = .milliseconds(640)

    /// Has a shard's owner carry out a call: finds it if it moved, and lets another replica take over if it cannot be reached.
    ///
    /// - Parameter isShort: Whether the call waits for the store and for nothing else: an owner that cannot reach the store is replaced, too.
    ///
    /// The call may arrive more than once, with one request id and one body: it takes effect once (protocol, H19).
    func atOwner<Reply: OwnersReply>(
        of target: ShardTarget, _ plan: CollectionPlan, _ context: CallContext, isShort: Bool = false,
        _ call: @escaping @Sendable (any ShardService, _ takeover: Bool, CallContext) async throws(ClusterError) -> Reply
    ) async throws(ClusterError) -> Reply {
        var node = plan.owner(of: target.shard) ?? target.node
        var takeover = false
        var unreachable: Set<NodeID> = []
        var (round, hops) = (0, 0)
        var pause: Duration = .milliseconds(20)
        while true {
            let services = members.view.services
            // An owner that is no member any more is asked for nothing, unless the plan still has it.
            guard let service = services[node] ?? target.replicas.first(where: { $0.node == node })?.service else {
                node = target.node
                continue
            }
            let health = health(of: node)
            if !takeover, health.expectation(now: clock.now()) == nil, let next = reachable(target, but: unreachable.union([node])) {
                // It has not answered others: it is not waited for once more.
                unreachable.insert(node)
                node = next
                continue
            }
            let isTakeover = takeover
            health.began(now: clock.now())
            let result: Result<Reply, ClusterError>
            if target.replicas.count == 1 {
                do throws(ClusterError) { result = .success(try await call(service, isTakeover, context)) } catch { result = .failure(error) }
            } else {
                result = await service.watched(isShort ? target.shard : nil, context, clock: clock) { (context) throws(ClusterError) in try await call(service, isTakeover, context) }
            }
            health.ended(outcome(result), now: clock.now())
            switch result {
            case .success(let reply):
                guard let owner = reply.owner else {
                    plan.note(owner: node, of: target.shard)
                    return reply
                }
                hops += 1
                guard hops < 16 else { throw ClusterError(.aborted, "shard \(target.shard) keeps moving") }
                // Two that know different members send a caller to each other.
                takeover = unreachable.contains(owner) || services[owner] == nil || hops > 4 || self.health(of: owner).expectation(now: clock.now()) == nil
                if takeover {
                    log(.warning, "a shard's owner cannot be reached or is no member, another replica is to reach it or to take over", ["shard": "\(target.shard)", "owner": "\(owner)", "node": "\(node)"], context)
                } else {
                    node = owner
                }
            case .failure(let error):
                guard error.code == .unavailable || error.code == .aborted, !Task.isCancelled else { throw error }
                takeover = false
                if error.code == .unavailable { unreachable.insert(node) }
                if let next = target.replicas.first(where: { !unreachable.contains($0.node) }) {
                    node = error.code == .aborted ? node : next.node
                    if error.code == .unavailable { continue }
                } else {
                    round += 1
                    guard round < Self.rounds else { throw error }
                    unreachable = []
                    node = target.node
                }
                if error.code == .aborted { hops += 1 }
                let now = clock.now()
                guard hops < 16, context.deadline.map({ now + pause < $0 }) ?? true else { throw error }
                try? await clock.sleep(now + pause)
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }

    /// A replica that is not left alone, and not one of these.
    private func reachable(_ target: ShardTarget, but unreachable: Set<NodeID>) -> NodeID? {
        target.replicas.first { !unreachable.contains($0.node) && $0.health.expectation(now: clock.now()) != nil }?.node
    }

    private func outcome<Reply>(_ result: Result<Reply, ClusterError>) -> NodeHealth.Outcome {
        guard case .failure(let error) = result else { return .lives }
        switch error.code {
        case .unavailable: return .failed
        case .cancelled, .deadlineExceeded: return .abandoned
        default: return .lives
        }
    }
}

import Model

/// A reply to a call that only a shard's owner carries out.
protocol OwnersReply: Sendable {
    /// The owner, if another node was asked.
    var owner: NodeID? { get }
}
extension AppendReply: OwnersReply {}
extension SealReply: OwnersReply {}

extension Coordinator {
    /// Time after which a node that carries out an owner's call is asked whether it is there at all, and that its answer may take.
    /// Reason: together they leave a takeover the second half of its two seconds.
    private static let probeInterval: Duration = .milliseconds(500)
    /// Rounds over all replicas when none can be reached.
    private static let rounds = 3

    /// Has a shard's owner carry out a call: finds it if it moved, and lets another replica take over if it cannot be reached.
    ///
    /// The call may arrive more than once, with one request id and one body: it takes effect once (protocol, H19).
    func atOwner<Reply: OwnersReply>(
        of target: ShardTarget, _ plan: CollectionPlan, _ context: CallContext,
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
            let isTakeover = takeover
            let result = await watched(node, service, context, isAlone: target.replicas.count == 1) { (context) throws(ClusterError) in
                try await call(service, isTakeover, context)
            }
            switch result {
            case .success(let reply):
                guard let owner = reply.owner else {
                    plan.note(owner: node, of: target.shard)
                    return reply
                }
                hops += 1
                guard hops < 16 else { throw ClusterError(.aborted, "shard \(target.shard) keeps moving") }
                // Two that know different members send a caller to each other.
                takeover = unreachable.contains(owner) || services[owner] == nil || hops > 4
                if takeover {
                    log(.warning, "a shard's owner cannot be reached or is no member, another replica takes over", ["shard": "\(target.shard)", "owner": "\(owner)", "node": "\(node)"], context)
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
                hops += 1
                let now = clock.now()
                guard hops < 16, context.deadline.map({ now + pause < $0 }) ?? true else { throw error }
                try? await clock.sleep(now + pause)
                pause *= 2
            }
        }
    }

    private enum Watched<Reply: Sendable>: Sendable {
        case answered(Result<Reply, ClusterError>)
        case silent(ClusterError)
    }

    /// A call that is given up when its node does not even say that it lives; a slow one is waited for.
    private func watched<Reply: Sendable>(
        _ node: NodeID, _ service: any ShardService, _ context: CallContext, isAlone: Bool,
        _ call: @escaping @Sendable (CallContext) async throws(ClusterError) -> Reply
    ) async -> Result<Reply, ClusterError> {
        if isAlone {
            do throws(ClusterError) { return .success(try await call(context)) } catch { return .failure(error) }
        }
        return await withTaskGroup(of: Watched<Reply>.self) { group in
            group.addTask {
                do throws(ClusterError) { return .answered(.success(try await call(context))) } catch { return .answered(.failure(error)) }
            }
            group.addTask { [self] in
                while true {
                    let now = clock.now()
                    do { try await clock.sleep(now + Self.probeInterval) } catch { return .silent(ClusterError(.cancelled, "answered")) }
                    if let error = await probe(service, context) { return .silent(error) }
                }
            }
            let first = await group.next()!
            group.cancelAll()
            switch first {
            case .answered(let result): return result
            case .silent(let error):
                // The call may have been answered while the probe ran out.
                while let event = await group.next() { if case .answered(.success(let reply)) = event { return .success(reply) } }
                return .failure(ClusterError(.unavailable, "node \(node) does not answer: \(error.message)"))
            }
        }
    }

    /// Why a node does not say that it lives.
    private func probe(_ service: any ShardService, _ context: CallContext) async -> ClusterError? {
        let end = clock.now() + Self.probeInterval
        return await withTaskGroup(of: ClusterError?.self) { group in
            group.addTask {
                do throws(ClusterError) {
                    _ = try await service.status(StatusRequest(nodeOnly: true), context: CallContext(requestID: context.requestID, tenant: context.tenant, deadline: end))
                    return nil
                } catch { return error }
            }
            group.addTask { [clock] in
                do { try await clock.sleep(end) } catch { return nil }
                return ClusterError(.deadlineExceeded, "no sign of life within \(Self.probeInterval.inSeconds)")
            }
            defer { group.cancelAll() }
            return await group.next()!
        }
    }
}

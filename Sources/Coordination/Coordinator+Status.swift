import Model
import Storage

extension Coordinator {
    /// Turns everything written so far into segments searched by code, in all shards at once; returns when they serve.
    ///
    /// - Returns: One reply per shard, in the order of indices.
    /// - Throws: `notFound`; the first failing shard's code with a message that names the shards that failed. Sealing again does no harm.
    @discardableResult
    package func seal(_ name: CollectionName, context: CallContext) async throws(ClusterError) -> [SealReply] {
        var plan = try await plan(of: name, context: context)
        let fanOut = fanOut("seal", context, deadline: deadline(context, configuration.sealTimeout), mode: .owner)
        var results: [Result<SealReply, ClusterError>] = []
        for _ in 0..<Self.splitRounds {
            let current = plan
            results = await fanOut.ask(plan.targets) { (target, context) throws(ClusterError) -> SealReply in
                try await self.atOwner(of: target, current, context) { (service, takeover, context) throws(ClusterError) in
                    try await service.seal(SealRequest(shard: target.shard, takeover: takeover), context: context)
                }
            }
            guard let divided = divided(plan, after: failures(plan.targets, results)) else { break }
            plan = divided
        }
        var replies: [SealReply] = []
        var failures: [(ShardTarget, ClusterError)] = []
        for (target, result) in zip(plan.targets, results) {
            switch result {
            case .success(let reply): replies.append(reply)
            case .failure(let error): failures.append((target, error))
            }
        }
        guard let first = failures.first else { return replies }
        let named = failures.prefix(8).map { "shard \($0.0.shard.index) on node \($0.0.node): \($0.1)" }.joined(separator: "; ")
        throw ClusterError(first.1.code, "\(replies.count) of \(plan.targets.count) shards of \"\(name)\" are sealed; \(named)")
    }

    /// Divides a shard in two, each with half its hash range, while it is read and written; returns when both serve.
    ///
    /// - Parameters:
    ///   - index: The shard's.
    ///   - isDry: Only say what would become of it.
    /// - Returns: Points that it keeps, and the halves with the nodes that keep them.
    /// - Throws: `notFound` if there is no such collection or shard; `outOfRange` if it was split already.
    package func split(
        _ index: Int, of name: CollectionName, isDry: Bool = false, context: CallContext
    ) async throws(ClusterError) -> (points: Int, halves: [(index: Int, nodes: [NodeID])]) {
        let plan = try await plan(of: name, context: context)
        let shard = plan.schema.shard(index, of: plan.tenant)
        guard let target = target(of: shard, plan.schema) else { throw ClusterError(.notFound, "collection \"\(name)\" cannot have a shard \(index)") }
        let looking = fanOut("status", context, deadline: deadline(context, configuration.readTimeout), mode: .inTurn)
        let points = try await looking.ask([target]) { (target, context) throws(ClusterError) -> Int in
            try await target.service.status(StatusRequest(shards: [target.shard]), context: context).shards.first?.points ?? 0
        }[0].get()
        let halves = ShardLayout.children(of: index, firstCount: plan.schema.shardCount)
        let placed = [halves.lower, halves.upper].map { half in
            (half, members.view.replicas(of: plan.schema.shard(half, of: plan.tenant), firstCount: plan.schema.shardCount))
        }
        guard !isDry else { return (points, placed) }
        let fanOut = fanOut("split", context, deadline: deadline(context, configuration.sealTimeout), mode: .chosen)
        _ = try await fanOut.ask([target]) { (target, context) throws(ClusterError) -> SealReply in
            try await self.atOwner(of: target, plan, context) { (service, takeover, context) throws(ClusterError) in
                try await service.seal(SealRequest(shard: target.shard, takeover: takeover, split: true), context: context)
            }
        }[0].get()
        log(.info, "shard split", ["collection": "\(name)", "shard": "\(shard)"], context)
        return (points, placed)
    }

    /// Whom to ask for a shard, whether a plan knows of it or not; `nil` for an index that no shard has.
    func target(of shard: ShardID, _ schema: CollectionSchema) -> ShardTarget? {
        guard let range = ShardLayout.range(of: shard.index, firstCount: schema.shardCount) else { return nil }
        let view = members.view
        return ShardTarget(
            shard: shard, place: 0, replicas: view.replicas(of: shard, firstCount: schema.shardCount).map { replica($0, in: view) }, range: range)
    }

    /// How all nodes and this tenant's collections are. Opens the shards of every collection of the tenant.
    package func status(context: CallContext) async throws(ClusterError) -> ClusterStatus {
        async let nodes = nodeStatus(context: context)
        var collections: [ClusterStatus.Collection] = []
        for schema in try await self.collections(context: context) {
            do throws(ClusterError) {
                collections.append(try await status(of: CollectionName(schema.name), context: context))
            } catch where error.code == .notFound {
                // Dropped since it was listed.
            }
        }
        return await ClusterStatus(nodes: nodes, collections: collections)
    }

    /// How one collection's shards are; a shard that does not say is a gap.
    ///
    /// - Throws: `notFound` if there is no such collection.
    package func status(of name: CollectionName, context: CallContext) async throws(ClusterError) -> ClusterStatus.Collection {
        var plan = try await plan(of: name, context: context)
        let fanOut = fanOut("status", context, deadline: deadline(context, configuration.statusTimeout), mode: .inTurn)
        var results: [Result<ClusterStatus.Collection.Shard, ClusterError>] = []
        for _ in 0..<Self.splitRounds {
            results = await fanOut.ask(plan.targets) { (target, context) throws(ClusterError) -> ClusterStatus.Collection.Shard in
                let reply = try await target.service.status(StatusRequest(shards: [target.shard]), context: context)
                guard let status = reply.shards.first(where: { $0.shard == target.shard }) else {
                    throw ClusterError(.unavailable, "the node does not know the shard")
                }
                return ClusterStatus.Collection.Shard(node: target.node, status: status)
            }
            guard let divided = divided(plan, after: failures(plan.targets, results)) else { break }
            plan = divided
        }
        var collection = ClusterStatus.Collection(schema: plan.schema, shards: [], gaps: [])
        for (target, result) in zip(plan.targets, results) {
            switch result {
            case .success(let shard):
                plan.note(points: shard.status.points, in: target.shard)
                collection.shards.append(shard)
            case .failure(let error): collection.gaps.append(plan.gap(target, error))
            }
        }
        return collection
    }

    /// Whether the store answers and which nodes do; what `/readyz` says. Costs one small listing and one call per node.
    package func readiness() async -> Readiness {
        let context = CallContext(requestID: .random(), tenant: .default)
        async let nodes = nodeStatus(context: context)
        var readiness = Readiness(storeError: nil, unreachable: [:], nodeCount: members.view.record.members.count)
        do {
            _ = try await store.list(prefix: StoreKey.names(of: .default), after: nil, limit: 1)
        } catch { readiness.storeError = ClusterError(error) }
        for node in await nodes { readiness.unreachable[node.node] = node.error }
        return readiness
    }

    /// Every node's answer, in the order of names.
    package func nodeStatus(context: CallContext) async -> [ClusterStatus.Node] {
        // The status call is the same for any shard; the shard only names the target here.
        let view = members.view
        let targets = view.placement.members.enumerated().map { index, member in
            ShardTarget(
                shard: ShardID(tenant: context.tenant, incarnation: Incarnation(0), index: index), place: index, replicas: [replica(member.node, in: view)], range: .all)
        }
        let started = clock.now()
        let clock = clock
        let fanOut = fanOut("status", context, deadline: deadline(context, configuration.statusTimeout), mode: .chosen)
        let results = await fanOut.ask(targets) { (target, context) throws(ClusterError) -> (StatusReply, Duration) in
            let reply = try await target.service.status(StatusRequest(), context: context)
            return (reply, started.duration(to: clock.now()))
        }
        let ended = clock.now()
        return zip(targets, results).map { target, result in
            switch result {
            case .success(let (reply, latency)):
                ClusterStatus.Node(
                    node: target.node, error: nil, latency: latency, shards: reply.shards.count { $0.shard.tenant == context.tenant },
                    codesScanned: reply.codesScanned)
            case .failure(let error):
                ClusterStatus.Node(node: target.node, error: error, latency: started.duration(to: ended), shards: 0, codesScanned: 0)
            }
        }
    }
}

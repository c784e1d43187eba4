import Model
import Observability

extension Coordinator {
    /// Makes the operations durable in every shard that they concern, all shards at once.
    ///
    /// Within a shard the operations take effect in order; between shards there is no order and no atomicity. Points of one
    /// document, and deletions directly before them, change in one log entry. Vectors are brought to unit length when the metric is cosine.
    ///
    /// - Parameter piece: Which of several batches this is that the caller writes under one ``CallContext/idempotencyKey``.
    /// - Throws: `invalidArgument` naming the point, before anything is written; `unavailable` with ``CoordinatorConfiguration/maximumWrites``
    ///   writes at work; otherwise ``WriteOutcome/error``. With an idempotency key a batch that is repeated takes effect once: one that
    ///   differs is refused with `alreadyExists`, one whose key is too old to tell with `failedPrecondition`.
    @discardableResult
    package func write(
        _ operations: [AppendRequest.Operation], to name: CollectionName, piece: Int = 0, context: CallContext
    ) async throws(ClusterError) -> WriteOutcome {
        let outcome = try await writeEach(operations, to: name, piece: piece, context: context)
        if let error = outcome.error { throw error }
        return outcome
    }

    /// The same, for callers who tell what became of each shard's part: a part that failed is no error here.
    package func writeEach(
        _ operations: [AppendRequest.Operation], to name: CollectionName, piece: Int = 0, context: CallContext
    ) async throws(ClusterError) -> WriteOutcome {
        try await writing(context.tenant) { () throws(ClusterError) in try await written(operations, to: name, piece: piece, context: context) }
    }

    private func written(
        _ operations: [AppendRequest.Operation], to name: CollectionName, piece: Int, context: CallContext
    ) async throws(ClusterError) -> WriteOutcome {
        // Not the request's id, under which a proxy may send several requests.
        let id = context.idempotencyKey ?? .random()
        let started = clock.now()
        let end = deadline(context, configuration.writeTimeout)
        var plan = try await plan(of: name, context: context)
        var writes = try WritePlan(operations, schema: plan.schema, layout: plan.layout, configuration: configuration)
        var results = await append(writes, piece, of: id, plan, end, context)
        for _ in 0..<Self.splitRounds {
            var fresh = divided(plan, after: failures(results.map(\.target), results.map(\.result)))
            // The collection was dropped and made anew: nothing that the old one took is visible any more.
            if fresh == nil, results.contains(where: \.result.isNotFound) { fresh = try await replan(plan, context: context) }
            guard let fresh else { break }
            plan = fresh
            // What was written is written again, which the shards notice (protocol, H19).
            writes = try WritePlan(operations, schema: plan.schema, layout: plan.layout, configuration: configuration)
            results = await append(writes, piece, of: id, plan, end, context)
        }
        let tenant = ("tenant", metrics.tenantLabel(context.tenant.rawValue))
        metrics.histogram("covey_write_seconds", help: "Time of writes to collections.", labels: [tenant]).observe(started.duration(to: clock.now()))
        let outcome = try self.outcome(results, plan)
        guard outcome.failures.isEmpty else { return outcome }
        metrics.counter("covey_points_written_total", help: "Points and ids in acknowledged writes.", labels: [tenant]).add(writes.pointCount)
        return outcome
    }

    private struct ShardWrite {
        var target: ShardTarget
        var result: Result<AppendReply, ClusterError>
    }

    private func append(
        _ writes: WritePlan, _ piece: Int, of id: RequestID, _ plan: CollectionPlan, _ end: ContinuousClock.Instant, _ context: CallContext
    ) async -> [ShardWrite] {
        let targets = plan.targets.filter { !writes.entries[$0.place].isEmpty }
        let fanOut = fanOut("append", context, deadline: end, mode: .owner)
        let results = await fanOut.ask(targets) { (target, context) throws(ClusterError) -> AppendReply in
            var total = AppendReply(position: 0, superseded: 0)
            for entry in writes.entries[target.place] {
                let reply = try await self.atOwner(of: target, plan, context, isShort: true) { (service, takeover, context) throws(ClusterError) in
                    let request = AppendRequest(
                        shard: target.shard, operations: entry.operations, takeover: takeover, id: id, part: UInt64(piece) << 32 | UInt64(entry.part), bodyHash: entry.bodyHash)
                    return try await service.append(request, context: context)
                }
                total.position = reply.position
                total.superseded += reply.superseded
            }
            return total
        }
        for (target, result) in zip(targets, results) {
            if case .success(let reply) = result { outlines.note(write: reply.position, of: target.shard) } else { outlines.note(write: nil, of: target.shard) }
        }
        return zip(targets, results).map { ShardWrite(target: $0, result: $1) }
    }

    private func outcome(_ writes: [ShardWrite], _ plan: CollectionPlan) throws(ClusterError) -> WriteOutcome {
        if Task.isCancelled { throw ClusterError(.cancelled, "the caller went away; what was written is not known") }
        var outcome = WriteOutcome(collection: plan.name)
        for write in writes {
            let (shard, node) = (write.target.shard, plan.owner(of: write.target.shard) ?? write.target.node)
            switch write.result {
            case .success(let reply):
                outcome.results.append(WriteOutcome.ShardResult(shard: shard, node: node, position: reply.position, superseded: reply.superseded))
            case .failure(let error): outcome.failures.append(WriteOutcome.ShardFailure(shard: shard, node: node, error: error))
            }
        }
        return outcome
    }
}

extension Result where Failure == ClusterError {
    fileprivate var isNotFound: Bool { if case .failure(let error) = self { error.code == .notFound } else { false } }
}

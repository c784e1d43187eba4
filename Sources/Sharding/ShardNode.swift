import Logging
import Model
import Observability
import Storage
import Synchronization

/// A shard node: hosts any number of shards of any collection and opens them from the store on demand.
///
/// A shard of a tenant is reachable only by calls of that tenant.
package final class ShardNode: ShardService {
    let environment: ShardEnvironment
    private let hosted: OpenShards
    /// Merges that are gone on with.
    private let merging = Mutex<[ShardID: Task<Void, Never>]>([:])

    /// - Parameters:
    ///   - node: The node's name in the configuration; it stands in the log's claims.
    ///   - store: Holds everything that is durable; shared with the other nodes.
    ///   - followers: Who hears what this node commits; nobody by default.
    ///   - executor: Where what belongs to calls runs that is not a part of their tasks; by default Swift's own threads.
    package init(
        node: NodeID, store: any ObjectStore, configuration: ShardConfiguration = ShardConfiguration(), followers: Followers? = nil,
        clock: DeadlineClock = .continuous, executor: (any TaskExecutor)? = nil, metrics: Metrics, logger: Logger
    ) {
        let environment = ShardEnvironment(
            node: node, store: store, configuration: configuration, followers: followers ?? Followers(of: node), clock: clock, executor: executor,
            metrics: metrics, logger: logger)
        self.environment = environment
        hosted = OpenShards(limit: configuration.openShards, clock: clock) { id throws(ClusterError) in try await Shard.open(id, environment: environment) }
        environment.rollForward { [weak self] in self?.rollForward($0) }
        let open = metrics.gauge("covey_shard_open", help: "Shards open on this node.")
        let scanned = metrics.gauge("covey_shard_codes_scanned", help: "Codes scanned since the node started.")
        let sealing = metrics.gauge("covey_shard_seal_progress", help: "Share that is done of the seal that is furthest, 0 to 1; 0 if none runs.")
        let seals = metrics.gauge("covey_shard_seals_running", help: "Shards that are sealing or wait for it.")
        let codeError = metrics.gauge(
            "covey_shard_quantization_error", help: "Mean squared error of the codes over the mean squared norm, of the open shard where it is greatest.")
        let newError = metrics.gauge("covey_shard_new_points_error", help: "The same of points that no segment holds yet, described by the newest segment's codes.")
        let drift = metrics.gauge("covey_shard_drift", help: "New points' error over the segment's own, greatest over open shards; 0 where none was measured.")
        metrics.collect { [weak environment, weak hosted] _ in
            if let hosted { open.set(Double(hosted.count)) }
            if let environment {
                scanned.set(Double(environment.codesScanned.load(ordering: .relaxed)))
                let running = environment.sealProgress.all
                sealing.set(running.max() ?? 0)
                seals.set(Double(running.count))
                let drifts = environment.drift.all
                codeError.set(drifts.compactMap(\.quantizationError).max() ?? 0)
                newError.set(drifts.compactMap(\.newPointsError).max() ?? 0)
                drift.set(drifts.compactMap(\.ratio).max() ?? 0)
            }
        }
    }

    /// Stops the seals under way, and those that begin: whoever waits for one, a client or the erasure sweep, does not hold up the node's end.
    package func stopBuilding() { environment.stop.cancel() }

    /// Finishes what was accepted, stops seals and closes every shard. Afterwards calls throw `unavailable`.
    package func close() async {
        stopBuilding()
        await hosted.close()
        for task in merging.withLock({ Array($0.values) }) { await task.value }
        environment.followers.close()
    }

    /// Lets go of segments that may have been deleted from the store meanwhile: closes the shards that nobody used for so long, and opens
    /// replicas anew that were opened before.
    package func letGo(after time: Duration) async { await hosted.letGo(after: time) }

    /// Closes the shards that other members keep since the members changed: an owner gives up what it owns, so that its next write makes
    /// one of those the owner without a wait.
    ///
    /// - Returns: How many there were.
    @discardableResult
    package func handOver() async -> Int {
        await hosted.close { !$0.replicas.contains(environment.node) }
    }

    package func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        if request.takeover {
            var forwarded = request
            forwarded.takeover = false
            let reply = try await throughHolder(of: request.shard, isShort: true, context) { [forwarded] (holder, context) throws(ClusterError) in
                try await holder.append(forwarded, context: context)
            }
            if let reply, reply.owner == nil { return reply }
        }
        var isMerging = false
        do throws(ClusterError) {
            return try await with(request.shard, context) { shard throws(ClusterError) in
                do throws(ClusterError) { return try await shard.append(request, context: context) } catch {
                    isMerging = shard.isWaitingForUpperHalf
                    throw error
                }
            }
        } catch {
            guard isMerging else { throw error }
            try await finishMerge(of: request.shard, context)
            return try await with(request.shard, context) { shard throws(ClusterError) in throw shard.end ?? error }
        }
    }

    /// Has the node that holds a shard carry out a call whose caller cannot reach it: from one that it can reach this node takes nothing over.
    ///
    /// - Returns: `nil` if there is nobody else, or it says nothing.
    private func throughHolder<Reply: Sendable>(
        of id: ShardID, isShort: Bool = false, _ context: CallContext, _ call: @escaping @Sendable (any ShardService, CallContext) async throws(ClusterError) -> Reply
    ) async throws(ClusterError) -> Reply? {
        let holder = try await with(id, context) { shard throws(ClusterError) in shard.state.withLock { $0.cursor.holder?.node } }
        guard let holder, holder != environment.node, let service = environment.followers.service(of: holder) else { return nil }
        let result = await service.watched(isShort ? id : nil, context, clock: environment.clock, probesFirst: true) { (context) throws(ClusterError) in try await call(service, context) }
        switch result {
        case .success(let reply): return reply
        case .failure(let error):
            guard error.code == .unavailable else { throw error }
            return nil
        }
    }

    package func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply {
        let start = ContinuousClock.now
        defer { environment.searchSeconds.observe(start.duration(to: .now)) }
        guard (1...SearchRequest.maximumCount).contains(request.searches.count) else {
            throw ClusterError(.invalidArgument, "searches must be 1…\(SearchRequest.maximumCount), found \(request.searches.count)")
        }
        return try await reading(request.shard, context) { shard throws(ClusterError) in
            for (number, search) in request.searches.enumerated() { try Self.check(search, shard.schema, "searches[\(number)].") }
            let hits = request.searches.reduce(0) { $0 + $1.limit }
            guard hits <= SearchRequest.maximumHits else {
                throw ClusterError(.invalidArgument, "the limits of searches may add up to \(SearchRequest.maximumHits), found \(hits)")
            }
            let snapshot = try await shard.snapshot(for: context)
            let age = shard.age
            let (environment, metric) = (environment, shard.schema.metric)
            var results: [SearchReply.Result] = []
            // Between two slices of many searches others have their turn.
            while results.count < request.searches.count {
                let rest = request.searches[results.count...]
                results += try await environment.compute(context) { stop throws(ClusterError) in
                    let end = environment.clock.now() + Self.slice
                    return try snapshot.search(
                        rest, metric: metric, exactScanThreshold: environment.configuration.exactScanThreshold,
                        codesScanned: environment.codesScanned, goesOn: { environment.clock.now() < end }, stop: stop)
                }
            }
            return SearchReply(results: results, range: shard.range, position: snapshot.position, manifestVersion: snapshot.manifestVersion, age: age)
        }
    }

    /// Time of a worker thread that many searches may take before others are served. Reason: others wait so long, at most, for each
    /// batch that is before them.
    private static let slice: Duration = .milliseconds(2)

    package func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply {
        try await reading(request.shard, context) { shard throws(ClusterError) in
            try Self.check(request.search, shard.schema, "search.")
            guard request.ids.count <= ExplainRequest.maximumCount else {
                throw ClusterError(.invalidArgument, "ids: \(ExplainRequest.maximumCount) points can be explained at a time, found \(request.ids.count)")
            }
            let snapshot = try await shard.snapshot(for: context)
            let (environment, metric) = (environment, shard.schema.metric)
            return try await environment.compute(context) { stop throws(ClusterError) in
                ExplainReply(explanations: try snapshot.explain(
                    request, metric: metric, exactScanThreshold: environment.configuration.exactScanThreshold,
                    codesScanned: environment.codesScanned, stop: stop))
            }
        }
    }

    package func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply {
        try await reading(request.shard, context) { shard throws(ClusterError) in
            if case .page(_, let limit, _) = request.selection { try Self.check(limit: limit) }
            let snapshot: ShardSnapshot
            if case .versions(let versions) = request.selection {
                snapshot = try await shard.snapshot(with: versions, context)
            } else {
                snapshot = try await shard.snapshot(for: context)
            }
            return try await environment.compute(context) { stop throws(ClusterError) in
                try shard.requireReadable(request.selection, in: snapshot)
                var points: [StoredPoint] = []
                for (rows, row) in try shard.rows(request.selection, in: snapshot, stop: stop) {
                    if points.count % 64 == 0 { try stop.check() }
                    points.append(try storedPoint(rows, row, payload: request.withPayload, withVector: request.withVector))
                }
                return FetchReply(points: points)
            }
        }
    }

    package func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply {
        try await reading(request.shard, context) { shard throws(ClusterError) in
            let snapshot = try await shard.snapshot(for: context)
            return CountReply(count: try await environment.compute(context) { stop throws(ClusterError) in try snapshot.count(request.filter, stop: stop) })
        }
    }

    /// Shards of other tenants are not described; of a shard that cannot be opened, ``ShardStatus/damaged`` names the file.
    package func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply {
        // Who asks waits for a call that needs the store.
        if request.nodeOnly, let shard = request.shards.first { try await environment.storeCheck.run(StoreKey.log(shard)) }
        var statuses: [ShardStatus] = []
        let ids = request.nodeOnly ? [] : request.shards.isEmpty ? hosted.ids.filter { $0.tenant == context.tenant } : request.shards
        for id in ids {
            do throws(ClusterError) {
                statuses.append(try await with(id, context) { shard throws(ClusterError) in try shard.status })
            } catch {
                if request.shards.isEmpty { continue }  // closed or dropped in the meantime
                guard error.code == .dataLoss else { throw error }
                statuses.append(
                    ShardStatus(
                        shard: id, range: .all, points: 0, pointsByCode: 0, segments: 0, logPosition: 0, epoch: 0, manifestVersion: 0,
                        indexBytes: 0, fileBytes: 0, damaged: [error.message]))
            }
        }
        return StatusReply(node: environment.node, shards: statuses, codesScanned: environment.codesScanned.load(ordering: .relaxed))
    }

    package func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply {
        try await reading(request.shard, context) { shard throws(ClusterError) in
            let snapshot = try await shard.snapshot(for: context)
            let schema = shard.schema
            let outline = try await environment.compute(context) { stop throws(ClusterError) in
                try snapshot.outline(schema, maximumBytes: request.maximumBytes, stop: stop)
            }
            return OutlineReply(range: shard.range, position: snapshot.position, manifestVersion: snapshot.manifestVersion, outline: outline)
        }
    }

    package func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply {
        if request.mergeWith == nil { try await finishMerge(of: request.shard, context) }
        if request.takeover {
            var forwarded = request
            forwarded.takeover = false
            let reply = try await throughHolder(of: request.shard, context) { [forwarded] (holder, context) throws(ClusterError) in
                try await holder.seal(forwarded, context: context)
            }
            if let reply, reply.owner == nil { return reply }
        }
        return try await with(request.shard, context) { shard throws(ClusterError) in
            try await shard.seal(request: context.requestID, takeover: request.takeover, split: request.split, mergeWith: request.mergeWith)
        }
    }

    // MARK: - Merging

    /// Goes on with the merge that a shard is in the middle of, whoever began it and whatever became of them: both halves are asked for the steps
    /// that are left, and whose owner cannot be reached is claimed (protocol, H14).
    private func finishMerge(of id: ShardID, _ context: CallContext) async throws(ClusterError) {
        guard let merge = try await with(id, context, { shard throws(ClusterError) in shard.pendingMerge }) else { return }
        for (half, other) in [(merge.lower, merge.upper), (merge.upper, merge.lower)] {
            do throws(ClusterError) {
                let reply = try await seal(SealRequest(shard: half, takeover: true, mergeWith: other.index), context: context)
                if let owner = reply.owner { throw ClusterError(.aborted, "shard \(half) is owned by \(owner)") }
            } catch {
                let isVoid = try await with(id, context) { shard throws(ClusterError) in
                    if shard.state.withLock({ $0.cursor.isOver }) { return false }
                    return try await shard.hasEndedOtherwise(merge)
                }
                guard isVoid else { throw error }
                return
            }
        }
        try await with(id, context) { shard throws(ClusterError) in _ = try await shard.checkMerge() }
    }

    /// Reason: a takeover, and what is tried before; who meets the two again begins again.
    private static let mergeTimeout: Duration = .seconds(15)

    /// The same, beside whatever noticed that it is to be done.
    private func rollForward(_ id: ShardID) {
        merging.withLock { running in
            guard running[id] == nil else { return }
            // Its parent is this node: `close` waits for it.
            running[id] = Task {
                let context = CallContext(requestID: .random(), tenant: id.tenant, deadline: environment.clock.now() + Self.mergeTimeout)
                do throws(ClusterError) { try await finishMerge(of: id, context) } catch {
                    // The next who meets it tries again.
                    environment.logger.info("a merge could not be finished yet", metadata: ["shard": "\(id)", "tenant": "\(id.tenant)", "error": "\(error)"])
                }
                merging.withLock { $0[id] = nil }
            }
        }
    }

    package func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) {
        guard context.tenant == request.shard.tenant else {
            throw ClusterError(.permissionDenied, "shard \(request.shard) is not one of tenant \(context.tenant)")
        }
        var entries: [(entry: LogEntry, byteCount: Int)] = []
        for (index, bytes) in request.entries.enumerated() {
            do throws(FormatError) { entries.append((try LogEntry(decoding: bytes), bytes.count)) } catch { throw ClusterError(.invalidArgument, "entries[\(index)]: \(error)") }
        }
        let isOpen = try await hosted.withOpen(request.shard) { shard throws(ClusterError) in
            if !entries.isEmpty { _ = try await shard.submit(PendingWrite(.follow(entries), byteCount: entries.reduce(0) { $0 + $1.byteCount })) }
            // A new manifest names segments that take the place of what is in memory here.
            if !shard.state.withLock({ $0.cursor.isOwner }), shard.isBehind || request.manifestVersion > shard.snapshot.manifestVersion {
                hosted.refresh(request.shard)
            }
        }
        // Its log grows: a replica that had to read all of it when the owner dies would be late.
        if !isOpen { hosted.warm(request.shard) }
    }

    /// Dropping what is gone already succeeds.
    package func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) {
        do throws(ClusterError) {
            try await with(request.shard, context, repeats: true) { shard throws(ClusterError) in try await shard.drop() }
        } catch {
            // Without a readable schema or manifest nobody can open the shard: only its objects are left.
            guard error.code == .notFound || error.code == .dataLoss else { throw error }
            let log = LogStore(shard: request.shard, store: environment.store, retryDelay: environment.configuration.retryDelay, clock: environment.clock)
            try await log.erase(keeping: log.fences())
        }
        hosted.forget(request.shard)
    }

    private func reading<Value: Sendable>(
        _ id: ShardID, _ context: CallContext, _ body: (Shard) async throws(ClusterError) -> Value
    ) async throws(ClusterError) -> Value {
        try await with(id, context, repeats: true, mayBeOld: context.consistency == .eventual) { shard throws(ClusterError) in
            defer { if shard.isWaitingForUpperHalf { environment.rollForward(id) } }
            return try await body(shard)
        }
    }

    private func with<Value: Sendable>(
        _ id: ShardID, _ context: CallContext, repeats: Bool = false, mayBeOld: Bool = false, _ body: (Shard) async throws(ClusterError) -> Value
    ) async throws(ClusterError) -> Value {
        guard context.tenant == id.tenant else {
            throw ClusterError(.permissionDenied, "shard \(id) is not one of tenant \(context.tenant)")
        }
        if let remaining = context.remaining, remaining == .zero { throw ClusterError(.deadlineExceeded, "the deadline passed before the shard was reached") }
        return try await hosted.with(id, repeats: repeats, mayBeOld: mayBeOld, body)
    }

    /// Most hits or points of one reply. Reason: bounds the memory of a reply.
    package static let maximumLimit = SearchRequest.maximumHits

    private static func check(_ search: ShardSearch, _ schema: CollectionSchema, _ path: String) throws(ClusterError) {
        guard search.vector.count == schema.dimension else {
            throw ClusterError(.invalidArgument, "\(path)vector: expected \(schema.dimension) dimensions, found \(search.vector.count)")
        }
        if let place = search.vector.firstIndex(where: { !$0.isFinite }) {
            throw ClusterError(.invalidArgument, "\(path)vector[\(place)] is \(search.vector[place]), which is not finite")
        }
        try check(limit: search.limit, path)
    }

    private static func check(limit: Int, _ path: String = "") throws(ClusterError) {
        guard (0...maximumLimit).contains(limit) else { throw ClusterError(.invalidArgument, "\(path)limit must be 0…\(maximumLimit), found \(limit)") }
    }
}

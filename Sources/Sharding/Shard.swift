import Logging
import Model
import Storage
import Synchronization

/// One open shard: its state, and the only task that writes its log.
///
/// Reads take a snapshot under a lock and go on without it. Writes queue here; one put is in flight at a time (protocol, H4),
/// and what arrives meanwhile shares the next entry. After anything that leaves the outcome of a write open, or shows
/// another owner, the shard is ``isUsable`` no more: the node opens it anew from the store.
actor Shard {
    nonisolated let id: ShardID
    nonisolated let schema: CollectionSchema
    nonisolated let range: HashRange
    nonisolated let environment: ShardEnvironment
    nonisolated let log: LogStore
    nonisolated let writer: LogWriterID
    nonisolated let state: Mutex<ShardState>
    /// Set when the shard must be opened anew, with the reason.
    private nonisolated let failure = Mutex<ClusterError?>(nil)
    /// Whether the shard is known to be there that this one was merged into.
    nonisolated let mergeIsComplete = Atomic<Bool>(false)
    /// The nodes that keep this shard, as of the members last asked for.
    private nonisolated let placed: Mutex<Followers.Replicas>

    private var queue: [PendingWrite] = []
    private var queuedBytes = 0
    private var writing: Task<Void, Never>?
    var sealing: Task<Void, Never>?
    /// What keeps a seal that failed from being tried again with each write.
    var sealPause = Pause()
    /// Whether no split can take anything off this shard.
    var isIndivisible = false
    var measuring: Task<Void, Never>?
    /// Raised when what is being built is wanted no more.
    nonisolated let sealStop = StopSignal()
    /// What this opening knows of the log's end, and since when.
    nonisolated let freshness: Mutex<Freshness>
    /// The listing of the log under way, and the one after it.
    var listing: Task<Result<UInt64?, ClusterError>, Never>?
    var nextListing: Task<Result<UInt64?, ClusterError>, Never>?
    /// Count the objects made, for their names.
    var segmentCounter = 0
    private var bulkCounter = 0
    /// Whether an ``ErasureMark`` is in the store that no rewriting since has made superfluous.
    var isMarked = false

    /// - Parameter listedAt: Before the log was listed that `state` comes from.
    init(
        id: ShardID, schema: CollectionSchema, environment: ShardEnvironment, log: LogStore, writer: LogWriterID, state: consuming ShardState,
        listedAt: ContinuousClock.Instant
    ) {
        self.id = id
        self.schema = schema
        // An index without a range is not opened.
        range = ShardLayout.range(of: id.index, firstCount: schema.shardCount) ?? .all
        self.environment = environment
        self.log = log
        self.writer = writer
        self.state = Mutex(state)
        placed = Mutex(environment.followers.replicas(of: id, shardCount: schema.shardCount))
        freshness = Mutex(Freshness(openedAt: environment.clock.now(), listedAt: listedAt))
    }

    nonisolated var isUsable: Bool { failure.withLock { $0 == nil } }
    nonisolated var snapshot: ShardSnapshot { state.withLock { $0.snapshot } }

    /// The nodes that keep this shard, its owner while all is well first; this one is not among them if it was asked by mistake, or only for now.
    nonisolated var replicas: [NodeID] {
        let version = environment.followers.version
        return placed.withLock { placed in
            if placed.version != version { placed = environment.followers.replicas(of: id, shardCount: schema.shardCount) }
            return placed.nodes
        }
    }

    /// Gives the shard up, waits until nothing is being written or built. Later writes are refused.
    func close() async {
        // Only a lease makes others wait.
        if isUsable, environment.configuration.lease > .zero, state.withLock({ $0.cursor.isOwner && !$0.cursor.isOver }) {
            _ = try? await submit(PendingWrite(.release))
        }
        fail(ClusterError(.unavailable, "shard \(id) was closed on node \(environment.node)"))
        await writing?.value
        await sealing?.value
        await measuring?.value
        environment.drift.set(nil, of: writer.incarnation)
    }

    // MARK: - Writing

    /// Makes the operations durable, then visible; see ``ShardService/append(_:context:)``.
    nonisolated func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        let (schema, configuration) = (schema, environment.configuration)
        let write = try await environment.compute(context) { _ throws(ClusterError) in
            // The write outlives this computation, and so does its stop signal.
            try PendingWrite(request, id: context.requestID, schema: schema, configuration: configuration, stop: StopSignal(deadline: context.deadline))
        }
        return try await submit(write)
    }

    /// Queues a write and waits for its outcome. Cancelling takes it back as long as it waits in the queue, and does not wait for the store.
    nonisolated func submit(_ write: PendingWrite) async throws(ClusterError) -> AppendReply {
        try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                write.wait(with: continuation)
                Task(executorPreference: environment.executor) { await self.enqueue(write) }  // ends at once; the write is finished by `drain`
            }
        } onCancel: {
            write.stop.cancel()
            write.finish(.failure(ClusterError(.cancelled, "the caller went away; whether it was written is not known")))
        }.get()
    }

    func enqueue(_ write: PendingWrite) {
        if let error = failure.withLock({ $0 }) { return write.finish(.failure(error)) }
        let limit = environment.configuration.queueBytes
        guard queuedBytes + write.byteCount <= limit || queue.isEmpty else {
            return write.finish(.failure(ClusterError(.resourceExhausted, "shard \(id): \(queuedBytes) bytes wait to be written, the limit is \(limit)")))
        }
        if write.byteCount > 0, let reason = lag(with: write.byteCount) {
            // What would make room again, if the last one failed.
            sealIfDue()
            return write.finish(.failure(ClusterError(.resourceExhausted, "shard \(id): \(reason)")))
        }
        queue.append(write)
        queuedBytes += write.byteCount
        // Its parent is this shard: `close` waits for it. Entries are up to 8 MiB: encoding, applying and replaying them is nothing for an event loop.
        if writing == nil { writing = Task { await drain() } }
    }

    /// Why a write has to wait for a seal.
    private func lag(with byteCount: Int) -> String? {
        let configuration = environment.configuration
        // Another node's shard can be sealed once its first write has made this one the owner.
        let (bytes, entries, isOwner) = state.withLock { ($0.unsealedBytes, $0.unsealedEntries, $0.cursor.isOwner) }
        guard isOwner else { return nil }
        if bytes + byteCount > configuration.unsealedBytes { return "\(bytes) bytes wait to be sealed, the limit is \(configuration.unsealedBytes)" }
        if entries >= configuration.unsealedEntries { return "\(entries) log entries wait to be sealed, the limit is \(configuration.unsealedEntries)" }
        return nil
    }

    /// The checks among those that wait.
    var waitingChecks: [PendingWrite] { queue.filter(\.isCheck) }

    /// Finishes some of those that wait before their turn.
    func finish(_ checks: [PendingWrite]) {
        queue.removeAll { write in checks.contains { $0 === write } }
        let position = state.withLock { $0.cursor.position }
        checks.forEach { $0.finish(.success(AppendReply(position: position, superseded: 0))) }
    }

    /// Writes group after group until the queue is empty.
    private func drain() async {
        while !queue.isEmpty {
            let group = takeGroup()
            if let error = failure.withLock({ $0 }) {
                group.forEach { $0.finish(.failure(error)) }
            } else if !group.isEmpty {
                await write(group)
            }
        }
        writing = nil
    }

    /// The writes of the next entry: the oldest, and those behind it that fit. Those that nobody waits for are dropped.
    private func takeGroup() -> [PendingWrite] {
        var group: [PendingWrite] = []
        var byteCount = PendingWrite.entryOverhead
        while let next = queue.first {
            let fits = group.isEmpty || group[0].isCheck && next.isCheck
                || byteCount + next.byteCount <= environment.configuration.entryBytes && group[0].mayShare && next.mayShare
            guard fits else { break }
            queue.removeFirst()
            queuedBytes -= next.byteCount
            if let reason = next.stop.reason {
                next.finish(.failure(reason))
                continue
            }
            byteCount += next.byteCount
            group.append(next)
        }
        return group
    }

    private func write(_ group: [PendingWrite]) async {
        let start = ContinuousClock.now
        do throws(ClusterError) {
            switch group[0].work {
            case .check: try await catchUp()
            case .follow(let entries): try await follow(entries)
            case .release:
                if state.withLock({ $0.cursor.isOwner && !$0.cursor.isOver }) {
                    _ = try await commit(.release)
                }
            case .claim, .anchor, .terminal, .operations, .split, .merge:
                // One that may take over does it for all that share its entry.
                if let owner = try await becomeOwner(for: group[0].key.id, takeover: group.contains(where: \.takeover)) {
                    group.forEach { $0.finish(.success(AppendReply(position: 0, superseded: 0, owner: owner))) }
                    return
                }
                switch group[0].work {
                case .operations: try await writeOperations(group)
                case .anchor: _ = try await commit(.data(dimension: schema.dimension, []))
                case .terminal: _ = try await commit(.terminal)
                case .split(let halves): try await commit(halves)
                case .merge(let merge, let isEnd): try await commit(merge, isEnd: isEnd)
                default: break
                }
            }
            let reply = AppendReply(position: state.withLock { $0.cursor.position }, superseded: 0)
            group.forEach { $0.finish(.success(reply)) }
        } catch {
            // Writes that were answered already ignore this.
            group.forEach { $0.finish(.failure(error)) }
        }
        if case .operations = group[0].work { environment.appendSeconds.observe(start.duration(to: .now)) }
        // Whoever asked for a promise goes on with the merge; if there is another write before, perhaps nobody does.
        if case .merge = group[0].work {} else if pendingMerge != nil { environment.rollForward(id) }
        sealIfDue()
        watchDrift()
    }

    private func writeOperations(_ group: [PendingWrite]) async throws(ClusterError) {
        var requests: [LoggedRequest] = []
        var waiting: [[PendingWrite]] = []
        var indexes: [RequestWindow.Key: Int] = [:]
        for write in group {
            guard case .operations(let operations) = write.work else { preconditionFailure("a group of one kind") }
            if let answer = state.withLock({ $0.window.answer(to: write.key) }) {
                write.finish(.success(answer))  // it was applied before (protocol, H19)
            } else if let index = indexes[write.key] {
                waiting[index].append(write)  // the same request twice at once
            } else {
                indexes[write.key] = requests.count
                waiting.append([write])
                var resolved = try await resolve(operations, stop: write.stop)
                // One of the halves applied it that were merged: the rest of it is left.
                let ranges = state.withLock { $0.window.ranges(of: write.key) }
                if !ranges.isEmpty { resolved = resolved.compactMap { $0.outside(ranges) } }
                requests.append(LoggedRequest(id: write.key.id, bodyHash: write.key.bodyHash, operations: resolved))
            }
        }
        guard !requests.isEmpty else { return }
        if !isMarked, state.withLock({ $0.isSuperseded(by: requests) }) { try await markForErasure() }
        // Only a request that is alone in its group can be larger than an entry.
        let isBulk = requests[0].byteCount > environment.configuration.entryBytes - PendingWrite.entryOverhead
        let (position, superseded) = try await isBulk ? commit(bulk: requests[0]) : commit(.data(dimension: schema.dimension, requests))
        // A seal of everything that began meanwhile did not see this.
        if !isMarked, superseded.contains(where: { $0 > 0 }) {
            do throws(ClusterError) { try await markForErasure() } catch {
                throw ClusterError(.aborted, "written at position \(position), but what it supersedes could not be marked for erasure: \(error)")
            }
        }
        for (writes, count) in zip(waiting, superseded) {
            writes.forEach { $0.finish(.success(AppendReply(position: position, superseded: count))) }
        }
    }

    /// Puts a mark: once for each rewriting of a shard whose points are deleted or overwritten.
    private func markForErasure() async throws(ClusterError) {
        let mark = ErasureMark(markedAt: UInt64(max(0, environment.configuration.now())), shard: id)
        try await log.put(mark)
        isMarked = true
    }

    /// Operations with filters replaced by the ids that pass them at this position (protocol, H20).
    private func resolve(_ operations: [RequestedOperation], stop: StopSignal) async throws(ClusterError) -> [LoggedOperation] {
        let needsFilter = operations.contains { if case .deleteWhere = $0 { true } else { false } }
        guard needsFilter else { return try operations.map { operation throws(ClusterError) in try operation.resolved(in: nil, after: [:], stop: stop) } }
        let snapshot = snapshot
        return try await environment.run(on: environment.searchThreads) { () throws(ClusterError) in
            var resolved: [LoggedOperation] = []
            // What this request itself did before the filter: it is not in the snapshot yet.
            var staged: [PointID: LoggedPoint?] = [:]
            for operation in operations {
                let next = try operation.resolved(in: snapshot, after: staged, stop: stop)
                switch next {
                case .upsert(let point): staged[point.id] = .some(point)
                case .delete(let ids): for id in ids { staged[id] = .some(nil) }
                }
                resolved.append(next)
            }
            return resolved
        }
    }

    // MARK: - The log

    /// Writes the owner's next entry and applies it.
    func commit(_ content: LogEntry.Content) async throws(ClusterError) -> (position: UInt64, superseded: [Int]) {
        try await commit(state.withLock { $0.cursor.entry(content, nonce: .random()) }, applying: content, moreBytes: 0)
    }

    /// Puts a request's operations beside the log, then writes the entry that names them.
    ///
    /// Until that entry is there nothing has happened: objects without one are deleted by a later seal.
    private func commit(bulk request: LoggedRequest) async throws(ClusterError) -> (position: UInt64, superseded: [Int]) {
        let cursor = state.withLock { $0.cursor }
        var (records, byteCount): ([BulkRecord], Int) = ([], 0)
        for operations in BulkObject.pieces(of: request.operations, limit: environment.configuration.entryBytes - BulkObject.overhead) {
            let bytes = BulkObject(dimension: schema.dimension, operations: operations).encoded()
            bulkCounter += 1
            let name = BulkRecord.name(position: cursor.position + 1, epoch: cursor.epoch, incarnation: writer.incarnation, counter: bulkCounter)
            records.append(BulkRecord(name: name, of: bytes))
            try await log.put(records[records.count - 1], bytes: bytes)
            environment.bytesWritten.add(bytes.count)
            byteCount += bytes.count
        }
        let named = LogEntry.Content.bulk(dimension: schema.dimension, BulkRequest(id: request.id, bodyHash: request.bodyHash, objects: records))
        return try await commit(cursor.entry(named, nonce: .random()), applying: .data(dimension: schema.dimension, [request]), moreBytes: byteCount)
    }

    /// - Parameters:
    ///   - content: What the entry means: its own content, or the operations of its bulk objects.
    ///   - moreBytes: Bytes of those objects.
    private func commit(
        _ entry: LogEntry, applying content: LogEntry.Content, moreBytes: Int
    ) async throws(ClusterError) -> (position: UInt64, superseded: [Int]) {
        let bytes = entry.encoded()
        let start = environment.clock.now()
        // From the moment that an end may be in the log, others may go on without waiting: the lease ends before.
        let isEnd = switch entry.content {
        case .release, .terminal, .split, .merge: true
        case .data, .bulk, .claim, .promise: false
        }
        if isEnd { freshness.withLock { $0.leaseEnd = nil } }
        switch await log.append(entry, bytes: bytes) {
        case .committed:
            if !isEnd { renewLease(from: start) }
            environment.entriesWritten.add()
            environment.bytesWritten.add(bytes.count)
            var applied = entry
            applied.content = content
            let superseded = try apply(applied, byteCount: bytes.count + moreBytes)
            environment.followers.publish(bytes, manifestVersion: state.withLock { $0.manifestVersion }, of: id, to: replicas)
            return (entry.position, superseded)
        case .defeated(let foreign):
            throw fail(ClusterError(.aborted, "shard \(id) is owned by \(foreign.writer) since position \(foreign.position)"))
        case .unknown(let error):
            throw fail(ClusterError(.aborted, "shard \(id): outcome of the write at position \(entry.position) is not known: \(error)"))
        }
    }

    func apply(_ entry: LogEntry, byteCount: Int) throws(ClusterError) -> [Int] {
        do throws(ShardState.ApplyError) {
            return try state.withLock { state throws(ShardState.ApplyError) in try state.apply(entry, byteCount: byteCount) }
        } catch { throw fail(ClusterError(.dataLoss, "\(StoreKey.log(id, position: entry.position)): \(error)")) }
    }

    /// Claims the shard unless this opening of it owns it already.
    ///
    /// The claim goes to the first missing position, never above a hole (protocol, H4). It counts only when nothing came
    /// after it and no manifest covers it: otherwise its position had been truncated (H3). It waits until no lease can be left of the
    /// entry that it follows (H11).
    ///
    /// - Returns: The owner, if that is another node and this one is not to take over.
    private func becomeOwner(for request: RequestID, takeover: Bool) async throws(ClusterError) -> NodeID? {
        var isCurrent = false
        // Each round that fails has applied what somebody else wrote; a shard contended for longer is given up.
        for _ in 0..<8 {
            let cursor = state.withLock { $0.cursor }
            if let end = writersEnd { throw end }
            if let damage = state.withLock({ $0.damagedEntries.first }) {
                throw ClusterError(.dataLoss, "shard \(id) takes no writes, as its log is damaged: \(damage)")
            }
            if cursor.isOwner { return nil }
            if let holder = cursor.holder {
                if holder.node != environment.node, !takeover {
                    // This opening may have slept: two that send a caller to each other would do so for ever.
                    try await catchUp()
                    guard state.withLock({ $0.cursor.position }) == cursor.position else { continue }
                    return holder.node
                }
                // A claim at a position that the owner wrote last would fail, after the wait; and reads wait behind this.
                if !isCurrent {
                    try await catchUp()
                    isCurrent = true
                    continue
                }
                if await waitForLease() { continue }
            } else if !takeover, !replicas.contains(environment.node) {
                // Given up, so that one who keeps it takes it.
                return replicas[0]
            }
            let claim = cursor.claim(nonce: .random())
            let bytes = claim.encoded()
            let start = environment.clock.now()
            switch await log.append(claim, bytes: bytes) {
            case .committed:
                let later = try await log.positions(from: claim.position + 1)
                let covered = try await log.newestManifest()?.position ?? 0
                guard later.isEmpty, covered < claim.position else {
                    throw fail(ClusterError(.aborted, "shard \(id): the claim at position \(claim.position) came too late"))
                }
                _ = try apply(claim, byteCount: bytes.count)
                // Another owner may have rewritten the shard since this one marked it.
                isMarked = false
                renewLease(from: start)
                environment.followers.publish(bytes, manifestVersion: state.withLock { $0.manifestVersion }, of: id, to: replicas)
                environment.logger.info(
                    "shard claimed", metadata: logMetadata(request).merging(["epoch": "\(claim.epoch)", "position": "\(claim.position)"]) { $1 })
            case .defeated: try await catchUp()
            case .unknown(let error):
                throw fail(ClusterError(.unavailable, "shard \(id) cannot be claimed: \(error)"))
            }
        }
        throw fail(ClusterError(.aborted, "shard \(id) is contended"))
    }

    /// What every log line about this shard says; nobody requested what it does by itself.
    nonisolated func logMetadata(_ request: RequestID?) -> Logger.Metadata {
        ["shard": "\(id)", "tenant": "\(id.tenant)", "request": request.map { "\($0)" } ?? "none"]
    }

    /// Ends this opening of the shard; the first reason counts.
    @discardableResult
    nonisolated func fail(_ error: ClusterError) -> ClusterError {
        failure.withLock { if $0 == nil { $0 = error } }
        return error
    }
}

extension PendingWrite {
    /// Whether it can be in one entry with others: what a filter resolves to depends on what was committed before.
    fileprivate var mayShare: Bool {
        if case .operations = work { !needsResolution } else { false }
    }
    fileprivate var isCheck: Bool { if case .check = work { true } else { false } }
}

extension RequestedOperation {
    /// - Parameter staged: Points that the same request wrote (`nil`: deleted) before.
    fileprivate func resolved(in snapshot: ShardSnapshot?, after staged: [PointID: LoggedPoint?], stop: StopSignal) throws(ClusterError) -> LoggedOperation {
        switch self {
        case .upsert(let point): return .upsert(point)
        case .delete(let ids): return .delete(ids)
        case .deleteWhere(let filter):
            guard let snapshot else { preconditionFailure("filters are resolved in a snapshot") }
            var ids = try snapshot.ids(passing: filter, stop: stop).filter { staged[$0] == nil }
            for case (let id, let point?) in staged {
                do throws(FormatError) {
                    if filter.passes(id: id, payload: try PayloadDecoder.decode(point.payload)) { ids.append(id) }
                } catch { throw ClusterError(.internal, "payload of point \(id): \(error)") }
            }
            return .delete(ids.sorted())
        }
    }
}

extension LoggedOperation {
    /// What of it concerns other hashes; `nil` if nothing does.
    fileprivate func outside(_ ranges: [HashRange]) -> LoggedOperation? {
        switch self {
        case .upsert(let point): return ranges.contains(point.id.hash) ? nil : self
        case .delete(let ids):
            let others = ids.filter { !ranges.contains($0.hash) }
            return others.isEmpty ? nil : .delete(others)
        }
    }
}

extension LoggedRequest {
    /// Bytes in an entry, at most.
    fileprivate var byteCount: Int { operations.reduce(PendingWrite.requestOverhead) { $0 + $1.byteCount } }
}

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
    private var pace: CommitPace
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
    var bulkCounter = 0
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
        pace = CommitPace(environment.configuration.commitInterval)
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
        if isUsable, isHeld { _ = try? await submit(PendingWrite(.release)) }
        let wasUsable = isUsable
        fail(ClusterError(.unavailable, "shard \(id) was closed on node \(environment.node)"))
        await writing?.value
        // A claim that was on its way.
        if wasUsable, isHeld { _ = try? await commit(.release) }
        await sealing?.value
        await measuring?.value
        environment.drift.set(nil, of: writer.incarnation)
    }

    /// Whether others would wait for a lease of this opening.
    private var isHeld: Bool { environment.configuration.lease > .zero && state.withLock { $0.cursor.isOwner && !$0.cursor.isOver } }

    // MARK: - Writing

    /// Makes the operations durable, then visible; see ``ShardService/append(_:context:)``.
    nonisolated func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        let (schema, configuration) = (schema, environment.configuration)
        let write = try await environment.compute(context) { _ throws(ClusterError) in
            // The write outlives this computation, and so does its stop signal.
            try PendingWrite(request, from: context.requestID, schema: schema, configuration: configuration, stop: StopSignal(deadline: context.deadline))
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
        while let first = queue.first {
            if case .operations = first.work, isUsable, let end = pace.pauseEnd(environment.clock.now()) { try? await environment.clock.sleep(end) }
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
                if let owner = try await becomeOwner(for: group[0].request, takeover: group.contains(where: \.takeover)) {
                    group.forEach { $0.finish(.success(AppendReply(position: 0, superseded: 0, owner: owner))) }
                    return
                }
                switch group[0].work {
                case .operations:
                    pace.wrote(at: environment.clock.now())
                    try await writeOperations(group)
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

    /// What every log line about this shard says; nobody requested what it does by itself.
    nonisolated func logMetadata(_ request: RequestID?) -> Logger.Metadata {
        ["shard": "\(id)", "tenant": "\(id.tenant)", "request": request.map { "\($0)" } ?? "none"]
    }

    /// - Throws: Why this opening has ended, if it has.
    nonisolated func checkUsable() throws(ClusterError) {
        if let error = failure.withLock({ $0 }) { throw error }
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

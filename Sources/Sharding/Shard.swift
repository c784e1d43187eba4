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

    private var queue: [PendingWrite] = []
    private var queuedBytes = 0
    private var writing: Task<Void, Never>?
    var sealing: Task<Void, Never>?
    /// Counts the segments made, for their names.
    var segmentCounter = 0

    init(id: ShardID, schema: CollectionSchema, environment: ShardEnvironment, log: LogStore, writer: LogWriterID, state: consuming ShardState) {
        self.id = id
        self.schema = schema
        range = HashRange.tiling(schema.shardCount)[id.index]
        self.environment = environment
        self.log = log
        self.writer = writer
        self.state = Mutex(state)
    }

    nonisolated var isUsable: Bool { failure.withLock { $0 == nil } }
    nonisolated var snapshot: ShardSnapshot { state.withLock { $0.snapshot } }

    /// Waits until nothing is being written or built. Later writes are refused.
    func close() async {
        fail(ClusterError(.unavailable, "shard \(id) was closed on node \(environment.node)"))
        await writing?.value
        await sealing?.value
    }

    // MARK: - Writing

    /// Makes the operations durable, then visible; see ``ShardService/append(_:context:)``.
    nonisolated func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        let (dimension, entryBytes) = (schema.dimension, environment.configuration.entryBytes)
        let parts = try await environment.compute(context) { stop throws(ClusterError) in
            // The write outlives this computation, and so does its stop signal.
            try PendingWrite.parts(
                of: request, id: context.requestID, dimension: dimension, entryBytes: entryBytes, stop: StopSignal(deadline: context.deadline))
        }
        var reply = AppendReply(position: 0, superseded: 0)
        for part in parts {
            let partReply = try await submit(part)
            reply = AppendReply(position: partReply.position, superseded: reply.superseded + partReply.superseded)
        }
        return reply
    }

    /// Queues a write and waits for its outcome. Cancelling takes it back as long as it waits in the queue.
    nonisolated func submit(_ write: PendingWrite) async throws(ClusterError) -> AppendReply {
        try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                write.wait(with: continuation)
                Task { await self.enqueue(write) }  // ends at once; the write is finished by `drain`
            }
        } onCancel: {
            write.stop.cancel()
        }.get()
    }

    private func enqueue(_ write: PendingWrite) {
        if let error = failure.withLock({ $0 }) { return write.finish(.failure(error)) }
        let limit = environment.configuration.queueBytes
        guard queuedBytes + write.byteCount <= limit || queue.isEmpty else {
            return write.finish(.failure(ClusterError(.resourceExhausted, "shard \(id): \(queuedBytes) bytes wait to be written, the limit is \(limit)")))
        }
        let unsealed = state.withLock { $0.unsealedBytes }
        guard unsealed + write.byteCount <= environment.configuration.unsealedBytes || write.byteCount == 0 else {
            return write.finish(
                .failure(
                    ClusterError(
                        .resourceExhausted,
                        "shard \(id): \(unsealed) bytes wait to be sealed, the limit is \(environment.configuration.unsealedBytes)")))
        }
        queue.append(write)
        queuedBytes += write.byteCount
        // Its parent is this shard: `close` waits for it.
        if writing == nil { writing = Task { await drain() } }
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
            guard group.isEmpty || (byteCount + next.byteCount <= environment.configuration.entryBytes && group[0].mayShare && next.mayShare) else { break }
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
            try await becomeOwner()
            switch group[0].work {
            case .claim: group[0].finish(.success(AppendReply(position: state.withLock { $0.cursor.position }, superseded: 0)))
            case .terminal:
                let position = try await commit(.terminal).position
                group[0].finish(.success(AppendReply(position: position, superseded: 0)))
            case .operations: try await writeOperations(group)
            }
        } catch {
            // Writes that were answered already ignore this.
            group.forEach { $0.finish(.failure(error)) }
        }
        environment.appendSeconds.observe(start.duration(to: .now))
        sealIfDue()
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
                requests.append(LoggedRequest(id: write.key.id, bodyHash: write.key.bodyHash, operations: try await resolve(operations, stop: write.stop)))
            }
        }
        guard !requests.isEmpty else { return }
        var superseded = Array(repeating: 0, count: requests.count)
        var position: UInt64 = 0
        let limit = environment.configuration.entryBytes - PendingWrite.entryOverhead
        // Only what a filter resolved to can exceed an entry, and such a request is alone in its group.
        for entry in requests.count == 1 ? requests[0].split(limit: limit).map({ [$0] }) : [requests] {
            let counts: [Int]
            (position, counts) = try await commit(.data(dimension: schema.dimension, entry))
            for (request, count) in counts.enumerated() { superseded[request] += count }
        }
        for (writes, count) in zip(waiting, superseded) {
            writes.forEach { $0.finish(.success(AppendReply(position: position, superseded: count))) }
        }
    }

    /// Operations with filters replaced by the ids that pass them at this position (protocol, H20).
    private func resolve(_ operations: [PendingWrite.Operation], stop: StopSignal) async throws(ClusterError) -> [LoggedOperation] {
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
    private func commit(_ content: LogEntry.Content) async throws(ClusterError) -> (position: UInt64, superseded: [Int]) {
        let entry = state.withLock { $0.cursor.entry(content, nonce: .random()) }
        let bytes = entry.encoded()
        switch await log.append(entry, bytes: bytes) {
        case .committed:
            environment.entriesWritten.add()
            environment.bytesWritten.add(bytes.count)
            return (entry.position, try apply(entry, byteCount: bytes.count))
        case .defeated(let foreign):
            throw fail(ClusterError(.aborted, "shard \(id) is owned by \(foreign.writer) since position \(foreign.position)"))
        case .unknown(let error):
            throw fail(ClusterError(.aborted, "shard \(id): outcome of the write at position \(entry.position) is not known: \(error)"))
        }
    }

    private func apply(_ entry: LogEntry, byteCount: Int) throws(ClusterError) -> [Int] {
        do throws(ShardState.ApplyError) {
            return try state.withLock { state throws(ShardState.ApplyError) in try state.apply(entry, byteCount: byteCount) }
        } catch { throw fail(ClusterError(.dataLoss, "\(StoreKey.log(id, position: entry.position)): \(error)")) }
    }

    /// Claims the shard unless this opening of it owns it already.
    ///
    /// The claim goes to the first missing position, never above a hole (protocol, H4). It counts only when nothing came
    /// after it and no manifest covers it: otherwise its position had been truncated (H3).
    private func becomeOwner() async throws(ClusterError) {
        // Each round that fails has applied an entry of somebody else; a shard contended for longer is given up.
        for _ in 0..<32 {
            let cursor = state.withLock { $0.cursor }
            guard !cursor.isOver else { throw ClusterError(.notFound, "shard \(id) was dropped") }
            if let damage = state.withLock({ $0.damagedEntries.first }) {
                throw ClusterError(.dataLoss, "shard \(id) takes no writes, as its log is damaged: \(damage)")
            }
            if cursor.isOwner { return }
            let claim = cursor.claim(nonce: .random())
            let bytes = claim.encoded()
            switch await log.append(claim, bytes: bytes) {
            case .committed:
                let later = try await log.positions(from: claim.position + 1)
                let covered = try await log.newestManifest()?.position ?? 0
                guard later.isEmpty, covered < claim.position else {
                    throw fail(ClusterError(.aborted, "shard \(id): the claim at position \(claim.position) came too late"))
                }
                _ = try apply(claim, byteCount: bytes.count)
                environment.logger.info("shard claimed", metadata: ["shard": "\(id)", "epoch": "\(claim.epoch)", "position": "\(claim.position)"])
            case .defeated(let foreign):
                _ = try apply(foreign, byteCount: 0)
                try await catchUp()
            case .unknown(let error):
                throw fail(ClusterError(.unavailable, "shard \(id) cannot be claimed: \(error)"))
            }
        }
        throw fail(ClusterError(.aborted, "shard \(id) is contended"))
    }

    /// Applies what others have written since.
    private func catchUp() async throws(ClusterError) {
        for position in try await log.positions(from: state.withLock({ $0.cursor.position }) + 1) {
            guard case .entry(let entry, let byteCount) = try await log.entry(at: position), position == state.withLock({ $0.cursor.position }) + 1 else {
                throw fail(ClusterError(.aborted, "shard \(id): the log changed at position \(position)"))
            }
            _ = try apply(entry, byteCount: byteCount)
        }
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
}

extension PendingWrite.Operation {
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

extension LoggedRequest {
    /// The request in parts of at most `limit` bytes each. Only the last carries the request's own hash: until that is
    /// committed, a repetition is applied again, which then finds less to delete.
    fileprivate func split(limit: Int) -> [LoggedRequest] {
        let perPart = max(1, (limit - PendingWrite.requestOverhead) / 17)
        var parts: [LoggedRequest] = []
        var current: [LoggedOperation] = []
        var byteCount = PendingWrite.requestOverhead
        func close() {
            let number = UInt64(parts.count + 1)
            parts.append(LoggedRequest(id: id, bodyHash: Nonce(high: bodyHash.high ^ number, low: ~bodyHash.low), operations: current))
            current = []
            byteCount = PendingWrite.requestOverhead
        }
        func add(_ operation: LoggedOperation, _ bytes: Int) {
            if byteCount + bytes > limit && !current.isEmpty { close() }
            current.append(operation)
            byteCount += bytes
        }
        for operation in operations {
            switch operation {
            case .upsert(let point): add(operation, point.byteCount)
            case .delete(let ids):
                if ids.isEmpty { add(operation, 5) }
                for start in stride(from: 0, to: ids.count, by: perPart) {
                    let some = Array(ids[start..<min(start + perPart, ids.count)])
                    add(.delete(some), 5 + 17 * some.count)
                }
            }
        }
        parts.append(LoggedRequest(id: id, bodyHash: bodyHash, operations: current))
        return parts
    }
}

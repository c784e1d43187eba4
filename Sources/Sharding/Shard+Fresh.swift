import Model
import Storage

extension Shard {
    /// A snapshot as fresh as the caller asks for.
    ///
    /// `strong`: an owner within its lease is current (protocol, H11); everybody else lists the log once after the read arrived, all reads
    /// that wait together. So any replica can answer, whether the owner lives or not.
    ///
    /// - Throws: `unavailable` if the store does not confirm in time; `notFound` once the shard was dropped.
    nonisolated func snapshot(for context: CallContext) async throws(ClusterError) -> ShardSnapshot {
        let snapshot = try readableSnapshot()
        switch context.consistency {
        case .eventual: return snapshot
        case .bounded(let milliseconds):
            if let age, age <= .milliseconds(milliseconds) { return snapshot }
        case .strong: break
        }
        // Looked at after the snapshot was taken: what it shows was current then.
        if holdsLease { return snapshot }
        if !isWaitingForUpperHalf { try await verify(context) }
        // It is read, though it has ended, until the other half has: only then others can write its range.
        if isWaitingForUpperHalf { try await checkMerge() }
        return try readableSnapshot()
    }

    /// A snapshot that has these versions, or is current.
    nonisolated func snapshot(with versions: [PointVersion], _ context: CallContext) async throws(ClusterError) -> ShardSnapshot {
        let snapshot = try readableSnapshot()
        guard let newest = versions.map(\.version).max(), newest > snapshot.position else { return snapshot }
        try await verify(context)
        return try readableSnapshot()
    }

    /// Time since it was last known that nothing newer was committed.
    nonisolated var age: Duration? {
        let now = environment.clock.now()
        if holdsLease { return .zero }
        return freshness.withLock { $0.verifiedAt }.map { $0.duration(to: now) }
    }

    nonisolated var holdsLease: Bool {
        guard isUsable, state.withLock({ $0.cursor.isOwner }) else { return false }
        let now = environment.clock.now()
        return freshness.withLock { $0.leaseEnd.map { now < $0 } ?? false }
    }

    /// - Parameter start: Before the put of the entry that was committed.
    nonisolated func renewLease(from start: ContinuousClock.Instant) {
        freshness.withLock { freshness in
            freshness.leaseEnd = start + environment.configuration.lease
            freshness.verifiedAt = start
        }
    }

    /// Waits until the owner cannot hold a lease any more that it got from an entry known here.
    ///
    /// - Returns: Whether it had to wait: what is known may be old, then.
    func waitForLease() async -> Bool {
        let lease = environment.configuration.lease
        // An eighth more, for clocks that do not run equally fast.
        let end = freshness.withLock { $0.tailKnownAt } + lease + lease / 8
        guard lease > .zero, environment.clock.now() < end else { return false }
        try? await environment.clock.sleep(end)
        return true
    }

    // MARK: - Following the log

    /// Returns when this opening has everything that was committed before the call.
    private nonisolated func verify(_ context: CallContext) async throws(ClusterError) {
        let (clock, timeout) = (environment.clock, environment.configuration.verifyTimeout)
        let now = clock.now()
        // While the store is away one read at a time finds out whether it is back; the others do not wait.
        let (began, failingSince) = freshness.withLock { ($0.checkBegan, $0.failingSince) }
        if began != nil, let failingSince, failingSince.duration(to: now) > timeout * 2 {
            throw ClusterError(.unavailable, "shard \(id): the store has not answered for \(failingSince.duration(to: now)), so that nobody knows what is current")
        }
        let check = PendingWrite(.check)
        let end = min(now + timeout, context.deadline ?? now + timeout)
        let code: ClusterError.Code = end == context.deadline ? .deadlineExceeded : .unavailable
        // Its parent is this call, which ends it.
        let timer = Task(executorPreference: environment.executor) {
            guard (try? await clock.sleep(end)) != nil else { return }
            check.finish(.failure(ClusterError(code, "shard \(self.id): the store did not confirm within \(now.duration(to: end)) what is current")))
        }
        defer { timer.cancel() }
        _ = try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                check.wait(with: continuation)
                Task(executorPreference: environment.executor) { await self.confirm(check) }  // it ends with the listing; the check may be finished before
            }
        } onCancel: {
            check.finish(.failure(ClusterError(.cancelled, "the caller went away")))
        }.get()
    }

    /// Finishes a check at once if this opening has, by then, all that a listing shows that begins now; else in its turn among the writes, which may
    /// be behind the wait for a lease.
    private func confirm(_ check: PendingWrite) async {
        let task: Task<Result<UInt64?, ClusterError>, Never>
        if let next = nextListing {
            task = next
        } else {
            // The listing under way began before this check; those that wait share the next.
            let underWay = listing
            task = Task(executorPreference: environment.executor) {
                _ = await underWay?.value
                return await self.listsLast()
            }
            nextListing = task
        }
        switch await task.value {
        case .success(let last):
            let position = state.withLock { $0.cursor.position }
            if let last, last <= position { check.finish(.success(AppendReply(position: position, superseded: 0))) } else { enqueue(check) }
        case .failure(let error): check.finish(.failure(error))
        }
    }

    /// The log's last position; `nil` if the listing does not show where this opening stands.
    private func listsLast() async -> Result<UInt64?, ClusterError> {
        (listing, nextListing) = (nextListing, nil)
        let start = environment.clock.now()
        freshness.withLock { $0.checkBegan = start }
        defer { freshness.withLock { $0.checkBegan = nil } }
        let (position, base) = state.withLock { ($0.cursor.position, $0.basePosition) }
        do throws(ClusterError) {
            // From the last known entry on, which is never truncated: an empty listing proves nothing (H10).
            let listed = try await log.positions(from: position, within: environment.configuration.verifyTimeout)
            freshness.withLock { $0.failingSince = nil }
            let last = listed.isEmpty && position == base ? position : listed.first == position ? listed.last : nil
            if let last, last <= state.withLock({ $0.cursor.position }) { freshness.withLock { $0.verifiedAt = max($0.verifiedAt ?? start, start) } }
            return .success(last)
        } catch {
            freshness.withLock { $0.failingSince = $0.failingSince ?? start }
            return .failure(error)
        }
    }

    /// Applies what others have written since, which is what the checks that wait want. Nothing else applies entries meanwhile: it runs in its turn
    /// among the writes.
    func catchUp() async throws(ClusterError) {
        let (start, checks) = (environment.clock.now(), waitingChecks)
        let (position, base) = state.withLock { ($0.cursor.position, $0.basePosition) }
        // The log's last entry is never truncated: a listing that does not show it shows that others went on and truncated (H10).
        let listed = try await log.positions(from: position, within: environment.configuration.verifyTimeout)
        guard position == base || listed.first == position else {
            throw fail(ClusterError(.unavailable, "shard \(id): position \(position) is not in the log any more; it is opened anew"))
        }
        var rest = listed.drop { $0 <= position }
        guard rest.isEmpty || Array(rest) == Array(position + 1...position + UInt64(rest.count)) else {
            throw fail(ClusterError(.unavailable, "shard \(id): positions after \(position) are not in the log any more; it is opened anew"))
        }
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.readAhead))
            rest = rest.dropFirst(batch.count)
            for (found, read) in zip(batch, try await Self.read(batch, log: log)) {
                guard case .entry(let entry, let byteCount) = read else {
                    throw fail(ClusterError(.unavailable, "shard \(id): the log changed at position \(found); it is opened anew"))
                }
                let mayFillHole = switch entry.content {
                case .claim, .barrier: true
                default: false
                }
                if mayFillHole, try await log.newestManifest()?.position ?? 0 >= found {
                    // At a position that had been truncated, perhaps: then it is void, and what follows it is not (H3).
                    throw fail(ClusterError(.unavailable, "shard \(id): a manifest covers the entry at position \(found); it is opened anew"))
                }
                try learn(entry, byteCount: byteCount)
            }
        }
        freshness.withLock { $0.verifiedAt = start }
        finish(checks)
    }

    /// Applies entries that their writer says are in the log; reads from the log what it did not send: what a lost message had, and operations
    /// in objects beside the log.
    func follow(_ entries: [(entry: LogEntry, byteCount: Int)]) async throws(ClusterError) {
        for (entry, byteCount) in entries {
            let next = state.withLock { $0.cursor.position } + 1
            if entry.position < next { continue }
            if entry.position > next { return try await catchUp() }
            if case .bulk = entry.content { return try await catchUp() }
            try learn(entry, byteCount: byteCount)
        }
    }

    private func learn(_ entry: LogEntry, byteCount: Int) throws(ClusterError) {
        _ = try apply(entry, byteCount: byteCount)
        let now = environment.clock.now()
        freshness.withLock { $0.tailKnownAt = now }
    }

    /// Whether an owner would have sealed long ago what is in memory here: then there is a newer manifest.
    nonisolated var isBehind: Bool {
        let configuration = environment.configuration
        return state.withLock { state in
            !state.cursor.isOwner
                && (state.tailRows >= 2 * configuration.sealPoints || state.unsealedBytes >= 2 * configuration.sealBytes
                    || state.unsealedEntries >= 2 * configuration.sealEntries)
        }
    }
}

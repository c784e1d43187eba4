import Model
import Storage

extension Shard {
    /// What the owner's next entry is to be: made anew for another position, if a snapshot's barrier takes the one that it was made for.
    enum Draft {
        case content(LogEntry.Content)
        /// A request whose operations are put beside the log before. Until the entry that names them is there nothing has happened: objects without one are
        /// deleted by a later seal.
        case bulk(LoggedRequest)
        case split(SplitHalves)
    }

    /// Writes the owner's next entry and applies it.
    func commit(_ content: LogEntry.Content) async throws(ClusterError) -> (position: UInt64, superseded: [Int]) { try await commit(.content(content)) }

    func commit(_ draft: Draft) async throws(ClusterError) -> (position: UInt64, superseded: [Int]) {
        while true {
            try await awaitCuts()
            let cursor = state.withLock { $0.cursor }
            let committed: (position: UInt64, superseded: [Int])?
            switch draft {
            case .content(let content): committed = try await put(cursor.entry(content, nonce: .random()))
            case .split(let halves): committed = try await put(cursor.entry(split(halves, at: cursor), nonce: .random()))
            case .bulk(let request):
                let (named, byteCount) = try await putBulk(request, at: cursor)
                let meaning = LogEntry.Content.data(dimension: schema.dimension, [request])
                committed = try await put(cursor.entry(named, nonce: .random()), applying: meaning, moreBytes: byteCount)
            }
            if let committed { return committed }
        }
    }

    /// - Returns: The entry that names the objects, and their bytes.
    private func putBulk(_ request: LoggedRequest, at cursor: LogCursor) async throws(ClusterError) -> (LogEntry.Content, byteCount: Int) {
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
        return (.bulk(dimension: schema.dimension, BulkRequest(request.part, objects: records)), byteCount)
    }

    /// - Parameters:
    ///   - meaning: What the entry means, if not its own content: the operations of its bulk objects.
    ///   - moreBytes: Bytes of those objects.
    /// - Returns: `nil` if a barrier was there before.
    private func put(
        _ entry: LogEntry, applying meaning: LogEntry.Content? = nil, moreBytes: Int = 0
    ) async throws(ClusterError) -> (position: UInt64, superseded: [Int])? {
        let bytes = entry.encoded()
        let start = environment.clock.now()
        // From the moment that an end may be in the log, others may go on without waiting: the lease ends before.
        let isEnd = switch entry.content {
        case .release, .terminal, .split, .merge: true
        case .data, .bulk, .claim, .promise, .barrier: false
        }
        if isEnd { freshness.withLock { $0.leaseEnd = nil } }
        switch await log.append(entry, bytes: bytes) {
        case .committed:
            if !isEnd { renewLease(from: start) }
            environment.entriesWritten.add()
            environment.bytesWritten.add(bytes.count)
            var applied = entry
            applied.content = meaning ?? entry.content
            let superseded = try apply(applied, byteCount: bytes.count + moreBytes)
            environment.followers.publish(bytes, manifestVersion: state.withLock { $0.manifestVersion }, of: id, to: replicas)
            return (entry.position, superseded)
        case .defeated(let foreign):
            guard case .barrier = foreign.content else {
                throw fail(ClusterError(.aborted, "shard \(id) is owned by \(foreign.writer) since position \(foreign.position)"))
            }
            let bytes = foreign.encoded()
            _ = try apply(foreign, byteCount: bytes.count)
            environment.followers.publish(bytes, manifestVersion: state.withLock { $0.manifestVersion }, of: id, to: replicas)
            return nil
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
    func becomeOwner(for request: RequestID?, takeover: Bool) async throws(ClusterError) -> NodeID? {
        var isCurrent = false
        // Each round that fails has applied what somebody else wrote; a shard contended for longer is given up.
        for _ in 0..<8 {
            // Closed while it waited: its claim would be of no use to anybody, and others would wait for its end.
            try checkUsable()
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
}

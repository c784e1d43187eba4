import Model
import Storage

extension SnapshotWriter {
    /// Attempts until a snapshot is given up. Reason: an attempt fails if a shard is sealed, split or merged between its barrier and the copy of the few
    /// objects that are new since the copy before, or if a write has waited too long.
    private static let attempts = 20
    /// Shards whose barriers are written at once.
    private static let breadth = 32
    /// Shards that are copied at once, after them.
    private static let copiedShards = 4
    /// Positions that others take before a barrier gets one.
    private static let tries = 16

    /// Makes copies of shards into copies of one moment (protocol, H23).
    ///
    /// A barrier goes into the log of each shard, like any writer's entry to the position after the last. Once all are in, the cut is decided, and
    /// owners that meanwhile met one go on writing. What is needed up to the barriers is copied then: an owner may delete it with its next seal, and if it
    /// has, all begins anew, with less to copy.
    func align(_ copies: inout [[ShardID: ShardCopy]], of schemas: [CollectionSchema]) async throws(ClusterError) -> Cut {
        var reason = ClusterError(.unavailable, "")
        for attempt in 0..<Self.attempts {
            if attempt > 0 {
                try? await clock.sleep(clock.now() + .milliseconds(20) * attempt)
                for (index, schema) in schemas.enumerated() { copies[index] = try await copyShards(of: schema, copies[index]) }
            }
            let cut = Cut(id: .random(), begunAt: now())
            let logs = zip(schemas, copies).flatMap { schema, copies in copies.filter { $0.value.end == nil }.keys.map { (log(of: $0), schema) } }
            guard let (anyLog, _) = logs.first else { return cut }
            do throws(ClusterError) {
                let barriers = try await place(cut, in: logs)
                let decision = try await anyLog.decide(cut, .made)
                guard decision == .made else { throw ClusterError(.aborted, "writes have waited too long for it") }
                for (index, schema) in schemas.enumerated() {
                    let made = copies[index]
                    let limits = made.keys.compactMap { shard in barriers[shard].map { (shard, $0) } }
                    let limited = try await concurrently(limits, atMost: Self.copiedShards) { (shard, barrier) throws(ClusterError) in
                        guard let copy = try await copy(shard, of: schema, made[shard], upTo: barrier) else {
                            throw ClusterError(.aborted, "shard \(shard) was sealed before it was copied")
                        }
                        return copy
                    }
                    for ((shard, _), copy) in zip(limits, limited) { copies[index][shard] = copy }
                }
                return cut
            } catch {
                // Who has met a barrier need not wait for nothing.
                _ = try? await anyLog.decide(cut, .abandoned)
                guard error.code == .aborted || error.code == .unavailable else { throw error }
                reason = error
            }
        }
        throw ClusterError(.unavailable, "no moment of all shards was found in \(Self.attempts) attempts; at last: \(reason.message)")
    }

    /// - Returns: The barriers' positions.
    /// - Throws: `aborted` if a shard ended meanwhile, or was sealed past its barrier.
    private func place(_ cut: Cut, in logs: [(LogStore, CollectionSchema)]) async throws(ClusterError) -> [ShardID: UInt64] {
        let positions = try await concurrently(logs, atMost: Self.breadth) { (log, schema) throws(ClusterError) in try await place(cut, in: log, schema) }
        return Dictionary(uniqueKeysWithValues: zip(logs.map(\.0.shard), positions))
    }

    private func place(_ cut: Cut, in log: LogStore, _ schema: CollectionSchema) async throws(ClusterError) -> UInt64 {
        let writer = LogWriterID(node: NodeID("snapshot"), incarnation: cut.id.low)
        for _ in 0..<Self.tries {
            // After the last entry, never above a hole (H4), and not after an end: those who look for one look at the last entry.
            let last = try await log.lastEntry()
            guard last.flatMap({ LogCursor.End($0.content) }) == nil else { throw ClusterError(.aborted, "shard \(log.shard) has ended") }
            var position: UInt64 = 1
            if let last { position += last.position } else { position += try await beginning(of: log, in: schema)?.position ?? 0 }
            let entry = LogEntry(position: position, epoch: 0, writer: writer, nonce: .random(), content: .barrier(cut))
            switch await log.append(entry, bytes: entry.encoded()) {
            case .committed:
                // Covered already, it may be at a position that had been truncated (H3).
                guard try await log.newestManifest()?.position ?? 0 < position else {
                    throw ClusterError(.aborted, "shard \(log.shard) was sealed past its barrier")
                }
                return position
            case .defeated: continue
            case .unknown(let error): throw ClusterError(.unavailable, "no barrier can be written to shard \(log.shard): \(error)")
            }
        }
        throw ClusterError(.aborted, "others have taken \(Self.tries) positions in the log of shard \(log.shard)")
    }
}

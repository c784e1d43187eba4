import Model
import Storage

extension Shard {
    /// Entries read at once while a log is replayed. Reason: hides the latency of a store, bounds memory to 16 requests.
    static let readAhead = 16

    /// Opens a shard from the store alone: schema, newest manifest, its segments, then the tail of the log.
    ///
    /// - Throws: `notFound` if the collection is not in the store; `dataLoss` if its manifest is damaged;
    ///   `failedPrecondition` if a newer release wrote something that this one must not guess at.
    static func open(_ id: ShardID, environment: ShardEnvironment) async throws(ClusterError) -> Shard {
        let log = LogStore(shard: id, store: environment.store, retryDelay: environment.configuration.retryDelay, clock: environment.clock)
        let schema = try await schema(of: id, log: log)
        var entropy = Entropy()
        let writer = LogWriterID(node: environment.node, incarnation: .random(in: 1...UInt64.max, using: &entropy))
        // An owner elsewhere may truncate the log, or delete what a seal merged, between the reading of the manifest and that of
        // what it names: a gap means "read the newest manifest again" (protocol, H10, H16). Only with the same one again it is a loss.
        var previousVersion: UInt64?
        while true {
            let start = environment.clock.now()
            let manifest = try await log.newestManifest()
            let version = manifest?.version ?? 0
            let state = try await state(
                of: log, after: manifest, schema: schema, writer: writer, environment: environment, toleratesGaps: version == previousVersion)
            // A claim or a barrier that a later manifest covers may be one at a position that had been truncated: void, unlike what follows it (H3).
            if let state, state.cursor.epoch > manifest?.epoch ?? 0 || !state.openCuts.isEmpty, try await log.newestManifest()?.version ?? 0 > version { continue }
            if let state {
                let shard = Shard(id: id, schema: schema, environment: environment, log: log, writer: writer, state: state, listedAt: start)
                try await shard.checkMerge()
                await shard.watchDrift()
                return shard
            }
            // So it is with a log that was erased but for its fences.
            if let end = try await log.end(), end != .dropped {
                let cursor = LogCursor(writer: writer, endedBy: end, at: try await log.fences(), epoch: 0)
                let shard = Shard(
                    id: id, schema: schema, environment: environment, log: log, writer: writer, state: ShardState(schema: schema, endedAt: cursor), listedAt: start)
                // It is not read: only what is complete was erased.
                if try await shard.checkMerge() { return shard }
            }
            previousVersion = version
        }
    }

    private static func schema(of id: ShardID, log: LogStore) async throws(ClusterError) -> CollectionSchema {
        let key = StoreKey.schema(id.incarnation, of: id.tenant)
        guard let bytes = try await log.get(key) else { throw ClusterError(.notFound, "collection \(id.incarnation) is not in the store") }
        let schema: CollectionSchema
        do throws(FormatError) { schema = try CollectionSchema(stored: bytes) } catch { throw ClusterError(error, in: key) }
        try schema.validate()
        guard ShardLayout.range(of: id.index, firstCount: schema.shardCount) != nil else {
            throw ClusterError(.notFound, "collection \(schema.name) cannot have a shard \(id.index)")
        }
        return schema
    }

    /// The state after the last entry; `nil` if an entry or a segment is missing and `toleratesGaps` is false.
    ///
    /// - Parameter manifest: The newest. Without one a shard begins with what the split or the merge says that it comes of.
    private static func state(
        of log: LogStore, after manifest: Manifest?, schema: CollectionSchema, writer: LogWriterID, environment: ShardEnvironment, toleratesGaps: Bool
    ) async throws(ClusterError) -> ShardState? {
        try environment.quarantine.check(.open, log.shard)
        var beginning = manifest
        if manifest == nil {
            switch try await log.origin(in: schema) {
            case .first: break
            case .half(let half): beginning = half
            case .merged(let merge):
                var halves: [ShardState] = []
                for half in [merge.lower, merge.upper] {
                    let log = log.log(of: half)
                    // A shard is sealed before it merges if it was made so itself: this goes no deeper.
                    let state = try await state(
                        of: log, after: log.newestManifest(), schema: schema, writer: writer, environment: environment, toleratesGaps: toleratesGaps)
                    guard let state else { return nil }
                    halves.append(state)
                }
                let ranges = [merge.lower, merge.upper].map { ShardLayout.range(of: $0.index, firstCount: schema.shardCount)! }
                let state = ShardState(schema: schema, writer: writer, uniting: halves[0], ranges[0], halves[1], ranges[1])
                return try await replay(after: state, log: log, toleratesGaps: toleratesGaps, environment.quarantine)
            }
        }
        var segments: [ShardState.Segment] = []
        for record in beginning?.segments ?? [] {
            let segment = try await ShardState.Segment.open(record, of: log.shard, schema: schema, environment: environment)
            guard toleratesGaps || !segment.isMissing else { return nil }
            segments.append(segment)
        }
        return try await replay(
            after: ShardState(schema: schema, writer: writer, manifest: beginning, segments: segments, remembers: environment.configuration.rememberedWrites), log: log, toleratesGaps: toleratesGaps, environment.quarantine)
    }

    private static func replay(
        after beginning: ShardState, log: LogStore, toleratesGaps: Bool, _ quarantine: Quarantine
    ) async throws(ClusterError) -> ShardState? {
        var state = beginning
        let covered = state.coveredPosition
        // The log's last entry is never truncated: a listing from there on that shows nothing is a wrong listing.
        let listed = try await log.positions(from: covered)
        guard covered == state.basePosition || !listed.isEmpty else {
            throw ClusterError(.unavailable, "shard \(log.shard): the store lists no log entry from position \(covered) on")
        }
        var next = covered + 1
        while let last = listed.last, next <= last {
            let batch = Array(next...min(last, next + UInt64(readAhead) - 1))
            let found = try await read(batch, log: log)
            let isWhole = quarantine.run(.open, log.shard) { apply(found, at: batch, of: log.shard, to: &state, toleratesGaps: toleratesGaps) }
            guard isWhole else { return nil }
            next += UInt64(batch.count)
        }
        quarantine.acquit(.open, log.shard)
        return state
    }

    /// - Returns: `false` if an entry is missing and `toleratesGaps` is false.
    private static func apply(_ entries: [LogStore.Found], at positions: [UInt64], of shard: ShardID, to state: inout ShardState, toleratesGaps: Bool) -> Bool {
        for (position, found) in zip(positions, entries) {
            switch found {
            case .entry(let entry, let byteCount):
                do throws(ShardState.ApplyError) { _ = try state.apply(entry, byteCount: byteCount) } catch {
                    state.skip(StoreKey.log(shard, position: position), reason: "\(error)")
                }
            case .missing(let key):
                guard toleratesGaps else { return false }
                state.skip(key, reason: "missing, though the log goes on")
            case .damaged(let key, let reason): state.skip(key, reason: reason)
            }
        }
        return true
    }

    static func read(_ positions: [UInt64], log: LogStore) async throws(ClusterError) -> [LogStore.Found] {
        try await concurrently(positions, atMost: readAhead) { position throws(ClusterError) in try await log.entry(at: position) }
    }
}

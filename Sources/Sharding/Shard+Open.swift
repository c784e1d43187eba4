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
            // A half of a split shard that was never sealed begins with what the split says.
            var manifest = try await log.newestManifest()
            if manifest == nil { manifest = try await log.beginning(in: schema) }
            let version = manifest?.version ?? 0
            let state = try await replay(
                after: manifest, log: log, schema: schema, writer: writer, environment: environment, toleratesGaps: version == previousVersion)
            // A claim that a later manifest covers may be one at a position that had been truncated: void, unlike what follows it (H3).
            if let state, state.cursor.epoch > manifest?.epoch ?? 0, try await log.newestManifest()?.version ?? 0 > version { continue }
            if let state {
                let shard = Shard(id: id, schema: schema, environment: environment, log: log, writer: writer, state: state, listedAt: start)
                await shard.watchDrift()
                return shard
            }
            // So it is with a log that was erased but for its fences.
            if let halves = try await log.halves() {
                let cursor = LogCursor(writer: writer, splitAt: try await log.fences(), epoch: halves.lower.epoch)
                return Shard(id: id, schema: schema, environment: environment, log: log, writer: writer, state: ShardState(schema: schema, splitAt: cursor), listedAt: start)
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
    private static func replay(
        after manifest: Manifest?, log: LogStore, schema: CollectionSchema, writer: LogWriterID, environment: ShardEnvironment, toleratesGaps: Bool
    ) async throws(ClusterError) -> ShardState? {
        var segments: [ShardState.Segment] = []
        for record in manifest?.segments ?? [] {
            let segment = try await ShardState.Segment.open(record, of: log.shard, schema: schema, environment: environment)
            guard toleratesGaps || !segment.isMissing else { return nil }
            segments.append(segment)
        }
        var state = ShardState(schema: schema, writer: writer, manifest: manifest, segments: segments)
        let covered = state.coveredPosition
        // The log's last entry is never truncated: a listing from there on that shows nothing is a wrong listing.
        let listed = try await log.positions(from: covered)
        guard covered == state.basePosition || !listed.isEmpty else {
            throw ClusterError(.unavailable, "shard \(log.shard): the store lists no log entry from position \(covered) on")
        }
        guard let last = listed.last, last > covered else { return state }
        var next = covered + 1
        while next <= last {
            let batch = Array(next...min(last, next + UInt64(readAhead) - 1))
            for (position, found) in zip(batch, try await read(batch, log: log)) {
                switch found {
                case .entry(let entry, let byteCount):
                    do throws(ShardState.ApplyError) { _ = try state.apply(entry, byteCount: byteCount) } catch {
                        state.skip(StoreKey.log(log.shard, position: position), reason: "\(error)")
                    }
                case .missing(let key):
                    guard toleratesGaps else { return nil }
                    state.skip(key, reason: "missing, though the log goes on")
                case .damaged(let key, let reason): state.skip(key, reason: reason)
                }
            }
            next += UInt64(batch.count)
        }
        return state
    }

    static func read(_ positions: [UInt64], log: LogStore) async throws(ClusterError) -> [LogStore.Found] {
        let found = await withTaskGroup(of: (UInt64, Result<LogStore.Found, ClusterError>).self) { group in
            for position in positions { group.addTask { (position, await log.result(at: position)) } }
            return await group.reduce(into: [UInt64: Result<LogStore.Found, ClusterError>]()) { $0[$1.0] = $1.1 }
        }
        return try positions.map { position throws(ClusterError) in try found[position]!.get() }
    }
}

extension LogStore {
    fileprivate func result(at position: UInt64) async -> Result<Found, ClusterError> {
        do throws(ClusterError) {
            let found = try await entry(at: position)
            return .success(found)
        } catch { return .failure(error) }
    }
}

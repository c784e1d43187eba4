import Model
import Storage

extension Shard {
    /// - Throws: `notFound` once the shard was dropped, `outOfRange` once it was split.
    nonisolated func readableSnapshot() throws(ClusterError) -> ShardSnapshot {
        if let end { throw end }
        return snapshot
    }

    /// Why nobody reads or writes the shard any more.
    nonisolated var end: ClusterError? {
        let (isOver, isSplit) = state.withLock { ($0.cursor.isOver, $0.cursor.isSplit) }
        guard isOver else { return nil }
        guard isSplit else { return ClusterError(.notFound, "shard \(id) was dropped") }
        let halves = id.halves(in: schema)
        return ClusterError(.outOfRange, "shard \(id) was split: shards \(halves.lower.index) and \(halves.upper.index) keep its range")
    }

    /// A point that cannot be read must not look like one that does not exist.
    ///
    /// - Throws: `dataLoss` naming what is damaged, if one of these ids is not found.
    nonisolated func requireReadable(_ selection: FetchRequest.Selection, in snapshot: ShardSnapshot) throws(ClusterError) {
        guard snapshot.unreadableCount > 0, case .ids(let ids) = selection else { return }
        let (missing, damage) = state.withLock { state in (ids.first { state.find($0) == nil }, state.damage.first) }
        if let missing { throw ClusterError(.dataLoss, "whether point \(missing) exists cannot be told: \(damage ?? "parts of the shard are unreadable")") }
    }

    /// The rows that a fetch asks for, in its order.
    nonisolated func rows(
        _ selection: FetchRequest.Selection, in snapshot: ShardSnapshot, stop: StopSignal
    ) throws(ClusterError) -> [(rows: any Rows, row: Int)] {
        switch selection {
        case .ids(let ids): state.withLock { state in ids.compactMap { state.find($0) } }
        case .versions(let versions):
            state.withLock { state in
                versions.compactMap { version in state.find(version.id).flatMap { $0.rows.version($0.row) == version.version ? $0 : nil } }
            }
        case .page(let start, let limit, let filter): try snapshot.page(from: start, limit: limit, filter: filter, stop: stop)
        }
    }

    nonisolated var status: ShardStatus {
        get throws(ClusterError) {
            let snapshot = try readableSnapshot()
            let (damage, epoch) = state.withLock { ($0.damage, $0.cursor.epoch) }
            let drift = drift
            let threshold = environment.configuration.exactScanThreshold
            return ShardStatus(
                shard: id, range: range, points: snapshot.pointCount,
                pointsByCode: snapshot.segments.reduce(0) { $0 + ($1.content != nil && $1.liveCount > threshold ? $1.liveCount : 0) },
                segments: snapshot.segments.count, logPosition: snapshot.position, epoch: epoch, manifestVersion: snapshot.manifestVersion,
                indexBytes: snapshot.segments.reduce(0) { $0 + ($1.content?.memoryByteCount ?? 0) },
                fileBytes: snapshot.segments.reduce(0) { $0 + $1.record.byteCount }, damaged: damage,
                sealing: environment.sealProgress.share(of: id), quantizationError: drift?.quantizationError, newPointsError: drift?.newPointsError)
        }
    }
}

extension Shard {
    /// Ends the shard, unless it was split, and then says so: a terminal entry, after which no epoch may write (protocol, H21), then its objects go.
    func drop() async throws(ClusterError) {
        if !state.withLock({ $0.cursor.isOver }) {
            _ = try await submit(PendingWrite(.terminal, takeover: true))
        }
        // A segment in the making would be left behind.
        sealStop.cancel()
        while let running = sealing { await running.value }
        try await log.erase(keeping: state.withLock { $0.cursor.fences })
        if state.withLock({ $0.cursor.isSplit }) { throw end! }
        try await eraseUnborn()
    }
}

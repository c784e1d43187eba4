import Model
import Storage

extension Shard {
    /// - Throws: `notFound` once the shard was dropped, `outOfRange` once it was split or merged.
    nonisolated func readableSnapshot() throws(ClusterError) -> ShardSnapshot {
        if let end { throw end }
        return snapshot
    }

    /// Why nobody reads or writes the shard any more.
    nonisolated var end: ClusterError? {
        switch state.withLock({ $0.cursor.end }) {
        case nil: return nil
        case .dropped: return ClusterError(.notFound, "shard \(id) was dropped")
        case .split:
            let halves = id.halves(in: schema)
            return ClusterError(.outOfRange, "shard \(id) was split: shards \(halves.lower.index) and \(halves.upper.index) keep its range")
        case .merged(let other):
            guard !isWaitingForUpperHalf, let merged = ShardMerge(of: id, with: other, in: schema)?.merged else { return nil }
            return ClusterError(.outOfRange, "shard \(id) was merged: shard \(merged.index) keeps its range", successor: merged.index)
        }
    }

    /// Why nobody writes it any more.
    nonisolated var writersEnd: ClusterError? {
        if let end { return end }
        return isWaitingForUpperHalf ? ClusterError(.aborted, "shard \(id) is being merged, and takes no writes until that is done") : nil
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
    /// Ends the shard, unless it was split or merged, and then says so: a terminal entry, after which no epoch may write (protocol, H21), then its
    /// objects go. What the one still needs that it was merged into goes with that.
    func drop() async throws(ClusterError) {
        if !state.withLock({ $0.cursor.isOver }) {
            _ = try await submit(PendingWrite(.terminal, takeover: true))
        }
        // A segment in the making would be left behind.
        sealStop.cancel()
        while let running = sealing { await running.value }
        if case .merged = state.withLock({ $0.cursor.end }), try await checkMerge(), let end { throw end }
        try await log.erase(keeping: state.withLock { $0.cursor.fences })
        if case .split = state.withLock({ $0.cursor.end }), let end { throw end }
        try await eraseUnborn()
        if ShardLayout.generation(of: id.index) > 0 { try await eraseOrigin() }
    }
}

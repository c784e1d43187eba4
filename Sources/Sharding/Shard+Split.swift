import Logging
import Model
import Storage

/// What was built for the halves of a shard, and up to where it reaches.
struct SplitHalves: Sendable {
    struct Half: Sendable {
        let shard: ShardID
        let range: HashRange
        var segments: [ShardState.Segment] = []
    }
    var lower: Half
    var upper: Half
    /// Of the owner when it began: another one in between would have deleted what was built.
    let epoch: UInt64
    /// Every row up to this position is in the segments.
    var position: UInt64 = 0
}

extension Shard {
    /// Rows that may be left for the moment in which no write is taken. Reason: so few are scanned exactly, and make a small segment.
    private static let finalRows = 2_000
    /// Rounds of building beside writes, at most: each takes what was written during the one before.
    private static let rounds = 6

    /// Ends this shard: from one log entry on, two others keep its range, each half of it (protocol, H13).
    ///
    /// The halves' segments are built beside reads and writes. Then, in its turn among the writes, the rest is built, and the entry is written that
    /// names all of it: before it nothing has changed, after it nobody can write here any more. Whoever asks is told that the shard was split,
    /// and computes by itself which shards took its place. The halves share no object with it, so its own are deleted at once.
    ///
    /// Cost: each point is read and written once, as by a seal of everything.
    ///
    /// - Parameter isAutomatic: Whether nobody asked for it: then one that would leave all points in one half is a seal instead.
    /// - Returns: The owner, if that is another node: then nothing was done.
    func splitNow(request: RequestID?, takeover: Bool, isAutomatic: Bool) async throws(ClusterError) -> NodeID? {
        guard ShardLayout.base(of: id.index) <= ShardLayout.highestSplit, let ranges = range.halves else {
            isIndivisible = true
            throw ClusterError(.failedPrecondition, "shard \(id) cannot be split: its index is \(id.index), the highest that may be is \(ShardLayout.highestSplit)")
        }
        if let damage = state.withLock({ $0.damage.first }) { throw ClusterError(.dataLoss, "shard \(id) is not split, as not all of it can be read: \(damage)") }
        if let owner = try await own(.claim, takeover, request) { return owner }
        try await requireNoPromise()
        // What it was merged of goes before it does.
        if state.withLock({ $0.isUnited }), let owner = try await sealNow(everything: true, request: request, takeover: takeover) { return owner }
        // Ids of one hash: each split would rewrite all of them, and none would help.
        if isAutomatic, ![ranges.lower, ranges.upper].allSatisfy({ half in parts(after: 0, in: half).contains { $0.liveCount > 0 } }) {
            isIndivisible = true
            environment.logger.warning("a large shard is not split: all of its points would lie in one half", metadata: logMetadata(request))
            return try await sealNow(everything: false, request: request, takeover: takeover)
        }
        try await eraseUnborn()
        let start = ContinuousClock.now
        let ids = id.halves(in: schema)
        let ownEpoch = state.withLock { state -> UInt64? in
            guard state.cursor.isOwner, !state.cursor.isOver else { return nil }
            state.beginSplit()
            return state.cursor.epoch
        }
        guard let ownEpoch else { throw ClusterError(.aborted, "shard \(id) was given up while it was to be split") }
        var halves = SplitHalves(
            lower: SplitHalves.Half(shard: ids.lower, range: ranges.lower), upper: SplitHalves.Half(shard: ids.upper, range: ranges.upper), epoch: ownEpoch)
        defer { state.withLock { $0.abandonSeal() } }
        do throws(ClusterError) {
            for _ in 0..<Self.rounds {
                try await extend(&halves)
                let rest = parts(after: halves.position, in: range).reduce(0) { $0 + $1.liveCount }
                if rest <= Self.finalRows { break }
            }
        } catch {
            try? await eraseUnborn()
            throw error
        }
        if let owner = try await own(.split(halves), false, request) { return owner }
        let points = snapshot.pointCount
        environment.logger.info(
            "shard split",
            metadata: logMetadata(request).merging([
                "halves": "\(ids.lower.index),\(ids.upper.index)", "points": "\(points)", "position": "\(state.withLock { $0.cursor.position })",
                "duration": "\(start.duration(to: .now))",
            ]) { $1 })
        do throws(ClusterError) { try await log.erase(keeping: state.withLock { $0.cursor.fences }) } catch {
            // A half's first seal, or the next who seals this shard, does it.
            environment.logger.warning("objects of a split shard remain", metadata: logMetadata(request).merging(["error": "\(error)"]) { $1 })
        }
        return nil
    }

    /// Builds what is not in the halves' segments yet.
    private func extend(_ halves: inout SplitHalves) async throws(ClusterError) {
        let (position, from, epoch) = (state.withLock { $0.cursor.position }, halves.position, halves.epoch)
        let (lower, upper) = (parts(after: from, in: halves.lower.range), parts(after: from, in: halves.upper.range))
        if let segment = try await build(lower, of: halves.lower.shard, from: from, to: position, epoch: epoch) { halves.lower.segments.append(segment) }
        if let segment = try await build(upper, of: halves.upper.shard, from: from, to: position, epoch: epoch) { halves.upper.segments.append(segment) }
        halves.position = position
    }

    /// Live rows of a hash range that were written after a position.
    private nonisolated func parts(after position: UInt64, in range: HashRange) -> [Part] {
        snapshot.parts.map { $0.narrowed(to: range, after: position) }
    }

    /// In its turn among the writes: builds the rest, and writes the entry.
    func commit(_ built: SplitHalves) async throws(ClusterError) {
        func requireSameOwner() throws(ClusterError) {
            let (epoch, promise) = state.withLock { ($0.cursor.epoch, $0.cursor.promise) }
            guard epoch == built.epoch else { throw ClusterError(.aborted, "shard \(id) has had another owner since its split began") }
            guard promise == nil else { throw ClusterError(.aborted, "shard \(id) has promised to be merged since its split began") }
        }
        try requireSameOwner()
        var halves = built
        try await extend(&halves)
        // The halves' segments hold what was superseded since they were built.
        if state.withLock({ $0.isTouched }) {
            for half in [halves.lower, halves.upper] { try await log.put(ErasureMark(markedAt: UInt64(max(0, environment.configuration.now())), shard: half.shard)) }
        }
        _ = try await commit(.split(halves))
    }

    /// What both halves begin with, if the shard ends with its next entry.
    func split(_ halves: SplitHalves, at cursor: LogCursor) -> LogEntry.Content {
        func beginning(_ half: SplitHalves.Half) -> Manifest {
            state.withLock { state in
                let records = half.segments.map { segment in
                    var record = segment.record
                    record.deletedRows = state.deadRows(of: segment)
                    return record
                }
                return Manifest(
                    version: 0, position: cursor.position + 1, epoch: cursor.epoch, writer: writer, fences: [], segments: records,
                    requests: state.window.remembered(in: half.range), forgotten: state.window.forgotten)
            }
        }
        return .split(lower: beginning(halves.lower), upper: beginning(halves.upper))
    }

    // MARK: - What is left

    /// Deletes what this owner or an earlier one built for a split that did not come about. A later owner's split may have come about without this
    /// one's knowing: its objects have a higher epoch (protocol, H16).
    func eraseUnborn() async throws(ClusterError) {
        let (halves, epoch) = (id.halves(in: schema), state.withLock { $0.cursor.epoch })
        for half in [halves.lower, halves.upper] { try await log.log(of: half).deleteSegments(of: writer, epoch: epoch, but: []) }
    }

    /// Deletes everything but the fences of the shards that this one comes from, once it needs nothing of them: the one that was split, or the two
    /// that were merged.
    func eraseOrigin() async throws(ClusterError) {
        let parents: [ShardID] = switch try await log.origin(in: schema) {
        case .first: []
        case .half: id.parent(in: schema).map { [$0] } ?? []
        case .merged(let merge): [merge.lower, merge.upper]
        }
        for parent in parents {
            let log = log.log(of: parent)
            try await log.erase(keeping: log.fences())
        }
    }
}

import Logging
import Model
import Storage

extension Shard {
    /// Takes this shard's next step of merging with the other half of its range (protocol, H14).
    ///
    /// Three entries, in this order, roll forward only: the upper half *promises* not to end otherwise, the lower half *ends*, the upper half
    /// ends. After the second the range of the lower half is read, but not written; after the third the shard that both are merged into can be
    /// opened from their logs alone, by anyone. Nothing is copied here: that shard's first seal reads and writes each point once.
    ///
    /// Asking for a step that was taken does no harm. The lower half takes the word of whoever asks for the promise: it stands for as long as the lower half lives.
    ///
    /// - Returns: The owner, if that is another node: then nothing was done.
    /// - Throws: `failedPrecondition` if the two cannot be merged; `outOfRange` if one of them ended otherwise.
    func merge(with other: Int, request: RequestID?, takeover: Bool) async throws(ClusterError) -> NodeID? {
        guard let merge = ShardMerge(of: id, with: other, in: schema) else {
            throw ClusterError(.failedPrecondition, "shards \(id.index) and \(other) are not the two halves of one range, or were merged \(ShardLayout.highestGeneration) times")
        }
        if try isMerged(merge) { return nil }
        if let damage = state.withLock({ $0.damage.first }) { throw ClusterError(.dataLoss, "shard \(id) is not merged, as not all of it can be read: \(damage)") }
        // Who opens the merged shard looks at the logs of two shards, not at those of all that they were made of.
        if state.withLock({ $0.isUnited }), let owner = try await sealNow(everything: true, request: request, takeover: takeover) { return owner }
        let isEnd = if id == merge.lower { true } else { try await hasEnded(merge.lower, by: merge) }
        if let owner = try await own(.merge(merge, isEnd: isEnd), takeover, request) { return owner }
        environment.logger.info(
            isEnd ? "shard ended by a merge" : "shard promised to merge",
            metadata: logMetadata(request).merging(["with": "\(other)", "into": "\(merge.merged.index)", "position": "\(state.withLock { $0.cursor.position })"]) { $1 })
        return nil
    }

    /// In its turn among the writes, as the owner: writes the entry, unless it is there.
    func commit(_ merge: ShardMerge, isEnd: Bool) async throws(ClusterError) {
        let other = id == merge.lower ? merge.upper.index : merge.lower.index
        let (promise, isUnited) = state.withLock { ($0.cursor.promise, $0.isUnited) }
        guard !isUnited else { throw ClusterError(.aborted, "shard \(id) has had another owner since it was to be merged") }
        if isEnd {
            // What its objects still hold of superseded points goes with the first seal of the merged shard.
            try await log.put(ErasureMark(markedAt: UInt64(max(0, environment.configuration.now())), shard: merge.merged))
            _ = try await commit(.merge(with: other))
        } else if promise != other {
            if let promise, let standing = ShardMerge(of: id, with: promise, in: schema), try await !hasEndedOtherwise(standing) {
                throw ClusterError(.failedPrecondition, "shard \(id) has promised to merge with shard \(promise)")
            }
            _ = try await commit(.promise(with: other))
        }
    }

    /// - Throws: Why not, if it ended otherwise.
    private func isMerged(_ merge: ShardMerge) throws(ClusterError) -> Bool {
        switch state.withLock({ $0.cursor.end }) {
        case nil: return false
        case .merged(let other) where other == merge.lower.index || other == merge.upper.index: return true
        default: throw end ?? ClusterError(.failedPrecondition, "shard \(id) is being merged with another")
        }
    }

    /// - Throws: `outOfRange` if it ended otherwise.
    private func hasEnded(_ lower: ShardID, by merge: ShardMerge) async throws(ClusterError) -> Bool {
        switch try await log.log(of: lower).end() {
        case nil: return false
        case .merged(with: merge.upper.index): return true
        default: throw ClusterError(.failedPrecondition, "shard \(lower) has ended otherwise than by merging with shard \(merge.upper.index)")
        }
    }

    // MARK: - In the middle of a merge

    /// The merge that this half is in the middle of, as far as is known here: it has promised, or it has ended and the other half perhaps has not.
    nonisolated var pendingMerge: ShardMerge? {
        let (end, promise) = state.withLock { ($0.cursor.end, $0.cursor.promise) }
        switch end {
        case nil: return promise.flatMap { ShardMerge(of: id, with: $0, in: schema) }
        case .merged(let other): return isWaitingForUpperHalf ? ShardMerge(of: id, with: other, in: schema) : nil
        case .dropped, .split: return nil
        }
    }

    /// Whether it has ended in favour of a shard that may not be there yet: the upper half ends last.
    nonisolated var isWaitingForUpperHalf: Bool {
        guard case .merged = state.withLock({ $0.cursor.end }), !ShardLayout.isUpper(id.index, firstCount: schema.shardCount) else { return false }
        return !mergeIsComplete.load(ordering: .acquiring)
    }

    /// Whether the other half has ended, too; then others may have written the range since.
    @discardableResult
    nonisolated func checkMerge() async throws(ClusterError) -> Bool {
        guard let merge = pendingMerge, isWaitingForUpperHalf else { return true }
        let start = environment.clock.now()
        let error = ClusterError(.unavailable, "the store did not say within \(environment.configuration.verifyTimeout) whether shard \(merge.upper) has ended")
        let end = try await environment.clock.limited(until: start + environment.configuration.verifyTimeout, else: error) { () throws(ClusterError) in
            try await self.log.log(of: merge.upper).end()
        }
        if end == .merged(with: merge.lower.index) {
            mergeIsComplete.store(true, ordering: .releasing)
            return true
        }
        freshness.withLock { $0.verifiedAt = max($0.verifiedAt ?? start, start) }
        return false
    }

    /// Whether the lower half has ended otherwise than was promised to it: then this promise binds nobody any more.
    func hasEndedOtherwise(_ merge: ShardMerge) async throws(ClusterError) -> Bool {
        let end = try await log.log(of: merge.lower).end()
        guard let end, end != .merged(with: merge.upper.index) else { return false }
        state.withLock { $0.forgetPromise() }
        return true
    }

    /// - Throws: `aborted` while a promise stands.
    func requireNoPromise() async throws(ClusterError) {
        guard state.withLock({ $0.cursor.promise }) != nil, let merge = pendingMerge, try await !hasEndedOtherwise(merge) else { return }
        throw ClusterError(.aborted, "shard \(id) has promised to merge with shard \(merge.lower.index), and does that first")
    }
}

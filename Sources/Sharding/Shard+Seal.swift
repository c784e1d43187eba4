import Foundation
import Logging
import Model
import Storage
import Synchronization

extension Shard {
    /// Turns everything appended so far into one segment without deleted rows; returns when it serves and all that it supersedes is deleted.
    ///
    /// - Parameters:
    ///   - split: End the shard instead in favour of its halves; see ``splitNow(request:takeover:isAutomatic:)``.
    ///   - mergeWith: Take the next step instead of merging with this one; see ``merge(with:request:takeover:)``.
    /// - Returns: The owner instead, if that is another node and this one is not to take over.
    func seal(request: RequestID, takeover: Bool, split: Bool = false, mergeWith: Int? = nil) async throws(ClusterError) -> SealReply {
        while let running = sealing { await running.value }
        let outcome = Mutex<Result<NodeID?, ClusterError>>(.success(nil))
        let task = Task {
            let result = await self.runSeal(everything: true, split: split, mergeWith: mergeWith, request: request, takeover: takeover)
            outcome.withLock { $0 = result }
        }
        sealing = task
        await task.value
        if let owner = try outcome.withLock({ $0 }).get() { return SealReply(points: 0, segments: 0, owner: owner) }
        let segments = snapshot.segments
        return SealReply(points: segments.reduce(0) { $0 + $1.liveCount }, segments: segments.count)
    }

    /// Starts a seal in the background if enough was written since the last one.
    func sealIfDue() {
        let configuration = environment.configuration
        let isDue = state.withLock { state in
            !state.isDamaged && !state.cursor.isOver
                && state.cursor.isOwner
                && (state.isUnited || state.tailRows >= configuration.sealPoints || state.unsealedBytes >= configuration.sealBytes
                    || state.unsealedEntries >= configuration.sealEntries)
        }
        let isLarge = configuration.splitPoints > 0 && !isIndivisible && state.withLock { state in
            state.cursor.isOwner && !state.isDamaged && !state.cursor.isOver && state.pointCount >= configuration.splitPoints
        }
        guard isDue || isLarge, sealing == nil, isUsable, sealPause.isOver(environment.clock.now()), state.withLock({ $0.cursor.promise }) == nil else { return }
        // Its parent is this shard: `close` waits for it.
        sealing = Task {
            if case .failure(let error) = await runSeal(everything: false, split: isLarge, request: nil, takeover: false) {
                environment.logger.log(
                    level: error.code == .cancelled ? .info : .warning, "seal failed", metadata: logMetadata(nil).merging(["error": "\(error)"]) { $1 })
            }
        }
    }

    private func runSeal(
        everything: Bool, split: Bool, mergeWith: Int? = nil, request: RequestID?, takeover: Bool
    ) async -> Result<NodeID?, ClusterError> {
        let result: Result<NodeID?, ClusterError>
        do throws(ClusterError) {
            if let mergeWith {
                result = .success(try await merge(with: mergeWith, request: request, takeover: takeover))
            } else if split {
                result = .success(try await splitNow(request: request, takeover: takeover, isAutomatic: !everything))
            } else {
                result = .success(try await sealNow(everything: everything, request: request, takeover: takeover))
            }
        } catch { result = .failure(error) }
        sealPause.ended(result, at: environment.clock.now())
        sealing = nil
        return result
    }

    /// - Returns: The owner, if that is another node: then nothing was sealed.
    func sealNow(everything: Bool, request: RequestID?, takeover: Bool) async throws(ClusterError) -> NodeID? {
        let start = ContinuousClock.now
        // What the split could not delete.
        if everything, state.withLock({ $0.cursor.end }) == .split { try await log.erase(keeping: state.withLock { $0.cursor.fences }) }
        if let end = writersEnd { throw end }
        try await requireNoPromise()
        if let damage = state.withLock({ $0.damage.first }) {
            throw ClusterError(.dataLoss, "shard \(id) is not sealed, as its log holds the deletes of what cannot be read: \(damage)")
        }
        let hasWork = state.withLock { $0.tailRows > 0 || $0.cursor.position > $0.coveredPosition || $0.segments.count > 1 || $0.hasDeletedRows || $0.isUnited }
        guard hasWork || everything else { return nil }
        // Only an owner seals and collects: the manifest's writer is the holder of its epoch.
        if hasWork || !state.withLock({ $0.cursor.isOwner }), let owner = try await own(.claim, takeover, request) { return owner }
        // An entry that holds what it supersedes itself stays as long as it is the last: it gets a successor.
        for _ in 0..<8 where state.withLock({ $0.lastEntryHoldsDead }) {
            if let owner = try await own(.anchor, takeover, request) { return owner }
        }
        try await awaitCuts()
        if everything { isMarked = false }
        // Another's claim may have been learned since: its epoch is not this writer's to summarize.
        let (owner, sealInput, hasPromised) = try state.withLock { state throws(ClusterError) -> (NodeID?, ShardState.SealInput?, Bool) in
            guard state.cursor.isOwner else { return (state.cursor.holder?.node, nil, false) }
            guard state.openCuts.isEmpty else { throw ClusterError(.aborted, "a snapshot's barrier came into the log of shard \(id) as it was to be sealed") }
            return state.cursor.promise == nil ? (nil, state.beginSeal(everything: everything), false) : (nil, nil, true)
        }
        if let owner { return owner }
        if hasPromised { throw ClusterError(.aborted, "shard \(id) has promised to be merged since it was to be sealed") }
        guard let input = sealInput else {
            guard state.withLock({ $0.cursor.isOwner }) else { throw ClusterError(.aborted, "shard \(id) was given up while it was to be sealed") }
            // What an earlier seal of this owner could not delete.
            if everything, let manifest = try await log.newestManifest() { try await collect(after: manifest) }
            if everything, ShardLayout.generation(of: id.index) > 0 { try await eraseOrigin() }
            return nil
        }
        let manifest: Manifest
        do throws(ClusterError) {
            let segment = try await build(input.merged, of: id, from: input.from, to: input.position, epoch: input.epoch)
            manifest = Manifest(
                version: input.previousVersion + 1, position: input.position, epoch: input.epoch, writer: writer, fences: input.fences,
                segments: input.kept + (segment.map { [$0.record] } ?? []), requests: input.window.remembered, forgotten: input.window.forgotten)
            guard try await log.add(manifest), try await log.newestManifest()?.version == manifest.version else {
                throw fail(ClusterError(.aborted, "shard \(id): another writer has manifest \(manifest.version)"))
            }
            state.withLock { $0.completeSeal(input, manifest: manifest, segment: segment) }
            environment.followers.publish(nil, manifestVersion: manifest.version, of: id, to: replicas)
            watchDrift()
            environment.seals.add()
            environment.sealSeconds.observe(start.duration(to: .now))
            environment.logger.info(
                "shard sealed",
                metadata: logMetadata(request).merging([
                    "position": "\(input.position)", "points": "\(input.liveCount)", "segments": "\(manifest.segments.count)",
                    "manifest": "\(manifest.version)", "duration": "\(start.duration(to: .now))",
                ]) { $1 })
        } catch {
            state.withLock { $0.abandonSeal() }
            throw error
        }
        do throws(ClusterError) {
            try await collect(after: manifest)
            // What is left of the shards that this one comes from, and of a split that did not come about.
            if manifest.version == 1 || everything && ShardLayout.generation(of: id.index) > 0 { try await eraseOrigin() }
            if everything { try await eraseUnborn() }
        } catch {
            // It costs space only, unless somebody wants to be sure: the next seal collects again.
            if everything { throw ClusterError(error.code, "shard \(id) is sealed, but superseded objects remain: \(error.message)") }
            environment.logger.warning("superseded objects remain", metadata: logMetadata(request).merging(["error": "\(error)"]) { $1 })
        }
        return nil
    }

    /// Queues work that makes this opening the owner.
    ///
    /// - Returns: The owner instead, if that is another node and this one is not to take over.
    func own(_ work: PendingWrite.Work, _ takeover: Bool, _ request: RequestID?) async throws(ClusterError) -> NodeID? {
        try await submit(PendingWrite(work, takeover: takeover, request: request)).owner
    }

    /// Builds, stores and maps a segment of the live rows of some parts; `nil` if there are none.
    ///
    /// - Parameter shard: This one, or one of its halves.
    func build(_ parts: [Part], of shard: ShardID, from: UInt64, to: UInt64, epoch: UInt64) async throws(ClusterError) -> ShardState.Segment? {
        let rowCount = parts.reduce(0) { $0 + $1.liveCount }
        guard rowCount > 0 else { return nil }
        let (store, quarantine) = (environment.store, environment.quarantine)
        try quarantine.check(.seal, id)
        segmentCounter += 1
        let name = SegmentRecord.name(epoch: epoch, incarnation: writer.incarnation, counter: segmentCounter)
        let key = StoreKey.segment(shard, name: name)
        let scratch = try await stored { () throws(StoreError) in try await store.scratchPath() }
        let maker = SegmentMaker(schema: schema, threads: max(1, environment.configuration.searchThreads))
        let stops = [environment.stop, sealStop]
        let (progress, id) = (environment.sealProgress, id)
        progress.set(0, of: id)
        defer { progress.set(nil, of: id) }
        let (byteCount, checksum) = try await environment.run(on: environment.buildThreads) { () throws(ClusterError) in
            do throws(SegmentError) {
                return try quarantine.run(.seal, id) { () throws(SegmentError) in
                    try maker.write(parts, to: scratch) { done in
                        progress.set(done, of: id)
                        return !stops.contains { $0.isRaised }
                    }
                }
            } catch {
                if case .stopped = error { throw ClusterError(.cancelled, "the seal was stopped, as its node or shard is closing") }
                throw ClusterError(.unavailable, "segment cannot be built: \(error)")
            }
        }
        let record = SegmentRecord(
            name: name, from: from, to: to, byteCount: byteCount, checksum: checksum, rowCount: rowCount, deletedRows: [])
        do { try await stored { () throws(StoreError) in try await store.putFile(key, from: scratch) } } catch {
            try? FileManager.default.removeItem(atPath: scratch)
            throw error
        }
        // What the log will be truncated for is read back first (protocol, H16).
        let segment = try await ShardState.Segment.open(record, of: shard, schema: schema, environment: environment)
        if let damage = segment.damage { throw ClusterError(.dataLoss, damage) }
        quarantine.acquit(.seal, id)
        return segment
    }

    /// Deletes what the manifest superseded.
    private func collect(after manifest: Manifest) async throws(ClusterError) {
        let last = state.withLock { $0.cursor.position }
        try await log.collect(
            after: manifest, last: last, writer: writer, epoch: manifest.epoch, manifestsKept: environment.configuration.manifestsKept)
    }
}

extension ShardState.Segment {
    /// Maps a segment of the store; one that cannot be read becomes a damaged one.
    ///
    /// - Throws: `unavailable` if the store does not answer, which says nothing about the segment.
    static func open(
        _ record: SegmentRecord, of shard: ShardID, schema: CollectionSchema, environment: ShardEnvironment
    ) async throws(ClusterError) -> ShardState.Segment {
        let key = StoreKey.segment(shard, name: record.name)
        do {
            let file = try await environment.store.localFile(key)
            let quarantine = environment.quarantine
            let content = try await environment.openThreads.run {
                do throws(SegmentDamage) {
                    return Result<OpenSegment, SegmentDamage>.success(
                        try quarantine.run(.open, shard) { () throws(SegmentDamage) in try OpenSegment(file: file, record: record, schema: schema) })
                } catch { return .failure(error) }
            }.get()
            return ShardState.Segment(record: record, content: content)
        } catch {
            var isMissing = false
            // What this machine is short of, or cannot reach, says nothing about the segment: another replica may serve it.
            let unavailable = ClusterError(.unavailable, "\(key): \((error as? SegmentDamage)?.description ?? "\(error)")")
            switch error {
            case StoreError.unavailable, StoreError.system, is WorkerThreads.QueueFull: throw unavailable
            case StoreError.notFound: isMissing = true
            // Deleted since its file was found: an owner's seal has superseded it.
            case let damage as SegmentDamage where damage.errno == ENOENT: isMissing = true
            case let damage as SegmentDamage where damage.errno != nil: throw unavailable
            default: break
            }
            let reason = (error as? SegmentDamage)?.description ?? "\(error)"
            environment.logger.error("segment unreadable", metadata: ["segment": "\(key)", "tenant": "\(shard.tenant)", "error": "\(reason)"])
            return ShardState.Segment(record: record, content: nil, damage: "\(key): \(reason)", isMissing: isMissing)
        }
    }
}

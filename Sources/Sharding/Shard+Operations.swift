import Model
import Storage

extension Shard {
    /// Writes requests of one entry, each once (protocol, H19).
    func writeOperations(_ group: [PendingWrite]) async throws(ClusterError) {
        var requests: [LoggedRequest] = []
        var waiting: [[PendingWrite]] = []
        var indexes: [WritePart.Name: Int] = [:]
        for write in group {
            guard case .operations(let operations) = write.work else { preconditionFailure("a group of one kind") }
            if let index = indexes[write.part.name] {
                // The same write twice at once.
                if requests[index].part == write.part { waiting[index].append(write) } else { write.finish(.failure(RequestWindow.reused(write.part))) }
                continue
            }
            switch state.withLock({ $0.window.verdict(on: write.part) }) {
            case .applied(let answer): write.finish(.success(answer))
            case .refused(let error): write.finish(.failure(error))
            case .new(let applied):
                indexes[write.part.name] = requests.count
                waiting.append([write])
                var resolved = try await resolve(operations, stop: write.stop)
                // One of the halves applied it that were merged: the rest of it is left.
                if !applied.isEmpty { resolved = resolved.compactMap { $0.outside(applied) } }
                requests.append(LoggedRequest(write.part, operations: resolved))
            }
        }
        guard !requests.isEmpty else { return }
        if !isMarked, state.withLock({ $0.isSuperseded(by: requests) }) { try await markForErasure() }
        // Only a request that is alone in its group can be larger than an entry.
        let isBulk = requests[0].byteCount > environment.configuration.entryBytes - PendingWrite.entryOverhead
        let (position, superseded) = try await commit(isBulk ? .bulk(requests[0]) : .content(.data(dimension: schema.dimension, requests)))
        // A seal of everything that began meanwhile did not see this.
        if !isMarked, superseded.contains(where: { $0 > 0 }) {
            do throws(ClusterError) { try await markForErasure() } catch {
                throw ClusterError(.aborted, "written at position \(position), but what it supersedes could not be marked for erasure: \(error)")
            }
        }
        for (writes, count) in zip(waiting, superseded) {
            writes.forEach { $0.finish(.success(AppendReply(position: position, superseded: count))) }
        }
    }

    /// Puts a mark: once for each rewriting of a shard whose points are deleted or overwritten.
    private func markForErasure() async throws(ClusterError) {
        let mark = ErasureMark(markedAt: UInt64(max(0, environment.configuration.now())), shard: id)
        try await log.put(mark)
        isMarked = true
    }

    /// Operations with filters replaced by the ids that pass them at this position (protocol, H20).
    private func resolve(_ operations: [RequestedOperation], stop: StopSignal) async throws(ClusterError) -> [LoggedOperation] {
        let needsFilter = operations.contains { if case .deleteWhere = $0 { true } else { false } }
        guard needsFilter else { return try operations.map { operation throws(ClusterError) in try operation.resolved(in: nil, after: [:], stop: stop) } }
        let snapshot = snapshot
        return try await environment.run(on: environment.searchThreads) { () throws(ClusterError) in
            var resolved: [LoggedOperation] = []
            // What this request itself did before the filter: it is not in the snapshot yet.
            var staged: [PointID: LoggedPoint?] = [:]
            for operation in operations {
                let next = try operation.resolved(in: snapshot, after: staged, stop: stop)
                switch next {
                case .upsert(let point): staged[point.id] = .some(point)
                case .delete(let ids): for id in ids { staged[id] = .some(nil) }
                }
                resolved.append(next)
            }
            return resolved
        }
    }
}

extension RequestedOperation {
    /// - Parameter staged: Points that the same request wrote (`nil`: deleted) before.
    fileprivate func resolved(in snapshot: ShardSnapshot?, after staged: [PointID: LoggedPoint?], stop: StopSignal) throws(ClusterError) -> LoggedOperation {
        switch self {
        case .upsert(let point): return .upsert(point)
        case .delete(let ids): return .delete(ids)
        case .deleteWhere(let filter):
            guard let snapshot else { preconditionFailure("filters are resolved in a snapshot") }
            var ids = try snapshot.ids(passing: filter, stop: stop).filter { staged[$0] == nil }
            for case (let id, let point?) in staged {
                do throws(FormatError) {
                    if filter.passes(id: id, payload: try PayloadDecoder.decode(point.payload)) { ids.append(id) }
                } catch { throw ClusterError(.internal, "payload of point \(id): \(error)") }
            }
            return .delete(ids.sorted())
        }
    }
}

extension LoggedOperation {
    /// What of it concerns other hashes; `nil` if nothing does.
    fileprivate func outside(_ ranges: [HashRange]) -> LoggedOperation? {
        switch self {
        case .upsert(let point): return ranges.contains(point.id.hash) ? nil : self
        case .delete(let ids):
            let others = ids.filter { !ranges.contains($0.hash) }
            return others.isEmpty ? nil : .delete(others)
        }
    }
}

extension LoggedRequest {
    /// Bytes in an entry, at most.
    fileprivate var byteCount: Int { operations.reduce(PendingWrite.requestOverhead) { $0 + $1.byteCount } }
}

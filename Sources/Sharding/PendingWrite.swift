import Model
import Storage
import Synchronization

/// A write that waits for its shard's log: one request.
final class PendingWrite: Sendable {
    enum Work: Sendable {
        case operations([RequestedOperation])
        /// Only become the owner.
        case claim
        /// Become the owner, and write an entry of nothing.
        case anchor
        /// End the shard.
        case terminal
        /// End the shard in favour of its halves.
        case split(SplitHalves)
        /// Promise to end by a merge, or end so.
        case merge(ShardMerge, isEnd: Bool)
        /// Give the shard up.
        case release
        /// Apply what the store has beyond this opening's position.
        case check
        /// Apply what the owner says it committed.
        case follow([(entry: LogEntry, byteCount: Int)])
    }

    /// Who asked, for the log.
    let request: RequestID?
    /// Of a client's write, what makes it one.
    let part: WritePart
    let work: Work
    let byteCount: Int
    let stop: StopSignal
    /// Whether the shard is to be claimed from an owner on another node.
    let takeover: Bool
    private let outcome = Mutex(Outcome.open)
    private enum Outcome {
        case open
        case awaited(CheckedContinuation<Result<AppendReply, ClusterError>, Never>)
        case known(Result<AppendReply, ClusterError>)
    }

    init(_ request: RequestID?, _ part: WritePart, work: Work, byteCount: Int, stop: StopSignal, takeover: Bool = false) {
        self.request = request
        self.takeover = takeover
        self.part = part
        self.work = work
        self.byteCount = byteCount
        self.stop = stop
    }

    /// Work of the shard's own.
    convenience init(_ work: Work, takeover: Bool = false, request: RequestID? = nil, byteCount: Int = 0) {
        self.init(
            request, WritePart(id: RequestID("none"), bodyHash: Nonce(high: 0, low: 0)), work: work, byteCount: byteCount, stop: StopSignal(), takeover: takeover)
    }

    func wait(with continuation: CheckedContinuation<Result<AppendReply, ClusterError>, Never>) {
        let known = outcome.withLock { outcome -> Result<AppendReply, ClusterError>? in
            if case .known(let result) = outcome { return result }
            outcome = .awaited(continuation)
            return nil
        }
        if let known { continuation.resume(returning: known) }
    }

    /// The first result counts, also if nobody waits yet.
    func finish(_ result: Result<AppendReply, ClusterError>) {
        let waiting = outcome.withLock { outcome -> CheckedContinuation<Result<AppendReply, ClusterError>, Never>? in
            if case .known = outcome { return nil }
            defer { outcome = .known(result) }
            if case .awaited(let continuation) = outcome { return continuation }
            return nil
        }
        waiting?.resume(returning: result)
    }

    /// Whether the operations name filters, which are resolved when it is their turn (protocol, H20).
    var needsResolution: Bool {
        guard case .operations(let operations) = work else { return false }
        return operations.contains { if case .deleteWhere = $0 { true } else { false } }
    }
}

extension PendingWrite {
    /// Bytes of an entry around its points: names, counts, checksums.
    static let entryOverhead = 1_024
    /// Bytes of a request around its operations.
    static let requestOverhead = 256

    /// Checks a request: it becomes one entry, whatever its size, so that it takes effect whole (protocol, H24).
    ///
    /// - Throws: `invalidArgument` naming what is wrong, and with which point.
    convenience init(
        _ request: AppendRequest, from id: RequestID, schema: CollectionSchema, configuration: ShardConfiguration, stop: StopSignal
    ) throws(ClusterError) {
        let limit = configuration.entryBytes - Self.entryOverhead - Self.requestOverhead
        var operations: [RequestedOperation] = []
        var byteCount = Self.requestOverhead
        for operation in request.operations {
            switch operation {
            case .upsert(let points):
                for point in points {
                    let logged = try LoggedPoint(point, schema: schema)
                    guard logged.byteCount <= limit else {
                        throw ClusterError(.invalidArgument, "point \(point.id) has \(logged.byteCount) bytes, the limit is \(limit)")
                    }
                    operations.append(.upsert(logged))
                    byteCount += logged.byteCount
                }
            case .delete(let ids):
                operations.append(.delete(ids))
                byteCount += LoggedOperation.byteCount(deleting: ids.count)
            case .deleteWhere(let filter): operations.append(.deleteWhere(filter))
            }
        }
        guard byteCount <= configuration.requestBytes else {
            throw ClusterError(.invalidArgument, "the request has \(byteCount) bytes for one shard, the limit is \(configuration.requestBytes)")
        }
        let bodyHash = request.bodyHash ?? RequestedOperation.hash(of: operations)
        self.init(
            id, WritePart(id: request.id, number: request.part, bodyHash: Nonce(bodyHash)), work: .operations(operations), byteCount: byteCount, stop: stop,
            takeover: request.takeover)
    }
}

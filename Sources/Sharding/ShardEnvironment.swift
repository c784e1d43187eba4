import Logging
import Model
import Observability
import Storage
import Synchronization

/// What all shards of a node share.
final class ShardEnvironment: Sendable {
    let node: NodeID
    let store: any ObjectStore
    let configuration: ShardConfiguration
    let clock: DeadlineClock
    /// Where tasks of calls run, see ``ShardNode/init(node:store:configuration:followers:clock:executor:metrics:logger:)``.
    let executor: (any TaskExecutor)?
    /// Who hears what this node's shards commit.
    let followers: Followers
    let logger: Logger
    /// Searches, counts, pages, filters.
    let searchThreads: WorkerThreads
    /// Verifying segments that are opened, one at a time: it takes bandwidth that searches need.
    let openThreads: WorkerThreads
    /// Building segments, one at a time. The thread and its helpers get what searches leave of the processors.
    let buildThreads: WorkerThreads
    let sealProgress = SealProgress()
    let drift = DriftWatch()
    let quarantine: Quarantine
    /// Raised when the node closes.
    let stop = StopSignal()
    /// Goes on with the merge that a shard is in the middle of; returns at once. Set by the node, once. In a box: a mutex wraps a function anew each time
    /// that it is looked at.
    private struct RollingForward {
        let body: @Sendable (ShardID) -> Void
    }
    private let rollingForward = Mutex<RollingForward?>(nil)
    /// Codes scanned since the node started.
    let codesScanned = Atomic<UInt64>(0)

    let entriesWritten: Counter
    let storeCheck: StoreCheck
    let bytesWritten: Counter
    let appendSeconds: Histogram
    let searchSeconds: Histogram
    let seals: Counter
    let sealSeconds: Histogram

    init(
        node: NodeID, store: any ObjectStore, configuration: ShardConfiguration, followers: Followers, clock: DeadlineClock,
        executor: (any TaskExecutor)? = nil, metrics: Metrics, logger: Logger
    ) {
        self.node = node
        self.followers = followers
        self.clock = clock
        self.executor = executor
        self.store = store
        self.configuration = configuration
        self.logger = logger
        quarantine = Quarantine(folder: configuration.quarantineFolder, now: configuration.now)
        for suspect in quarantine.suspects {
            logger.error("a process died at a shard", metadata: ["file": "\(suspect.file)", "deaths": "\(suspect.deaths)"])
        }
        storeCheck = StoreCheck(store: store, clock: clock)
        searchThreads = WorkerThreads(name: "search", count: configuration.searchThreads, limit: configuration.searchQueue)
        // None at all in the simulation.
        let one = min(1, configuration.searchThreads)
        openThreads = WorkerThreads(name: "open", count: one, limit: configuration.openShards + 1)
        buildThreads = WorkerThreads(name: "build", count: one, limit: configuration.openShards + 1, niceness: Self.buildNiceness)
        entriesWritten = metrics.counter("covey_shard_log_entries_total", help: "Log entries written; several writes may share one.")
        bytesWritten = metrics.counter("covey_shard_log_bytes_total", help: "Bytes of log entries written.")
        appendSeconds = metrics.histogram("covey_shard_append_seconds", help: "Time to make a group of writes durable and visible.")
        searchSeconds = metrics.histogram("covey_shard_search_seconds", help: "Time of one shard's part of a search, waiting included.")
        seals = metrics.counter("covey_shard_seals_total", help: "Segments built.")
        sealSeconds = metrics.histogram("covey_shard_seal_seconds", help: "Time from the start of a seal until its segment serves.")
    }

    func rollForward(_ shard: ShardID) { rollingForward.withLock { $0 }?.body(shard) }
    func rollForward(with body: @escaping @Sendable (ShardID) -> Void) { rollingForward.withLock { $0 = RollingForward(body: body) } }

    /// Reason: a tenth of the share of a search's thread where both want a processor, all of it where none does.
    private static let buildNiceness: Int32 = 10

    /// Runs CPU-bound work for a caller that may go away.
    func compute<Value: Sendable>(
        _ context: CallContext, _ body: @escaping @Sendable (StopSignal) throws(ClusterError) -> Value
    ) async throws(ClusterError) -> Value {
        let stop = StopSignal(deadline: context.deadline)
        return try await withTaskCancellationHandler {
            () async -> Result<Value, ClusterError> in
            do throws(ClusterError) {
                return .success(
                    try await run(on: searchThreads, for: context.tenant) { () throws(ClusterError) in
                        try stop.check()
                        return try body(stop)
                    })
            } catch { return .failure(error) }
        } onCancel: {
            stop.cancel()
        }.get()
    }

    /// Runs work on some threads; a full queue is `resourceExhausted`.
    func run<Value: Sendable>(
        on threads: WorkerThreads, for tenant: TenantID? = nil, _ body: @escaping @Sendable () throws(ClusterError) -> Value
    ) async throws(ClusterError) -> Value {
        let result: Result<Value, ClusterError>
        do throws(WorkerThreads.QueueFull) {
            result = try await threads.run(for: tenant?.rawValue) {
                do throws(ClusterError) { return .success(try body()) } catch { return .failure(error) }
            }
        } catch { throw ClusterError(.resourceExhausted, "node \(node): \(error.limit) requests wait for a \(error.name) thread, which is the limit") }
        return try result.get()
    }
}

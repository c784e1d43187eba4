import Model
import Storage
import Synchronization

/// Whether the store answers this node at all, for those who wait for a call to it: a large object may be under way for long, a small listing is not.
final class StoreCheck: Sendable {
    /// Time for a listing. Reason: a prober waits for ``NodeProbe/interval``.
    private static let timeout: Duration = .milliseconds(400)
    /// Those who ask within this time share one: a thousand writes that wait cost the store what one does.
    private static let shared: Duration = .milliseconds(200)

    private let store: any ObjectStore
    private let clock: DeadlineClock
    private struct Last {
        let began: ContinuousClock.Instant
        let task: Task<ClusterError?, Never>
    }
    private let last = Mutex<Last?>(nil)

    init(store: any ObjectStore, clock: DeadlineClock) {
        self.store = store
        self.clock = clock
    }

    /// - Parameter prefix: What is listed, one key of it.
    /// - Throws: `unavailable` if nothing came back.
    func run(_ prefix: String) async throws(ClusterError) {
        let now = clock.now()
        let task = last.withLock { last in
            if let last, last.began.duration(to: now) < Self.shared { return last.task }
            // It ends by itself, soon.
            let task = Task { [store, clock] in await Self.failure(store, clock, prefix, now + Self.timeout) }
            last = Last(began: now, task: task)
            return task
        }
        if let error = await task.value { throw error }
    }

    private static func failure(_ store: any ObjectStore, _ clock: DeadlineClock, _ prefix: String, _ end: ContinuousClock.Instant) async -> ClusterError? {
        do throws(ClusterError) {
            return try await clock.limited(until: end, else: ClusterError(.unavailable, "the store does not answer the node within \(timeout)")) {
                () throws(ClusterError) in
                _ = try await stored { () throws(StoreError) in try await store.list(prefix: prefix, after: nil, limit: 1) }
                return nil
            }
        } catch { return error }
    }
}

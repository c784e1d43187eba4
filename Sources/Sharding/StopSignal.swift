import Model
import Synchronization

/// Tells long work that nobody waits for it any more: its task was cancelled or its deadline has passed.
final class StopSignal: Sendable {
    private let cancelled = Atomic(false)
    private let deadline: ContinuousClock.Instant?

    init(deadline: ContinuousClock.Instant? = nil) { self.deadline = deadline }

    func cancel() { cancelled.store(true, ordering: .relaxed) }

    /// Some 30 ns: ask every few thousand rows.
    var isRaised: Bool { reason != nil }

    var reason: ClusterError? {
        // First, because whoever carries the call also cancels its task when the deadline passes.
        if let deadline, ContinuousClock.now >= deadline { return ClusterError(.deadlineExceeded, "the deadline passed at the shard") }
        return cancelled.load(ordering: .relaxed) ? ClusterError(.cancelled, "the caller went away") : nil
    }

    func check() throws(ClusterError) {
        if let reason { throw reason }
    }
}

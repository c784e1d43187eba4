import Coordination
import Synchronization

/// Whether the gateway should be sent requests: the store and some shard node answer, and it is not shutting down.
final class Readiness: Sendable {
    private let coordinator: Coordinator
    private let drains = Mutex(false)

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func drain() { drains.withLock { $0 = true } }
    var isDraining: Bool { drains.withLock { $0 } }

    /// Why not, or `nil` if ready.
    func obstacle() async -> String? {
        if isDraining { return "shutting down" }
        let state = await coordinator.readiness()
        if let error = state.storeError { return "store: \(error.message)" }
        if state.isReady { return nil }
        return state.unreachable.sorted { $0.key < $1.key }.map { "node \($0.key): \($0.value.message)" }.joined(separator: "; ")
    }
}

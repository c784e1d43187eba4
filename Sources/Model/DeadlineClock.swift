/// A node's view of time: what is it now, and wait until then. Tests move it by hand, the simulation by its own events.
package struct DeadlineClock: Sendable {
    package var now: @Sendable () -> ContinuousClock.Instant
    /// Returns at the instant, or throws as soon as the task is cancelled.
    package var sleep: @Sendable (_ until: ContinuousClock.Instant) async throws -> Void

    package init(
        now: @escaping @Sendable () -> ContinuousClock.Instant, sleep: @escaping @Sendable (_ until: ContinuousClock.Instant) async throws -> Void
    ) {
        self.now = now
        self.sleep = sleep
    }

    /// `CLOCK_BOOTTIME`: it goes on while the machine sleeps, and nobody can set it.
    package static let continuous = DeadlineClock(now: { ContinuousClock.now }, sleep: { try await ContinuousClock().sleep(until: $0) })
}

extension DeadlineClock {
    /// What the body returns, or an error once the time is up: the body is cancelled then.
    package func limited<Value: Sendable>(
        until end: ContinuousClock.Instant, else error: ClusterError, _ body: @escaping @Sendable () async throws(ClusterError) -> Value
    ) async throws(ClusterError) -> Value {
        try await withTaskGroup(of: Result<Value, ClusterError>.self) { group in
            group.addTask {
                do throws(ClusterError) { return .success(try await body()) } catch { return .failure(error) }
            }
            group.addTask {
                try? await sleep(end)
                return .failure(error)
            }
            defer { group.cancelAll() }
            return await group.next()!
        }.get()
    }
}

import NIOCore

/// One timer for many deadlines on one event loop: calls come and go without touching it, unless one is due earlier
/// than all before.
final class DeadlineTimer {
    private let eventLoop: any EventLoop
    private var armed: (deadline: ContinuousClock.Instant, timer: Scheduled<Void>)?
    /// Ends what is due and returns the earliest deadline that is left.
    private var expire: (ContinuousClock.Instant) -> ContinuousClock.Instant?

    init(eventLoop: any EventLoop, expire: @escaping (ContinuousClock.Instant) -> ContinuousClock.Instant?) {
        self.eventLoop = eventLoop
        self.expire = expire
    }

    func watch(_ deadline: ContinuousClock.Instant) {
        if let armed {
            if armed.deadline <= deadline { return }
            armed.timer.cancel()
        }
        arm(deadline)
    }

    func stop() {
        armed?.timer.cancel()
        armed = nil
        expire = { _ in nil }
    }

    private func arm(_ deadline: ContinuousClock.Instant) {
        let timer = eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(ContinuousClock.now.duration(to: deadline))) { self.fire() }
        armed = (deadline, timer)
    }

    private func fire() {
        armed = nil
        if let next = expire(ContinuousClock.now) { watch(next) }
    }
}

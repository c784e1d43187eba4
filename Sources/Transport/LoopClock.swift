import Model
import NIOCore
import NIOPosix
import Synchronization

extension DeadlineClock {
    /// As ``continuous``, with the timers of the event loops: to sleep on a loop and to be woken early, as most are, costs no other thread a switch.
    package static let onLoops = DeadlineClock(
        now: { ContinuousClock.now },
        sleep: { end in
            // A loop's clock stands still while the machine sleeps, and may be some nanoseconds ahead.
            repeat {
                let sleeper = Sleeper()
                try await withTaskCancellationHandler {
                    try await withCheckedThrowingContinuation { sleeper.sleep(until: end, $0) }
                } onCancel: {
                    sleeper.wake(.failure(CancellationError()))
                }
            } while ContinuousClock.now < end
        })
}

/// One sleep, which ends once: by time or by cancellation, which may come first.
private final class Sleeper: NIOScheduledCallbackHandler, Sendable {
    private struct State {
        var result: Result<Void, any Error>?
        var continuation: CheckedContinuation<Void, any Error>?
        var timer: NIOScheduledCallback?
    }
    private let state = Mutex(State())
    /// Beyond it one sleeps again.
    private static let longest = Duration.seconds(3_600)

    func sleep(until end: ContinuousClock.Instant, _ continuation: CheckedContinuation<Void, any Error>) {
        let loop = MultiThreadedEventLoopGroup.currentEventLoop ?? MultiThreadedEventLoopGroup.singleton.next()
        let result = state.withLock { state in
            if state.result == nil { state.continuation = continuation }
            return state.result
        }
        if let result { return continuation.resume(with: result) }
        do {
            let timer = try loop.scheduleCallback(in: TimeAmount(min(Self.longest, ContinuousClock.now.duration(to: end))), handler: self)
            let isOver = state.withLock { state in
                if state.result == nil { state.timer = timer }
                return state.result != nil
            }
            if isOver { timer.cancel() }
        } catch {
            wake(.failure(error))
        }
    }

    func wake(_ result: Result<Void, any Error>) {
        let (continuation, timer) = state.withLock { state in
            defer { (state.continuation, state.timer) = (nil, nil) }
            state.result = state.result ?? result
            return (state.continuation, state.timer)
        }
        timer?.cancel()
        continuation?.resume(with: result)
    }

    func handleScheduledCallback(eventLoop: some EventLoop) { wake(.success(())) }

    // Nothing is done when the timer is cancelled: the loop holds its lock then.
}

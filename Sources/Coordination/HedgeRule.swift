import Model
import Synchronization

/// When a read that is not answered is sent to a second replica as well: after the time in which 95 of 100 were answered lately, and
/// for at most one read of twenty.
///
/// - SeeAlso: Dean, Barroso, "The Tail at Scale", CACM 2013.
final class HedgeRule: Sendable {
    /// Times remembered of each method. Reason: the p95 of 128 rests on the six slowest.
    private static let remembered = 128
    /// Reads that pay for one hedge: five percent more load at most.
    private static let readsPerHedge = 20.0
    /// Hedges that may be saved up for a bad moment.
    private static let saved = 10.0
    /// Nobody hedges earlier. Reason: what a timer and a call cost.
    private static let floor: Duration = .milliseconds(2)
    /// A node that has answered nobody for so long may have stopped: the second replica is asked whatever the budget says.
    static let suspicion: Duration = .milliseconds(250)
    /// After so long it is asked even if the first answers others.
    static let patience: Duration = .seconds(1)

    private struct Times {
        var ring: [Double] = []
        var next = 0
        var p95: Duration = .milliseconds(50)
    }
    private struct State {
        var times: [String: Times] = [:]
        var budget = HedgeRule.saved
    }
    private let state = Mutex(State())

    /// Counts a read, and says after which time it may be hedged.
    func began(_ method: String) -> Duration {
        state.withLock { state in
            state.budget = min(Self.saved, state.budget + 1 / Self.readsPerHedge)
            return min(max(state.times[method]?.p95 ?? .milliseconds(50), Self.floor), Self.suspicion)
        }
    }

    func answered(_ method: String, after time: Duration) {
        state.withLock { state in
            var times = state.times[method] ?? Times()
            let seconds = time / .seconds(1)
            if times.ring.count < Self.remembered { times.ring.append(seconds) } else { times.ring[times.next] = seconds }
            times.next = (times.next + 1) % Self.remembered
            if times.next % 32 == 0 { times.p95 = .seconds(times.ring.sorted()[times.ring.count * 95 / 100]) }
            state.times[method] = times
        }
    }

    /// Whether a hedge may be sent; takes it from the budget.
    func take() -> Bool {
        state.withLock { state in
            guard state.budget >= 1 else { return false }
            state.budget -= 1
            return true
        }
    }
}

import Foundation
import Model
import Synchronization

/// What a coordinator has seen of one shard node: how long its calls take, how many are under way, and whether it answers at all.
///
/// Nodes that failed several times in a row are left alone for a while, and then tried with a single call (a circuit breaker per node).
final class NodeHealth: Sendable {
    /// Failures in a row after which a node is left alone. Reason: one is a broken connection, two may be.
    private static let patience = 3
    /// For how long, first; doubles up to ``longestPause``.
    private static let firstPause: Duration = .milliseconds(500)
    private static let longestPause: Duration = .seconds(8)
    /// Weight of the newest time in the mean. Reason: some twenty calls, a fraction of a second under load.
    private static let weight = 0.1
    /// Time in which half of the mean is forgotten while nobody asks the node: else one that was slow once would never be asked again.
    private static let halfLife: Duration = .seconds(5)

    private struct State {
        /// Mean of the times of calls, in seconds, the newest counting most.
        var mean = 0.0
        /// From when on half of it is forgotten in each ``halfLife``, while nobody asks the node.
        var meanAt: ContinuousClock.Instant?
        var underWay = 0
        var failures = 0
        /// When the first call of those failed.
        var failingSince: ContinuousClock.Instant?
        /// When it last answered anybody.
        var answeredAt: ContinuousClock.Instant?
        var pause = NodeHealth.firstPause
        /// Nobody calls before then, but one.
        var closedUntil: ContinuousClock.Instant?
    }
    private let state = Mutex(State())

    /// What a call would have to wait for, as far as is known: lower is better. `nil` while the node is left alone.
    func expectation(now: ContinuousClock.Instant) -> Double? {
        state.withLock { state in
            if let until = state.closedUntil, now < until { return nil }
            return state.underWay == 0 ? Self.mean(state, now) : state.mean * Double(state.underWay + 1)
        }
    }

    func began(now: ContinuousClock.Instant) {
        state.withLock { state in
            if state.underWay == 0 { state.mean = Self.mean(state, now) }
            state.underWay += 1
            // The first call after a pause is the probe; the others go on sparing the node until it has answered.
            if let until = state.closedUntil, now >= until { state.closedUntil = now + state.pause }
        }
    }

    enum Outcome {
        case answered(Duration)
        /// Answered, but the time says nothing about reads.
        case lives
        case failed
        /// Nobody waits for it any more, which says nothing about the node.
        case abandoned
    }

    func ended(_ outcome: Outcome, now: ContinuousClock.Instant) {
        state.withLock { state in
            state.underWay -= 1
            state.meanAt = now
            switch outcome {
            case .answered(let time):
                state.mean += Self.weight * (time / .seconds(1) - state.mean)
                Self.live(&state, now)
            case .lives: Self.live(&state, now)
            case .failed: Self.fail(&state, now)
            case .abandoned: break
            }
        }
    }

    /// A call that began then is taking so long that the node may have stopped.
    ///
    /// - Returns: Whether it has answered nobody since: if it has, it is slow and nothing else.
    func suspect(since began: ContinuousClock.Instant, now: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            if let at = state.answeredAt, at > began { return false }
            Self.fail(&state, now)
            return true
        }
    }

    /// Whether nothing but failures has come of it for so long.
    func isAway(for time: Duration, now: ContinuousClock.Instant) -> Bool {
        state.withLock { $0.failingSince.map { $0.duration(to: now) >= time } ?? false }
    }

    private static func mean(_ state: State, _ now: ContinuousClock.Instant) -> Double {
        state.mean * exp2(-((state.meanAt?.duration(to: now) ?? .zero) / halfLife))
    }

    private static func live(_ state: inout State, _ now: ContinuousClock.Instant) {
        (state.failures, state.failingSince, state.pause, state.closedUntil, state.answeredAt) = (0, nil, Self.firstPause, nil, now)
    }

    private static func fail(_ state: inout State, _ now: ContinuousClock.Instant) {
        state.failures += 1
        state.failingSince = state.failingSince ?? now
        guard state.failures >= patience else { return }
        state.closedUntil = now + state.pause
        state.pause = min(state.pause * 2, longestPause)
    }
}

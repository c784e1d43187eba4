import Model
import Synchronization

/// What came of asking a bucket for a token.
package struct RateVerdict: Hashable, Sendable {
    package var isAdmitted: Bool
    /// Size of the bucket.
    package var limit: Int
    /// Whole tokens left.
    package var remaining: Int
    /// Until the bucket is full, if nothing more is asked.
    package var untilFull: Duration
    /// Until there is a token; zero if there is one.
    package var untilNext: Duration
}

/// Bounds events a second: a bucket of tokens for each owner, of which an event takes one, and which fills again at the owner's rate.
///
/// A bucket that is full again is forgotten, so memory is that of the owners that came lately. O(1) amortized, O(log n) with more than
/// `maximumCount` of them: then the half that is nearest to full is forgotten.
package final class TokenBuckets<Owner: Hashable & Sendable>: Sendable {
    private struct Bucket {
        var tokens: Double
        var filledAt: ContinuousClock.Instant
        var fullAt: ContinuousClock.Instant
    }
    private struct State {
        var buckets: [Owner: Bucket] = [:]
        /// Number of buckets at which full ones are forgotten.
        var sweepCount: Int
    }
    private let state: Mutex<State>
    private let maximumCount: Int

    package init(maximumCount: Int = .max) {
        self.maximumCount = maximumCount
        state = Mutex(State(sweepCount: min(1_024, maximumCount)))
    }

    /// Takes a token of this owner, if there is one.
    ///
    /// - Parameters:
    ///   - tokens: 0: only look whether there is one.
    ///   - isOwed: Whether they are taken in any case: the bucket owes what it does not have.
    ///   - rate: Tokens a second, above 0.
    ///   - burst: Size of the bucket; without one, what a second brings, at least 1.
    package func take(_ owner: Owner, tokens: Int = 1, isOwed: Bool = false, rate: Double, burst: Int?, at now: ContinuousClock.Instant) -> RateVerdict {
        let size = Double(burst ?? max(1, Int(rate.rounded(.up))))
        return state.withLock { state in
            var bucket = state.buckets[owner] ?? Bucket(tokens: size, filledAt: now, fullAt: now)
            let elapsed = max(0, bucket.filledAt.duration(to: now).seconds)
            bucket.tokens = min(size, bucket.tokens + elapsed * rate)
            bucket.filledAt = max(now, bucket.filledAt)
            let isAdmitted = bucket.tokens >= 1
            if isAdmitted || isOwed { bucket.tokens -= Double(tokens) }
            let untilFull = Duration.seconds((size - bucket.tokens) / rate)
            bucket.fullAt = now + untilFull
            state.buckets[owner] = bucket.tokens < size ? bucket : nil
            if state.buckets.count > state.sweepCount { sweep(&state, at: now) }
            return RateVerdict(
                isAdmitted: isAdmitted, limit: Int(size), remaining: max(0, Int(bucket.tokens)), untilFull: untilFull,
                untilNext: .seconds(max(0, 1 - bucket.tokens) / rate))
        }
    }

    private func sweep(_ state: inout State, at now: ContinuousClock.Instant) {
        state.buckets = state.buckets.filter { $0.value.fullAt > now }
        if state.buckets.count > maximumCount / 2 {
            let emptiest = state.buckets.sorted { $0.value.fullAt > $1.value.fullAt }.prefix(maximumCount / 2)
            state.buckets = Dictionary(uniqueKeysWithValues: emptiest.map { ($0.key, $0.value) })
        }
        state.sweepCount = min(max(1_024, 2 * state.buckets.count), maximumCount)
    }

    package var count: Int { state.withLock { $0.buckets.count } }
}

import Model
import Synchronization

/// Bounds each tenant's requests a second: a bucket of tokens for each, of which a request takes one, and which fills again at the tenant's rate.
///
/// A bucket that is full again is forgotten, so memory is that of the tenants that asked lately. O(1) amortized.
package final class TokenBuckets: Sendable {
    package struct Verdict: Hashable, Sendable {
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

    private struct Bucket {
        var tokens: Double
        var filledAt: ContinuousClock.Instant
        var fullAt: ContinuousClock.Instant
    }
    private struct State {
        var buckets: [TenantID: Bucket] = [:]
        /// Number of buckets at which full ones are forgotten.
        var sweepCount = 1_024
    }
    private let state = Mutex(State())

    package init() {}

    /// Takes a token of this tenant, if there is one.
    ///
    /// - Parameters:
    ///   - rate: Tokens a second, above 0.
    ///   - burst: Size of the bucket; without one, what a second brings, at least 1.
    package func take(_ tenant: TenantID, rate: Double, burst: Int?, at now: ContinuousClock.Instant) -> Verdict {
        let size = Double(burst ?? max(1, Int(rate.rounded(.up))))
        return state.withLock { state in
            var bucket = state.buckets[tenant] ?? Bucket(tokens: size, filledAt: now, fullAt: now)
            let elapsed = max(0, bucket.filledAt.duration(to: now).seconds)
            bucket.tokens = min(size, bucket.tokens + elapsed * rate)
            bucket.filledAt = max(now, bucket.filledAt)
            let isAdmitted = bucket.tokens >= 1
            if isAdmitted { bucket.tokens -= 1 }
            let untilFull = Duration.seconds((size - bucket.tokens) / rate)
            bucket.fullAt = now + untilFull
            state.buckets[tenant] = bucket
            if state.buckets.count > state.sweepCount {
                state.buckets = state.buckets.filter { $0.value.fullAt > now }
                state.sweepCount = max(1_024, 2 * state.buckets.count)
            }
            return Verdict(
                isAdmitted: isAdmitted, limit: Int(size), remaining: Int(bucket.tokens), untilFull: untilFull,
                untilNext: .seconds(max(0, 1 - bucket.tokens) / rate))
        }
    }

    package var count: Int { state.withLock { $0.buckets.count } }
}

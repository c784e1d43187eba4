/// How often a busy shard may write its log, as each entry is a request that some stores bill: 4 a second and shard cost about $50 a month at list prices, the 16 a
/// second that one put after the other makes $200.
///
/// A burst goes on at once, as from somebody who writes now and then; what is written more than that for long waits, and shares entries. It is the
/// generic cell rate algorithm (ITU-T I.371).
package struct CommitPace {
    /// Entries that may follow each other at once.
    package static let burst = 32

    private let interval: Duration
    /// When the burst is whole again.
    private var restored: ContinuousClock.Instant?

    package init(_ interval: Duration) { self.interval = interval }

    /// When the next entry may be written; `nil`: now.
    package func pauseEnd(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        guard interval > .zero, let restored else { return nil }
        let end = restored - interval * (Self.burst - 1)
        return end > now ? end : nil
    }

    package mutating func wrote(at now: ContinuousClock.Instant) {
        restored = max(restored ?? now, now) + interval
    }
}

import Model

/// What an opening of a shard knows of the log's end, and since when. All times are those of the node's own clock, which the safety of
/// writes never depends on; `strong` reads within a lease depend on clocks that run equally fast, to an eighth.
struct Freshness {
    /// When the last entry known here was known to be the last, and no earlier than it was read.
    var tailKnownAt: ContinuousClock.Instant
    /// When the listing began that last showed nothing newer.
    var verifiedAt: ContinuousClock.Instant?
    /// The owner's: nobody else has claimed the shard before then.
    var leaseEnd: ContinuousClock.Instant?
    /// When the first listing began of those in a row that failed.
    var failingSince: ContinuousClock.Instant?
    /// When the listing began that is under way.
    var checkBegan: ContinuousClock.Instant?

    /// - Parameters:
    ///   - openedAt: When the log had been read.
    ///   - listedAt: Before it was listed.
    init(openedAt: ContinuousClock.Instant, listedAt: ContinuousClock.Instant) {
        tailKnownAt = openedAt
        verifiedAt = listedAt
    }
}

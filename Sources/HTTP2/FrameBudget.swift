/// What a client may spend on frames that lead to nothing: a bucket that fills with time and with what the client gets done.
struct FrameBudget {
    let burst: Int
    let perSecond: Int
    private var left: Double
    private var filledAt: ContinuousClock.Instant

    init(burst: Int, perSecond: Int, now: ContinuousClock.Instant) {
        self.burst = burst
        self.perSecond = perSecond
        left = Double(burst)
        filledAt = now
    }

    /// Returns whether there was enough.
    mutating func spend(_ cost: Int, at now: ContinuousClock.Instant) -> Bool {
        left -= Double(cost)
        if left >= 0 { return true }
        let passed = filledAt.duration(to: now).components
        left = min(Double(burst), left + (Double(passed.seconds) + Double(passed.attoseconds) * 1e-18) * Double(perSecond))
        filledAt = now
        return left >= 0
    }

    mutating func earn(_ count: Int) { left = min(Double(burst), left + Double(count)) }
}

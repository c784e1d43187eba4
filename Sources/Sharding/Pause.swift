import Model

/// How long work is left alone that failed: a second, then twice as long each time, at most a minute.
struct Pause {
    private var length = Duration.seconds(1)
    private var end: ContinuousClock.Instant?

    func isOver(_ now: ContinuousClock.Instant) -> Bool { end.map { now >= $0 } ?? true }

    mutating func ended<Value>(_ result: Result<Value, ClusterError>, at now: ContinuousClock.Instant) {
        guard case .failure = result else { return self = Pause() }
        end = now + length
        length = min(length * 2, .seconds(60))
    }
}

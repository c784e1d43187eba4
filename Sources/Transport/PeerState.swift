import Model

/// When a peer connects, waits and gives up: decisions without a clock, a socket or chance.
package struct PeerState {
    package enum Phase: Equatable {
        /// Nobody has asked for anything yet.
        case idle
        /// A connection is being opened. Calls wait for it unless the last attempt failed too.
        case connecting(isKnownDown: Bool)
        case connected
        /// The next attempt comes after a pause; until then calls fail at once.
        case pausing
        case closed
    }
    package enum CallAction: Equatable { case connect, wait, send, fail }
    package enum LossAction: Equatable {
        case connect
        case pause(Duration)
        case nothing
    }

    package private(set) var phase: Phase = .idle
    /// Attempts and connections in a row that came to nothing.
    package private(set) var failures = 0
    package private(set) var lastError: ClusterError?
    private let initialBackOff: Duration
    private let maximumBackOff: Duration

    package init(initialBackOff: Duration, maximumBackOff: Duration) {
        self.initialBackOff = initialBackOff
        self.maximumBackOff = maximumBackOff
    }

    package mutating func callArrives() -> CallAction {
        switch phase {
        case .idle:
            phase = .connecting(isKnownDown: false)
            return .connect
        case .connecting(isKnownDown: false): return .wait
        case .connected: return .send
        case .connecting(isKnownDown: true), .pausing, .closed: return .fail
        }
    }

    package mutating func connected() {
        if case .connecting = phase { phase = .connected }
    }

    /// - Parameter chance: 0..<1; takes up to half of the pause away, so that the callers of a node do not come back in step.
    package mutating func connectFailed(_ error: ClusterError, chance: Double) -> LossAction {
        guard case .connecting = phase else { return .nothing }
        return fail(error, chance: chance)
    }

    /// - Parameter age: Time that the connection lived. One that was lost young counts as a failed attempt; after an older
    ///   one the next attempt is made at once, and calls wait for it.
    package mutating func connectionLost(_ error: ClusterError, age: Duration, chance: Double) -> LossAction {
        guard phase == .connected else { return .nothing }
        lastError = error
        guard age >= maximumBackOff else { return fail(error, chance: chance) }
        failures = 0
        phase = .connecting(isKnownDown: false)
        return .connect
    }

    package mutating func pauseEnded() -> LossAction {
        guard phase == .pausing else { return .nothing }
        phase = .connecting(isKnownDown: true)
        return .connect
    }

    package mutating func close() { phase = .closed }

    private mutating func fail(_ error: ClusterError, chance: Double) -> LossAction {
        lastError = error
        failures += 1
        phase = .pausing
        let pause = min(maximumBackOff, initialBackOff * (1 << min(failures - 1, 20)))
        return .pause(pause * (1 - chance / 2))
    }
}

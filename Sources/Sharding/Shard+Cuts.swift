import Model
import Storage

extension Shard {
    /// Older than this, a cut is not waited for. Reason: twenty times the patience, for clocks that disagree.
    private static let cutAge: Int64 = 60

    /// Returns when every cut is decided whose barrier is known here, and calls off those that take too long (protocol, H23).
    ///
    /// Before it an owner writes nothing, so that nothing after a barrier is acknowledged or read while another shard's barrier may still be missing;
    /// and it does not seal, as the next owner would not see the barrier. Costs a read for each look, and one where the barrier is old.
    func awaitCuts() async throws(ClusterError) {
        let clock = environment.clock
        while let cut = state.withLock({ $0.openCuts.first }) {
            let isRecent = abs(environment.configuration.now() - cut.begunAt) <= Self.cutAge
            let end = clock.now() + (isRecent ? environment.configuration.cutPatience : .zero)
            var delay = Duration.milliseconds(5)
            while try await !log.isDecided(cut) {
                guard clock.now() < end else {
                    _ = try await log.decide(cut, .abandoned)
                    environment.logger.warning("a snapshot's cut was called off", metadata: logMetadata(nil).merging(["cut": "\(cut.idText)"]) { $1 })
                    break
                }
                try? await clock.sleep(min(clock.now() + delay, end))
                delay = min(delay * 2, .milliseconds(100))
            }
            state.withLock { $0.close(cut) }
        }
    }
}

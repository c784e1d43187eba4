import Logging
import Model
import Observability
import Sharding
import Storage
import Synchronization
import Testing

@Suite("how often a busy shard writes its log")
struct CommitPaceTests {
    private static let interval = Duration.milliseconds(250)

    @Test("a burst at once, then one an interval; who pauses has the burst again")
    func pace() {
        let start = ContinuousClock.now
        var pace = CommitPace(Self.interval)
        func writes(_ count: Int, from now: inout ContinuousClock.Instant) -> Int {
            (0..<count).count { _ in
                let end = pace.pauseEnd(now)
                now = end ?? now
                pace.wrote(at: now)
                return end != nil
            }
        }
        var now = start
        #expect(writes(CommitPace.burst, from: &now) == 0 && now == start)
        #expect(writes(10, from: &now) == 10 && now == start + Self.interval * 10)
        now += Self.interval * 3
        #expect(writes(5, from: &now) == 2)
        now += .seconds(3_600)
        #expect(writes(CommitPace.burst, from: &now) == 0)
    }

    @Test("no interval, no wait")
    func none() {
        var pace = CommitPace(.zero)
        for _ in 0..<1_000 { pace.wrote(at: .now) }
        #expect(pace.pauseEnd(.now) == nil)
    }

    @Test("a shard writes no more entries than a burst and one an interval, and every write is there", arguments: [false, true])
    func shard(atOnce: Bool) async throws {
        let harness = try await Harness()
        var configuration = ShardConfiguration()
        configuration.searchThreads = 1
        configuration.lease = .zero
        configuration.verifyTimeout = .seconds(600)
        configuration.commitInterval = Self.interval
        // Time passes only where something waits for an entry's turn; what bounds a call takes longer, and never comes.
        let passed = Mutex(Duration.zero)
        let start = ContinuousClock.now
        let clock = DeadlineClock(now: { start + passed.withLock { $0 } }, sleep: { end in
            guard end < start + passed.withLock({ $0 }) + .seconds(60) else { return try await Task.sleep(for: .seconds(3_600)) }
            passed.withLock { $0 = max($0, start.duration(to: end)) }
        })
        let node = ShardNode(
            node: NodeID("a"), store: harness.store, configuration: configuration, clock: clock, metrics: Metrics(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let count = 120
        if atOnce {
            try await withThrowingTaskGroup(of: Void.self) { writers in
                for id in 0..<count { writers.addTask { try await harness.upsert([harness.point(UInt64(id))], on: node) } }
                try await writers.waitForAll()
            }
        } else {
            for id in 0..<count { try await harness.upsert([harness.point(UInt64(id))], on: node) }
        }
        #expect(try await harness.contents(node).count == count)
        // One of the entries is the claim.
        let entries = Int(try #require(try await harness.positions().max())) - 1
        let turns = Int(passed.withLock { $0 } / Self.interval)
        #expect(entries <= CommitPace.burst + turns)
        if !atOnce { #expect(entries == count && turns == count - CommitPace.burst) }
        await node.close()
    }
}

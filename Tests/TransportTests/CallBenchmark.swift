import Foundation
import Model
import TLS
import TestServers
import Testing
import Transport

@Suite(.serialized) struct CallBenchmark {
    /// Calls in all and at a time; large under `BENCHMARK=1`.
    private static let isLarge = ProcessInfo.processInfo.environment["BENCHMARK"] == "1"
    private static let callCount = isLarge ? 200_000 : 4_000

    @Test("benchmark: searches over loopback, 384 dimensions, 10 hits, in plaintext and in mutual TLS", arguments: [1, 64], [false, true])
    func searches(concurrency: Int, isSecure: Bool) async throws {
        let identity = isSecure ? try Self.identity() : nil
        let hits = (0..<10).map { Hit(id: .uuid(high: UInt64($0), low: 7), score: 0.5, version: 9, contentHash: 3) }
        let answer = SearchReply(results: [.init(hits: hits, work: SearchWork(pointsHeld: 1_000))], range: .all, position: 5, manifestVersion: 2)
        try await Loopback.with(
            shard: FakeShard(onSearch: { _, _ in answer }), server: { $0.tls = identity }, peer: { $0.tls = identity.map { ($0, "a") } }
        ) { loopback in
            let request = SearchRequest(shard: testShard, [ShardSearch(vector: (0..<384).map { Float($0) / 384 }, limit: 10)])
            let remote = loopback.shard
            let perTask = Self.callCount / (concurrency == 1 ? 8 : 1) / concurrency
            let clock = ContinuousClock()
            let (started, processorTime) = (clock.now, Foundation.clock())
            var latencies = try await withThrowingTaskGroup(of: [Duration].self) { group in
                for _ in 0..<concurrency {
                    group.addTask {
                        var latencies: [Duration] = []
                        for _ in 0..<perTask {
                            let began = clock.now
                            let found = try await remote.search(request, context: context(deadline: .seconds(30)))
                            latencies.append(began.duration(to: clock.now))
                            #expect(found.results[0].hits.count == 10)
                        }
                        return latencies
                    }
                }
                return try await group.reduce(into: [Duration]()) { $0 += $1 }
            }
            let elapsed = started.duration(to: clock.now) / .seconds(1)
            let processor = Double(Foundation.clock() - processorTime) / Double(CLOCKS_PER_SEC) / Double(latencies.count) * 1e6
            latencies.sort()
            let perSecond = Int(Double(latencies.count) / elapsed)
            let p50 = latencies[latencies.count / 2] / .microseconds(1)
            let p99 = latencies[latencies.count * 99 / 100] / .microseconds(1)
            print("benchmark: \(latencies.count) searches, \(isSecure ? "TLS" : "plaintext"), \(concurrency) at a time: \(perSecond)/s, p50 \(Int(p50)) µs, p99 \(Int(p99)) µs, processor \(Int(processor)) µs a call, both ends")
        }
    }

    private static func identity() throws -> TLSIdentity {
        let certificates = try TestCertificates("a")
        var settings = TLSSettings(
            certificateFile: certificates.path("a.pem"), keyFile: certificates.path("a.key"), authorityFile: certificates.authority, protocols: ["h2"])
        settings.names = ["a"]
        return try TLSIdentity(settings)
    }
}

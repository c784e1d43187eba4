import Model
import Synchronization
import Testing
import Transport

@Suite(.timeLimit(.minutes(10))) struct CallTests {
    @Test("every method reaches the service and its reply comes back")
    func everyMethod() async throws {
        try await Loopback.with(shard: FakeShard(), answer: FakeGenerator(eventCount: 2, eventBytes: 3)) { loopback in
            let shard = loopback.shard
            #expect(try await shard.search(searchRequest(0.25, limit: 7), context: context()) == reply(to: searchRequest(0.25, limit: 7)))
            let append = AppendRequest(shard: testShard, operations: [.delete([.integer(1)])])
            #expect(try await shard.append(append, context: context()) == AppendReply(position: 1, superseded: 2))
            #expect(try await shard.fetch(FetchRequest(shard: testShard, selection: .ids([])), context: context()) == FetchReply(points: []))
            #expect(try await shard.count(CountRequest(shard: testShard), context: context()).count == 42)
            #expect(try await shard.status(StatusRequest(), context: context()).codesScanned == 9)
            #expect(try await shard.outline(OutlineRequest(shard: testShard, maximumBytes: 7), context: context()).position == 7)
            #expect(try await shard.seal(SealRequest(shard: testShard), context: context()) == SealReply(points: 5, segments: 1))
            try await shard.drop(DropRequest(shard: testShard), context: context())
            var events: [AnswerEvent] = []
            for try await event in loopback.generator.answer(AnswerRequest(question: "?", sources: []), context: context()) { events.append(event) }
            #expect(events == [.text("xxx"), .text("xxx"), .finished(AnswerSummary(model: "fake"))])
        }
    }

    @Test("the context arrives with request id, tenant and what is left of the deadline")
    func contextTravels() async throws {
        let seen = Mutex<CallContext?>(nil)
        let shard = FakeShard(onSearch: { request, context in
            seen.withLock { $0 = context }
            return reply(to: request)
        })
        try await Loopback.with(shard: shard) { loopback in
            _ = try await loopback.shard.search(searchRequest(), context: context(deadline: .seconds(2_000)))
        }
        let arrived = try #require(seen.withLock { $0 })
        #expect(arrived.requestID == RequestID("test-1"))
        #expect(arrived.tenant == .default)
        let remaining = try #require(arrived.remaining)
        #expect(remaining > .seconds(1_000) && remaining <= .seconds(2_000))
    }

    @Test("an error keeps its code and its words, whatever they hold", arguments: ClusterError.Code.allCases)
    func errors(code: ClusterError.Code) async throws {
        let thrown = ClusterError(code, "expected 768 % found ≠ 384\nsecond line %41")
        try await Loopback.with(shard: FakeShard(onSearch: { _, _ throws(ClusterError) in throw thrown })) { loopback in
            let error = await #expect(throws: ClusterError.self) { try await loopback.shard.search(searchRequest(), context: context()) }
            #expect(error == thrown)
        }
    }

    @Test("many calls at a time each get their own reply")
    func multiplexed() async throws {
        try await Loopback.with(shard: FakeShard()) { loopback in
            let shard = loopback.shard
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<2_000 {
                    group.addTask {
                        let answer = try await shard.search(searchRequest(Float(index), limit: index), context: context())
                        #expect(answer.results[0].hits.first?.score == Float(index) && answer.results[0].hits.first?.id == .integer(UInt64(index)))
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("messages of several windows go both ways", arguments: [100, 100_000, 1_000_000])
    func large(count: Int) async throws {
        let shard = FakeShard(onFetch: { request, _ in
            guard case .ids(let ids) = request.selection else { return FetchReply(points: []) }
            return FetchReply(points: ids.map { StoredPoint(id: $0, version: 1) })
        })
        try await Loopback.with(shard: shard) { loopback in
            let ids = (0..<count).map { PointID.uuid(high: UInt64($0), low: 1) }
            let answer = try await loopback.shard.fetch(FetchRequest(shard: testShard, selection: .ids(ids)), context: context())
            #expect(answer.points.map(\.id) == ids)
        }
    }

    @Test("a request beyond the limit is refused by name and value; the connection goes on")
    func tooLarge() async throws {
        try await Loopback.with(shard: FakeShard(), server: { $0.maximumMessageBytes = 1_000 }) { loopback in
            let large = SearchRequest(shard: testShard, [ShardSearch(vector: [Float](repeating: 1, count: 500_000), limit: 1)])
            let error = await #expect(throws: ClusterError.self) { try await loopback.shard.search(large, context: context()) }
            #expect(error?.code == .resourceExhausted)
            #expect(error?.message.hasSuffix("maximumMessageBytes is 1000") == true, "\(error?.message ?? "")")
            _ = try await loopback.shard.search(searchRequest(), context: context())
        }
    }

    @Test("a reply beyond the limit is refused by name and value")
    func replyTooLarge() async throws {
        let shard = FakeShard(onFetch: { _, _ in
            FetchReply(points: [StoredPoint(id: .integer(1), version: 1, vector: [Float](repeating: 1, count: 5_000))])
        })
        try await Loopback.with(shard: shard, peer: { $0.maximumMessageBytes = 1_000 }) { loopback in
            let error = await #expect(throws: ClusterError.self) {
                try await loopback.shard.fetch(FetchRequest(shard: testShard, selection: .ids([])), context: context())
            }
            #expect(error?.code == .resourceExhausted)
            #expect(error?.message.hasSuffix("maximumMessageBytes is 1000") == true)
        }
    }

    @Test("arriving requests share a bound")
    func buffered() async throws {
        try await Loopback.with(shard: FakeShard(), server: { $0.maximumMessageBytes = 100_000; $0.maximumBufferedBytes = 100_000 }) { loopback in
            let requests = SearchRequest(shard: testShard, [ShardSearch(vector: [Float](repeating: 1, count: 20_000), limit: 1)])
            let shard = loopback.shard
            let codes = await withTaskGroup(of: ClusterError.Code?.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        do throws(ClusterError) {
                            _ = try await shard.search(requests, context: context())
                            return nil
                        } catch { return error.code }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(codes.allSatisfy { $0 == nil || $0 == .resourceExhausted })
            _ = try await shard.search(requests, context: context())  // what was refused is no longer counted
        }
    }

    @Test("a method that the node does not serve is unimplemented")
    func unknownMethod() async throws {
        try await Loopback.with(shard: nil) { loopback in
            let error = await #expect(throws: ClusterError.self) { try await loopback.shard.search(searchRequest(), context: context()) }
            #expect(error == ClusterError(.unimplemented, "this node does not serve /covey.v1.Shard/Search"))
        }
    }
}

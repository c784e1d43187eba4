import Model
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Transport

/// How calls end before their time, and connections theirs.
@Suite(.timeLimit(.minutes(10))) struct EndingTests {
    /// A search that says when it began and when it was cancelled, and never answers by itself.
    private final class Stuck: Sendable {
        let began = Gate()
        let cancelled = Gate()
        var shard: FakeShard {
            FakeShard(onSearch: { [self] _, _ throws(ClusterError) in
                began.open()
                if !(await Gate().wait()) { cancelled.open() }
                throw ClusterError(.cancelled, "stopped")
            })
        }
    }

    @Test("a deadline ends the call and stops the work at the node")
    func deadline() async throws {
        let stuck = Stuck()
        try await Loopback.with(shard: stuck.shard) { loopback in
            // On a busy machine a deadline may pass before its request arrives: the one meant here is one that does.
            repeat {
                let started = ContinuousClock.now
                let error = await #expect(throws: ClusterError.self) {
                    try await loopback.shard.search(searchRequest(), context: context(deadline: .milliseconds(50)))
                }
                #expect(error?.code == .deadlineExceeded)
                #expect(started.duration(to: .now) >= .milliseconds(50))
            } while !stuck.began.isOpen
            #expect(await stuck.cancelled.wait())
        }
    }

    @Test("a deadline that has passed costs no call")
    func pastDeadline() async throws {
        let stuck = Stuck()
        try await Loopback.with(shard: stuck.shard) { loopback in
            let error = await #expect(throws: ClusterError.self) {
                try await loopback.shard.search(searchRequest(), context: context(deadline: .zero))
            }
            #expect(error?.code == .deadlineExceeded)
            #expect(!stuck.began.isOpen)
        }
    }

    @Test("cancelling the caller's task cancels the work at the node")
    func cancellation() async throws {
        let stuck = Stuck()
        try await Loopback.with(shard: stuck.shard) { loopback in
            let shard = loopback.shard
            let call = Task { try await shard.search(searchRequest(), context: context()) }
            #expect(await stuck.began.wait())
            call.cancel()
            let error = await #expect(throws: ClusterError.self) { try await call.value }
            #expect(error?.code == .cancelled)
            #expect(await stuck.cancelled.wait())
        }
    }

    @Test("losing the connection cancels the work, and the caller learns that it was lost")
    func connectionLoss() async throws {
        let stuck = Stuck()
        try await Loopback.with(shard: stuck.shard) { loopback in
            let shard = loopback.shard
            let call = Task { try await shard.search(searchRequest(), context: context()) }
            #expect(await stuck.began.wait())
            await loopback.peer.close()
            let error = await #expect(throws: ClusterError.self) { try await call.value }
            #expect(error?.code == .unavailable)
            #expect(await stuck.cancelled.wait())
            let late = await #expect(throws: ClusterError.self) { try await shard.search(searchRequest(), context: context()) }
            #expect(late?.code == .unavailable)
        }
    }

    @Test("a write whose connection is lost is aborted: its outcome is not known")
    func lostWrite() async throws {
        let began = Gate()
        let shard = FakeShard(onAppend: { _, _ throws(ClusterError) in
            began.open()
            await Gate().wait()
            throw ClusterError(.cancelled, "stopped")
        })
        try await Loopback.with(shard: shard) { loopback in
            let remote = loopback.shard
            let call = Task { try await remote.append(AppendRequest(shard: testShard, operations: []), context: context()) }
            #expect(await began.wait())
            await loopback.peer.close()
            let error = await #expect(throws: ClusterError.self) { try await call.value }
            #expect(error?.code == .aborted)
        }
    }

    @Test("a drain finishes what was accepted and takes nothing new")
    func drain() async throws {
        let began = Gate()
        let release = Gate()
        let shard = FakeShard(onSearch: { request, _ in
            began.open()
            await release.wait()
            return reply(to: request)
        })
        try await Loopback.with(shard: shard) { loopback in
            let remote = loopback.shard
            let accepted = Task { try await remote.search(searchRequest(), context: context()) }
            #expect(await began.wait())
            async let drained: Void = loopback.server.drain(timeout: .seconds(30))
            // The peer loses this node as soon as it is told; until then calls are still accepted.
            var refused: ClusterError?
            while refused == nil {
                let probe = Task { try await remote.count(CountRequest(shard: testShard), context: context()) }
                do { _ = try await probe.value } catch { refused = ClusterError(error) }
            }
            #expect(refused?.code == .unavailable)
            release.open()
            let answer = try await accepted.value
            #expect(answer == reply(to: searchRequest()))
            await drained
        }
    }

    @Test("a drain that takes too long cancels what is left")
    func drainTimeout() async throws {
        let stuck = Stuck()
        try await Loopback.with(shard: stuck.shard) { loopback in
            let remote = loopback.shard
            let call = Task { try await remote.search(searchRequest(), context: context()) }
            #expect(await stuck.began.wait())
            await loopback.server.drain(timeout: .milliseconds(20))
            #expect(await stuck.cancelled.wait())
            await #expect(throws: ClusterError.self) { try await call.value }
        }
    }

    @Test("while a node is down calls fail at once; when it is back they succeed, with the same peer")
    func comesBack() async throws {
        var port = 0
        let peer: Peer = try await {
            let server = try NodeServer(configuration: .init(), shard: FakeShard(), group: Loopback.group, logger: quietLogger())
            port = try await server.start()
            let peer = try Loopback.makePeer(port: port) { $0.maximumBackOff = .milliseconds(50); $0.initialBackOff = .milliseconds(10) }
            _ = try await RemoteShard(peer: peer).search(searchRequest(), context: context())
            await server.drain(timeout: .seconds(5))
            return peer
        }()
        let remote = RemoteShard(peer: peer)
        let down = await #expect(throws: ClusterError.self) { try await remote.search(searchRequest(), context: context()) }
        #expect(down?.code == .unavailable)

        var configuration = NodeServerConfiguration()
        configuration.port = port
        let again = try NodeServer(configuration: configuration, shard: FakeShard(), group: Loopback.group, logger: quietLogger())
        #expect(try await again.start() == port)
        var answer: SearchReply?
        while answer == nil { answer = try? await remote.search(searchRequest(), context: context()) }
        #expect(answer == reply(to: searchRequest()))
        await peer.close()
        await again.drain(timeout: .seconds(5))
    }

    @Test("a port in use is refused by address")
    func portInUse() async throws {
        try await Loopback.with(shard: FakeShard()) { loopback in
            var configuration = NodeServerConfiguration()
            configuration.port = loopback.port
            let second = try NodeServer(configuration: configuration, group: Loopback.group, logger: quietLogger())
            let error = await #expect(throws: ClusterError.self) { try await second.start() }
            #expect(error?.code == .unavailable && error?.message.contains("127.0.0.1:\(loopback.port)") == true)
        }
    }

    @Test("a connection beyond the bound is closed; the others go on")
    func connectionBound() async throws {
        try await Loopback.with(shard: FakeShard(), server: { $0.maximumConnections = 1 }) { loopback in
            _ = try await loopback.shard.search(searchRequest(), context: context())
            let second = try Loopback.makePeer(port: loopback.port)
            let error = await #expect(throws: ClusterError.self) { try await RemoteShard(peer: second).search(searchRequest(), context: context()) }
            #expect(error?.code == .unavailable)
            await second.close()
            _ = try await loopback.shard.search(searchRequest(), context: context())
        }
    }

    @Test("a slow reader of a stream holds its producer back", arguments: [1_000, 50_000])
    func slowReader(eventBytes: Int) async throws {
        let generator = FakeGenerator(eventCount: 100_000, eventBytes: eventBytes)
        try await Loopback.with(answer: generator) { loopback in
            var events = loopback.generator.answer(AnswerRequest(question: "?", sources: []), context: context()).makeAsyncIterator()
            var taken = 0
            for _ in 0..<20 {
                _ = try await events.next()
                taken += 1
                // Windows (256 KiB), the high-water mark, and the sockets' own buffers, which hold no more than a window here.
                let bound = (2 * (256 << 10) + (64 << 10)) / eventBytes + 3
                #expect(generator.produced.load(ordering: .relaxed) <= taken + bound)
            }
        }
    }

    @Test("letting go of a stream cancels its producer")
    func abandoned() async throws {
        let generator = FakeGenerator(eventCount: .max - 1, eventBytes: 1_000)
        try await Loopback.with(answer: generator) { loopback in
            for try await _ in loopback.generator.answer(AnswerRequest(question: "?", sources: []), context: context()) { break }
            #expect(await generator.ended.wait())
        }
    }

    @Test("a deadline ends a stream whose reader stays away")
    func streamDeadline() async throws {
        let generator = FakeGenerator(eventCount: .max - 1, eventBytes: 1_000)
        try await Loopback.with(answer: generator) { loopback in
            // As above: until a producer has begun.
            repeat {
                var events = loopback.generator.answer(AnswerRequest(question: "?", sources: []), context: context(deadline: .milliseconds(100)))
                    .makeAsyncIterator()
                let error = await #expect(throws: ClusterError.self) {
                    _ = try await events.next()
                    if generator.produced.load(ordering: .relaxed) > 0 { await generator.ended.wait() }
                    while try await events.next() != nil {}
                }
                #expect(error?.code == .deadlineExceeded)
            } while generator.produced.load(ordering: .relaxed) == 0
        }
    }
}

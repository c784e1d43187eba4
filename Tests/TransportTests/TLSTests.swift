import Model
import NIOCore
import NIOPosix
import Observability
import TLS
import TestServers
import Testing
import Transport

/// Calls between nodes in mutual TLS: node a calls node b.
@Suite(.timeLimit(.minutes(10))) struct TLSTests {
    private static let certificates = Result { try TestCertificates("a", "b", "c") }
    let certificates: TestCertificates

    init() throws { certificates = try Self.certificates.get() }

    private func identity(_ name: String) throws -> TLSIdentity {
        var settings = TLSSettings(
            certificateFile: certificates.path("\(name).pem"), keyFile: certificates.path("\(name).key"), authorityFile: certificates.authority,
            protocols: ["h2", "http/1.1"])
        settings.names = ["a", "b"]
        return try TLSIdentity(settings)
    }

    private func loopback(
        client: TLSIdentity?, server: TLSIdentity?, expecting name: String = "b", shard: FakeShard = FakeShard(), _ body: (Loopback) async throws -> Void
    ) async throws {
        try await Loopback.with(shard: shard, server: { $0.tls = server }, peer: { $0.tls = client.map { ($0, name) } }, body)
    }

    @Test("calls come through, small and large ones, many at a time")
    func calls() async throws {
        let shard = FakeShard(onFetch: { request, _ in
            guard case .ids(let ids) = request.selection else { return FetchReply(points: []) }
            return FetchReply(points: ids.map { StoredPoint(id: $0, version: 1) })
        })
        try await loopback(client: identity("a"), server: identity("b"), shard: shard) { loopback in
            let remote = loopback.shard
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<500 {
                    group.addTask {
                        let answer = try await remote.search(searchRequest(Float(index), limit: index), context: context())
                        #expect(answer.results[0].hits.first?.score == Float(index))
                    }
                }
                try await group.waitForAll()
            }
            let ids = (0..<100_000).map { PointID.uuid(high: UInt64($0), low: 1) }
            #expect(try await remote.fetch(FetchRequest(shard: testShard, selection: .ids(ids)), context: context()).points.map(\.id) == ids)
        }
    }

    private func failure(_ loopback: Loopback) async -> ClusterError? {
        await #expect(throws: ClusterError.self) { try await loopback.shard.search(searchRequest(), context: context()) }
    }

    @Test("a node that is not the one that was called is refused, and the caller is told why")
    func otherNode() async throws {
        try await loopback(client: identity("a"), server: identity("b"), expecting: "a") { loopback in
            let error = await failure(loopback)
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("the certificate of b was shown where a was expected") == true, "\(error?.message ?? "")")
        }
    }

    @Test("a caller that is not of the cluster is told that it was refused")
    func foreignCaller() async throws {
        try await loopback(client: identity("c"), server: identity("b")) { loopback in
            let error = await failure(loopback)
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("the peer refused") == true, "\(error?.message ?? "")")
        }
    }

    @Test("one side alone in TLS is named by both kinds of caller")
    func oneSided() async throws {
        try await loopback(client: identity("a"), server: nil) { loopback in
            let error = await failure(loopback)
            #expect(error?.message.contains("closed the connection during the handshake; does it expect TLS?") == true, "\(error?.message ?? "")")
        }
        try await loopback(client: nil, server: identity("b")) { loopback in
            let error = await failure(loopback)
            #expect(error?.code == .unavailable)
        }
    }

    @Test("a connection made anew resumes the session of the one before")
    func resumption() async throws {
        let (server, client, metrics) = (try identity("b"), try identity("a"), Metrics())
        func serve(_ port: Int) async throws -> (NodeServer, Int) {
            var configuration = NodeServerConfiguration()
            configuration.port = port
            configuration.tls = server
            let node = try NodeServer(configuration: configuration, shard: FakeShard(), group: Loopback.group, logger: quietLogger())
            return (node, try await node.start())
        }
        let (first, port) = try await serve(0)
        let peer = try Loopback.makePeer(port: port, metrics: metrics) { $0.tls = (client, "b") }
        _ = try await RemoteShard(peer: peer).search(searchRequest(), context: context())
        await first.drain(timeout: .seconds(5))
        let (second, _) = try await serve(port)
        while (try? await RemoteShard(peer: peer).search(searchRequest(), context: context())) == nil { await Task.yield() }
        let page = metrics.render()
        #expect(page.contains(#"covey_tls_handshakes_total{side="peer",outcome="full"} 1"#), "\(page)")
        #expect(page.contains(#"covey_tls_handshakes_total{side="peer",outcome="resumed"} 1"#), "\(page)")
        await peer.close()
        await second.drain(timeout: .seconds(5))
    }

    @Test("a caller that says nothing is cut off when its time for the handshake is over")
    func timeout() async throws {
        let results = AsyncStream<TLSFailure>.makeStream()
        let identity = try identity("b")
        let listener = try await ServerBootstrap(group: Loopback.group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = TLSHandler(try TLSSession(identity.context(.server)), patience: .milliseconds(50)) { result in
                        if case .failure(let failure) = result { results.continuation.yield(failure) }
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let client = try await ClientBootstrap(group: Loopback.group).connect(to: listener.localAddress!).get()
        var iterator = results.stream.makeAsyncIterator()
        #expect(await iterator.next() == TLSFailure(.timedOut, "the handshake took longer than 0.05 seconds"))
        try await client.closeFuture.get()
        try await listener.close()
    }
}

import Logging
import Model
import NIOCore
import NIOPosix
import Observability
import Synchronization
import Testing
import Transport

/// What an operator reads of a node: figures of its calls, and the pages on its port.
@Suite(.timeLimit(.minutes(10))) struct OperationsTests {
    /// Sends text over a connection of its own and returns all that comes back.
    private func exchange(_ text: String, port: Int) async throws -> String {
        let channel = try await ClientBootstrap(group: Loopback.group).connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture { try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel) }
        }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: text))
            var reply = ""
            for try await buffer in inbound { reply += String(buffer: buffer) }
            return reply
        }
    }

    private func get(_ path: String, port: Int) async throws -> String {
        try await exchange("GET \(path) HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n", port: port)
    }

    @Test("calls, errors, times, bytes and connections are counted at both ends, by method and code")
    func metrics() async throws {
        let (served, called) = (Metrics(), Metrics())
        let shard = FakeShard(onFetch: { _, _ throws(ClusterError) in throw ClusterError(.notFound, "no such shard") })
        try await Loopback.with(shard: shard, metrics: (served, called)) { loopback in
            for _ in 0..<3 { _ = try await loopback.shard.search(searchRequest(), context: context()) }
            await #expect(throws: ClusterError.self) {
                try await loopback.shard.fetch(FetchRequest(shard: testShard, selection: .ids([])), context: context())
            }
            let peer = "peer=\"127.0.0.1:\(loopback.port)\""
            for line in [
                "covey_rpc_server_calls_total{method=\"covey.v1.Shard/Search\",code=\"ok\"} 3",
                "covey_rpc_server_calls_total{method=\"covey.v1.Shard/Fetch\",code=\"notFound\"} 1",
                "covey_rpc_server_seconds_count{method=\"covey.v1.Shard/Search\"} 3", "covey_rpc_server_connections 1", "covey_rpc_server_open_streams 0",
            ] {
                #expect(served.render().split(separator: "\n").contains(Substring(line)), "\(line) is not in\n\(served.render())")
            }
            for line in [
                "covey_rpc_client_calls_total{\(peer),method=\"covey.v1.Shard/Search\",code=\"ok\"} 3",
                "covey_rpc_client_calls_total{\(peer),method=\"covey.v1.Shard/Fetch\",code=\"notFound\"} 1", "covey_rpc_client_connections{\(peer)} 1",
                "covey_rpc_client_open_streams{\(peer)} 0",
            ] {
                #expect(called.render().split(separator: "\n").contains(Substring(line)), "\(line) is not in\n\(called.render())")
            }
            func bytes(_ metrics: Metrics, _ name: String) -> Int? {
                metrics.render().split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: " ").last.flatMap { Int($0) }
            }
            #expect(bytes(served, "covey_rpc_server_received_bytes_total") == bytes(called, "covey_rpc_client_sent_bytes_total"))
            #expect(bytes(served, "covey_rpc_server_sent_bytes_total") ?? 0 > 100)
        }
        #expect(served.render().contains("covey_rpc_server_connections 0\n"))
        #expect(called.render().contains("covey_rpc_client_connections{") && !called.render().contains("} -"))
    }

    @Test("a call that its caller gave up counts as cancelled at the node, and no stream stays open")
    func cancelled() async throws {
        let (served, called) = (Metrics(), Metrics())
        let began = Gate()
        let shard = FakeShard(onSearch: { _, _ throws(ClusterError) in
            began.open()
            await Gate().wait()
            throw ClusterError(.cancelled, "stopped")
        })
        try await Loopback.with(shard: shard, metrics: (served, called)) { loopback in
            let remote = loopback.shard
            let call = Task { try await remote.search(searchRequest(), context: context()) }
            #expect(await began.wait())
            #expect(served.render().contains("covey_rpc_server_open_streams 1\n"))
            call.cancel()
            _ = await call.result
            _ = try await remote.count(CountRequest(shard: testShard), context: context())  // comes behind the reset on the same connection
            #expect(served.render().contains("method=\"covey.v1.Shard/Search\",code=\"cancelled\"} 1\n"))
            #expect(called.render().contains("method=\"covey.v1.Shard/Search\",code=\"cancelled\"} 1\n"))
        }
        #expect(served.render().contains("covey_rpc_server_open_streams 0\n"))
    }

    @Test("the port answers HTTP/1.1 too: metrics, health, and what else is there")
    func pages() async throws {
        let served = Metrics()
        try await Loopback.with(shard: FakeShard(), metrics: (served, Metrics())) { loopback in
            let metrics = try await get("/metrics", port: loopback.port)
            #expect(metrics.hasPrefix("HTTP/1.1 200 OK\r\n") && metrics.contains("text/plain; version=0.0.4") && metrics.contains("covey_rpc_server_connections"))
            #expect(try await get("/healthz?x=1", port: loopback.port).contains("healthz check passed"))
            #expect(try await get("/readyz", port: loopback.port).contains("ready"))
            let other = try await get("/", port: loopback.port)
            #expect(other.hasPrefix("HTTP/1.1 404") && other.contains("gRPC") && other.contains("/metrics"))
            #expect(try await exchange("POST /metrics HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", port: loopback.port).hasPrefix("HTTP/1.1 405"))
            #expect(try await exchange("nonsense\r\n\r\n", port: loopback.port).hasPrefix("HTTP/1.1 400"))
            // Nodes are served beside.
            _ = try await loopback.shard.search(searchRequest(), context: context())
        }
    }

    @Test("a connection that says nothing is closed, and does not hold up a drain")
    func silence() async throws {
        try await Loopback.with(shard: FakeShard(), server: { $0.keepAliveInterval = .milliseconds(50) }) { loopback in
            for beginning in ["PR", "GET /metrics HTTP/1.1\r\n"] {
                let heard = try? await exchange(beginning, port: loopback.port)  // on a busy machine it may be closed before it said even that
                #expect(heard ?? "" == "")
            }
        }
        try await Loopback.with(shard: FakeShard()) { loopback in
            async let silent = exchange("G", port: loopback.port)
            _ = try await loopback.shard.search(searchRequest(), context: context())
            await loopback.server.drain(timeout: .seconds(20))
            let heard = try? await silent  // it may have come too late to be accepted
            #expect(heard ?? "" == "")
        }
    }
}

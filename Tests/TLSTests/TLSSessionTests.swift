import Foundation
import TLS
import TestServers
import Testing

@Suite struct TLSSessionTests {
    private static let certificates = Result { try TestCertificates("a", "b", "c") }
    let certificates: TestCertificates

    init() throws { certificates = try Self.certificates.get() }

    /// Node a calls node b.
    private func pair(
        client: TLSIdentity? = nil, server: TLSIdentity? = nil, expecting name: String? = "b", resumption: TLSResumption? = nil, piece: Int = .max
    ) throws -> TLSPair {
        let (client, server) = (try client ?? certificates.identity("a"), try server ?? certificates.identity("b"))
        return TLSPair(
            client: try .init(client.context(.client), expecting: name, resumption: resumption), server: try .init(server.context(.server)), piece: piece)
    }

    @Test("both ends know each other and agree on h2, however the bytes are cut", arguments: [1, 7, .max])
    func agrees(piece: Int) throws {
        let pair = try pair(piece: piece)
        #expect(pair.client.negotiation == TLSNegotiation(applicationProtocol: "h2", version: "TLSv1.3", isResumed: false, peerNames: ["b"]))
        #expect(pair.server.negotiation == TLSNegotiation(applicationProtocol: "h2", version: "TLSv1.3", isResumed: false, peerNames: ["a"]))
    }

    @Test("bytes arrive as they were sent, in both directions", arguments: [1, 16_384, 16_385, 1_000_000], [1_000, .max])
    func carries(count: Int, piece: Int) throws {
        let pair = try pair(piece: piece)
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        pair.client.write(bytes)
        pair.server.write(Array(bytes.reversed()))
        pair.exchange()
        #expect(pair.server.received == bytes)
        #expect(pair.client.received == bytes.reversed())
        pair.client.end()
        pair.exchange()
        #expect(pair.server.hasEnded && pair.server.failure == nil)
    }

    @Test("a certificate that has ended is refused, by client and server")
    func expired() throws {
        let old = try TestCertificates()
        try old.make(["a", "b"], "--expired")
        let fresh = try TestCertificates()
        for file in ["authority.pem", "authority.key"] { try? FileManager.default.removeItem(atPath: fresh.path(file)) }
        for file in ["authority.pem", "authority.key"] { try FileManager.default.copyItem(atPath: old.path(file), toPath: fresh.path(file)) }
        try fresh.make(["a", "b"])
        let byServer = try pair(client: old.identity("a"), server: fresh.identity("b"))
        #expect(byServer.server.failure?.reason == .expired)
        #expect(byServer.server.failure?.detail.hasPrefix("expired: the certificate of a, or one above it, ended at 20") == true)
        #expect(byServer.client.failure == TLSFailure(.refused, "the peer refused: sslv3 alert certificate expired"))
        let byClient = try pair(client: fresh.identity("a"), server: old.identity("b"))
        #expect(byClient.client.failure?.reason == .expired)
    }

    @Test("a certificate of another authority is refused, by client and server")
    func unknownAuthority() throws {
        let other = try TestCertificates("a", "b")
        let byServer = try pair(client: other.identity("a", trusting: certificates))
        #expect(byServer.server.failure == TLSFailure(.unknownAuthority, "unknown authority: the certificate of a is signed by none of \(certificates.authority)"))
        #expect(byServer.client.failure == TLSFailure(.refused, "the peer refused: tlsv1 alert unknown ca"))
        let byClient = try pair(server: other.identity("b", trusting: certificates))
        #expect(byClient.client.failure?.reason == .unknownAuthority)
    }

    @Test("a certificate of a name that is not of this cluster is refused")
    func wrongName() throws {
        let pair = try pair(client: certificates.identity("c"))
        #expect(pair.server.failure == TLSFailure(.wrongName, "name c is not of this cluster"))
        #expect(pair.client.failure?.reason == .refused)
    }

    @Test("a node that shows another node's certificate is refused by who calls it")
    func otherNode() throws {
        let pair = try pair(expecting: "d")
        #expect(pair.client.failure == TLSFailure(.wrongName, "the certificate of b was shown where d was expected"))
    }

    @Test("a leading dot accepts names of one more label, and no others", arguments: ["n.x.test", "m.n.x.test", "x.test", "nx.test"])
    func domain(name: String) throws {
        try certificates.make([name])
        let server = try certificates.identity("b") { $0.names = [".x.test"] }
        let pair = try pair(client: certificates.identity(name), server: server)
        #expect((pair.server.failure == nil) == (name == "n.x.test"), "\(pair.server.failure?.detail ?? "")")
    }

    @Test("bytes that are no TLS are told apart", arguments: ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{0}"])
    func plaintext(text: String) throws {
        let server = try TLSPair.End(certificates.identity("b").context(.server))
        server.receive(Array(text.utf8))
        #expect(server.failure == TLSFailure(.plaintext, "plaintext to a TLS port"))
        let client = try TLSPair.End(certificates.identity("a").context(.client))
        client.advance()
        client.receive(Array(text.utf8))
        #expect(client.failure == TLSFailure(.plaintext, "the peer answers in plaintext: it has no TLS"))
    }

    @Test("a server that knows none of the client's protocols says so to both")
    func noCommonProtocol() throws {
        let pair = try pair(server: certificates.identity("b") { $0.protocols = ["http/1.1"] })
        #expect(pair.server.failure == TLSFailure(.noCommonProtocol, "no http/1.1 by ALPN: the client offered others"))
        #expect(pair.client.failure == TLSFailure(.noCommonProtocol, "no h2 by ALPN: the server has others"))
    }

    @Test("a session is resumed, and its certificate is held to the names and the time again")
    func resumption() throws {
        let (client, server) = (try certificates.identity("a"), try certificates.identity("b"))
        let resumption = TLSResumption()
        #expect(try pair(client: client, server: server, resumption: resumption).client.negotiation?.isResumed == false)
        let second = try pair(client: client, server: server, resumption: resumption)
        #expect(second.client.negotiation?.isResumed == true)
        #expect(second.server.negotiation == TLSNegotiation(applicationProtocol: "h2", version: "TLSv1.3", isResumed: true, peerNames: ["a"]))
        // The same session where another node is expected.
        let third = try pair(client: client, server: server, expecting: "d", resumption: resumption)
        #expect(third.client.failure?.reason == .wrongName)
        #expect(try pair(client: client, server: server, resumption: resumption).client.negotiation?.isResumed == false)
    }

    @Test("benchmark: handshakes, whole and resumed", .serialized, arguments: [false, true])
    func handshakes(isResumed: Bool) throws {
        let (client, server) = (try certificates.identity("a"), try certificates.identity("b"))
        let resumption = isResumed ? TLSResumption() : nil
        let count = ProcessInfo.processInfo.environment["BENCHMARK"] == "1" ? 5_000 : 50
        _ = try pair(client: client, server: server, resumption: resumption)
        var resumed = 0
        let started = processorSeconds()
        for _ in 0..<count where try pair(client: client, server: server, resumption: resumption).client.negotiation?.isResumed == true { resumed += 1 }
        let seconds = processorSeconds() - started
        print("benchmark: \(count) handshakes, \(resumed) resumed: \(Int(seconds / Double(count) * 1e6)) µs of one processor each, both ends")
        #expect(resumed == (isResumed ? count : 0))
    }

    private func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    @Test("names accepted later are accepted, and those left out no more")
    func laterNames() throws {
        let server = try certificates.identity("b")
        #expect(try pair(client: certificates.identity("c"), server: server).server.failure?.reason == .wrongName)
        try server.accept(["c"])
        #expect(try pair(client: certificates.identity("c"), server: server).server.failure == nil)
        #expect(try pair(client: certificates.identity("a"), server: server).server.failure?.reason == .wrongName)
    }

    @Test("files that change count for the next connection; the session before does not")
    func reload() throws {
        let own = try TestCertificates("a", "b")
        let (client, server) = (try own.identity("a"), try own.identity("b"))
        let resumption = TLSResumption()
        _ = try pair(client: client, server: server, resumption: resumption)
        #expect(try server.reload() == false)
        let before = server.context(.server)
        try own.make(["b"])
        #expect(try server.reload() == true)
        #expect(server.context(.server) !== before)
        let after = try pair(client: client, server: server, resumption: resumption)
        #expect(after.client.negotiation?.isResumed == false)
        #expect(after.client.failure == nil && after.server.failure == nil)
    }

    @Test("an unfit file is named, and what was there before goes on")
    func unfitFiles() throws {
        let own = try TestCertificates("a", "b")
        let identity = try own.identity("b")
        let before = identity.context(.server)
        try FileManager.default.copyItem(atPath: own.path("b.key"), toPath: own.path("kept.key"))
        func replace(_ file: String, with text: String) throws { try Data(text.utf8).write(to: own.folder.appending(path: file)) }
        func reason() -> String {
            do { return "\(try identity.reload())" } catch { return "\(error)" }
        }
        try replace("b.key", with: String(contentsOfFile: own.path("a.key"), encoding: .utf8))
        #expect(reason() == "\(own.path("b.key")) is not the key of \(own.path("b.pem")): key values mismatch")
        try replace("b.key", with: "no key")
        #expect(reason().hasPrefix("\(own.path("b.key")) has no key in PEM that is not encrypted: "))
        try FileManager.default.removeItem(atPath: own.path("b.key"))
        #expect(reason() == "\(own.path("b.key")) does not exist")
        try FileManager.default.copyItem(atPath: own.path("kept.key"), toPath: own.path("b.key"))
        try replace("authority.pem", with: "")
        #expect(reason() == "\(own.authority) has no certificate in PEM: no start line")
        #expect(identity.context(.server) === before)
    }
}

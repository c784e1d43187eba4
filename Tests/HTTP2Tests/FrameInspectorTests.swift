import HTTP2
import Testing

/// What a server refuses beside what libnghttp2 does, in a time that the tests make: it goes on from a moment after a server's beginning.
@Suite struct FrameInspectorTests {
    private func frame(_ type: UInt8, _ flags: UInt8 = 0, _ stream: UInt8 = 0, _ payload: [UInt8] = []) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 0xff), type, flags, 0, 0, 0, stream] + payload
    }

    private func server(_ change: (inout HTTP2Configuration) -> Void = { _ in }) throws -> SessionPair.End {
        var configuration = HTTP2Configuration()
        configuration.frameBurst = 100
        configuration.framesPerSecond = 1
        change(&configuration)
        let server = try SessionPair.End(.server, configuration)
        server.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4) + frame(4, 1))
        _ = server.output()
        return server
    }

    /// A request's head without its end, of static table entries: GET, http, /, and an authority.
    private func head(_ stream: UInt8, flags: UInt8 = 4) -> [UInt8] { frame(1, flags, stream, [0x82, 0x86, 0x84, 0x01, 1, 0x61]) }

    private func code(_ server: SessionPair.End) -> HTTP2ErrorCode? {
        _ = server.output()
        for case .terminated(let code) in server.events { return code }
        return nil
    }

    @Test(
        "frames that lead to nothing are bounded, at once and in time",
        arguments: [
            ("PING", 6, 0, 8), ("PING answered", 6, 1, 8), ("SETTINGS", 4, 0, 0), ("WINDOW_UPDATE", 8, 0, 4), ("unknown", 0x16, 0, 1), ("empty DATA", 0, 0, 0), ("padding", 0, 8, 200),
        ] as [(String, UInt8, UInt8, Int)])
    func floods(name: String, type: UInt8, flags: UInt8, byteCount: Int) throws {
        let server = try server()
        let start = ContinuousClock.now
        server.receive(head(1), at: start)
        let payload = [UInt8](repeating: byteCount == 200 ? 199 : type == 8 ? 0 : 7, count: byteCount)
        let flood = frame(type, flags, type == 0 ? 1 : 0, type == 8 ? [0, 0, 0, 1] : payload)
        for _ in 0..<97 { server.receive(flood, at: start) }  // the settings and the request were three
        #expect(code(server) == nil)
        for _ in 0..<10 { server.receive(flood, at: start + .seconds(10)) }
        #expect(code(server) == nil)
        server.receive(flood, at: start + .seconds(10))
        #expect(code(server) == .enhanceYourCalm)
    }

    @Test("what a client gets done pays for its frames; data that is more than a few bytes costs nothing")
    func progress() throws {
        let server = try server()
        let start = ContinuousClock.now
        for stream in stride(from: UInt8(1), through: 201, by: 2) {
            server.receive(head(stream, flags: 5) + frame(6, 0, 0, [UInt8](repeating: 0, count: 8)) + frame(8, 0, 0, [0, 0, 0, 1]), at: start)
            try server.respond(HTTP2StreamID(stream))
            #expect(code(server) == nil)
        }
        server.receive(head(203), at: start)
        for _ in 0..<500 { server.receive(frame(0, 0, 203, [UInt8](repeating: 1, count: 300)), at: start) }
        #expect(code(server) == nil)
    }

    @Test("resets have a bound of their own")
    func resets() throws {
        let server = try server {
            $0.resetBurst = 5
            $0.resetsPerSecond = 1
        }
        let start = ContinuousClock.now
        for stream in stride(from: UInt8(1), through: 9, by: 2) { server.receive(head(stream) + frame(3, 0, stream, [0, 0, 0, 8]), at: start) }
        #expect(code(server) == nil)
        server.receive(head(11) + frame(3, 0, 11, [0, 0, 0, 8]), at: start + .seconds(1))
        #expect(code(server) == nil)
        server.receive(head(13) + frame(3, 0, 13, [0, 0, 0, 8]), at: start + .seconds(1))
        #expect(code(server) == .enhanceYourCalm)
    }

    @Test("frames on a stream that the client ended are its fault; on one that the server ended they may have crossed the end", arguments: [1, 7, Int.max])
    func endedStreams(piece: Int) throws {
        let byServer = try server()
        let start = ContinuousClock.now
        byServer.receive(head(1), at: start)
        byServer.reset(1)
        byServer.receive(frame(0, 0, 1, [1, 2, 3]) + frame(1, 5, 1, [0x88]), piece: piece, at: start)
        #expect(code(byServer) == nil)
        byServer.receive(frame(0, 0, 1, [1]), piece: piece, at: start)  // now the client has ended it, too
        #expect(code(byServer) == .streamClosed)

        for (end, frames) in [(frame(0, 1, 1), frame(0, 0, 1)), (frame(3, 0, 1, [0, 0, 0, 8]), frame(0, 1, 1)), (frame(0, 1, 1), head(1))] {
            let byClient = try server()
            let start = ContinuousClock.now
            byClient.receive(head(1) + end, piece: piece, at: start)
            #expect(code(byClient) == nil)
            byClient.receive(frames, piece: piece, at: start)
            #expect(code(byClient) == .streamClosed)
        }
        let late = try server()
        late.receive(head(9) + head(5), piece: piece, at: start)
        #expect(code(late) == .protocolError)
    }

    @Test("streams that were reset by the server are forgotten in the end, the oldest first, and let pass")
    func forgetting() throws {
        let server = try server {
            $0.maximumConcurrentStreams = 4
            $0.frameBurst = 1_000
        }
        let start = ContinuousClock.now
        for stream in stride(from: UInt8(1), through: 41, by: 2) {
            server.receive(head(stream), at: start)
            server.reset(HTTP2StreamID(stream))
            _ = server.output()
        }
        server.receive(frame(0, 1, 1) + frame(0, 0, 1), at: start)
        #expect(code(server) == nil)
        server.receive(frame(0, 1, 41) + frame(0, 0, 41), at: start)
        #expect(code(server) == .streamClosed)
    }

    @Test("it is known since when a preface, frame or header block lacks its end")
    func incomplete() throws {
        let fresh = try SessionPair.End(.server, HTTP2Configuration())
        #expect(fresh.incompleteSince != nil)
        let server = try server()
        let start = ContinuousClock.now
        #expect(server.incompleteSince == nil)
        func after(_ bytes: [UInt8], _ seconds: Int) -> ContinuousClock.Instant? {
            server.receive(bytes, at: start + .seconds(seconds))
            return server.incompleteSince
        }
        #expect(after([0, 0], 1) == start + .seconds(1))
        #expect(after([0, 4], 2) == start + .seconds(1))
        #expect(after([0, 0, 0, 0, 0], 3) == nil)
        #expect(after(head(1, flags: 0), 4) == start + .seconds(4))
        #expect(after(frame(9, 0, 1), 5) == start + .seconds(4))
        #expect(after(frame(9, 4, 1), 6) == nil)
        #expect(after([0, 1, 0, 0, 0, 0, 0, 0, 1, 7], 7) == nil, "data is the application's matter")
    }

    @Test("a window that stays shut, or opens by little, is noticed, its stream's or the connection's", arguments: [true, false])
    func stalls(isConnection: Bool) throws {
        var configuration = HTTP2Configuration()
        if !isConnection { configuration.streamWindowBytes = 1_000 }
        configuration.connectionWindowBytes = isConnection ? 1 << 16 : 1 << 20
        let pair = try SessionPair(client: configuration)
        pair.client.isReading = false
        pair.client.isReadingConnection = !isConnection
        let stream = try pair.client.session.request(requestHeaders, body: [])
        pair.exchange()
        try pair.server.session.respond(stream, replyHeaders, body: [[UInt8](repeating: 7, count: 1 << 17)])
        pair.exchange()
        func look() -> String {
            let found = pair.server.session.takeStalled(minimumBytes: 100)
            return "\(found.streams.count) \(found.isConnection)"
        }
        #expect(look() == "0 false", "it has just begun to wait")
        #expect(look() == (isConnection ? "0 true" : "1 false"))
        pair.client.consume(99, of: stream)
        pair.exchange()
        #expect(pair.server.pendingBytes(of: stream) > 0)
        #expect(look() == (isConnection ? "0 true" : "1 false"))
        pair.client.consume(60_000, of: stream)
        pair.exchange()
        #expect(look() == "0 false")
    }

    @Test("data beyond a window ends what it is for", arguments: [true, false])
    func flowControl(isConnection: Bool) throws {
        let server = try server {
            $0.streamWindowBytes = isConnection ? 1 << 20 : 1_000
            $0.connectionWindowBytes = 1 << 16
        }
        let start = ContinuousClock.now
        server.isReading = false
        server.isReadingConnection = false
        server.receive(head(1), at: start)
        for _ in 0..<(isConnection ? 4 : 1) { server.receive(frame(0, 0, 1, [UInt8](repeating: 1, count: 16_384)), at: start) }
        #expect(code(server) == nil || !isConnection)
        server.receive(frame(0, 0, 1, [1, 2]), at: start)
        let end = code(server)
        #expect(isConnection ? end == .flowControlError : server.events.contains(.streamClosed(stream: 1, code: .flowControlError)))
    }

    @Test("a header list that unpacks beyond all measure ends the connection; one beyond the limit does not")
    func headerLists() throws {
        let server = try server { $0.maximumHeaderListBytes = 4_000 }
        let start = ContinuousClock.now
        let field: [UInt8] = [0x40, 1, 0x78, 0x7f, 0xe9, 6] + [UInt8](repeating: 0x79, count: 1_000)  // 1,000 bytes of y, indexed
        server.receive(frame(1, 5, 1, [0x82, 0x86, 0x84, 0x01, 1, 0x61] + field + [UInt8](repeating: 0xbe, count: 8)), at: start)
        #expect(code(server) == nil)
        #expect(server.events.contains { if case .headerListTooLarge(1, _, _) = $0 { true } else { false } })
        server.receive(frame(1, 5, 3, [0x82, 0x86, 0x84, 0x01, 1, 0x61] + [UInt8](repeating: 0xbe, count: 1_000)), at: start)
        #expect(code(server) == .enhanceYourCalm)
    }
}

extension SessionPair.End {
    var incompleteSince: ContinuousClock.Instant? { session.incompleteSince }
    func reset(_ stream: HTTP2StreamID) { session.reset(stream, .refusedStream) }
    func respond(_ stream: HTTP2StreamID) throws { try session.respond(stream, endingWith: replyHeaders) }
    func consume(_ count: Int, of stream: HTTP2StreamID) {
        session.consume(count, of: stream)
        session.consumeOnConnection(count)
    }
    func receive(_ bytes: [UInt8], piece: Int, at now: ContinuousClock.Instant) {
        var rest = bytes[...]
        while !rest.isEmpty {
            receive(Array(rest.prefix(piece)), at: now)
            rest = rest.dropFirst(min(piece, rest.count))
        }
    }
}

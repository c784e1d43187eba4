import HTTP2
import Testing

@Suite struct HTTP2SessionTests {
    @Test("a request and its reply arrive whole, however the bytes are cut", arguments: [1, 2, 7, 100, 16_384, Int.max])
    func requestAndReply(piece: Int) throws {
        let pair = try SessionPair(piece: piece)
        let question = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let answer = (0..<90_000).map { UInt8(truncatingIfNeeded: $0 &* 17) }
        let stream = try pair.client.session.request(requestHeaders, body: [[1, 2, 3], question])
        pair.exchange()
        #expect(pair.server.events.contains(.headers(stream: stream, requestHeaders, endsStream: false)))
        #expect(pair.server.events.contains(.dataEnded(stream: stream)))
        #expect(pair.server.data[stream] == [1, 2, 3] + question)

        let trailers = [HTTP2Header("grpc-status", "0")]
        try pair.server.session.respond(stream, replyHeaders, body: [answer], trailers: trailers)
        pair.exchange()
        #expect(pair.client.data[stream] == answer)
        #expect(pair.client.events.contains(.headers(stream: stream, replyHeaders, endsStream: false)))
        #expect(pair.client.events.contains(.headers(stream: stream, trailers, endsStream: true)))
        #expect(pair.client.events.last == .streamClosed(stream: stream, code: .noError))
        #expect(pair.server.events.contains(.sentEnd(stream: stream)))
    }

    @Test("streams are multiplexed and keep their bodies apart", arguments: [1, 2, 3] as [UInt64])
    func multiplexes(seed: UInt64) throws {
        let pair = try SessionPair(piece: 1_000)
        var bodies: [HTTP2StreamID: [UInt8]] = [:]
        for index in 0..<50 {
            let body = [UInt8](repeating: UInt8(index), count: Int((seed &* 7_919 &+ UInt64(index) &* 104_729) % 5_000))
            bodies[try pair.client.session.request(requestHeaders, body: [body])] = body
        }
        pair.exchange()
        for (stream, body) in bodies { #expect(pair.server.data[stream, default: []] == body) }
    }

    @Test("an answer of headers alone ends the stream")
    func headersAlone() throws {
        let pair = try SessionPair()
        let stream = try pair.client.session.request(requestHeaders, body: [])
        pair.exchange()
        try pair.server.session.respond(stream, endingWith: replyHeaders)
        pair.exchange()
        #expect(pair.client.events.contains(.headers(stream: stream, replyHeaders, endsStream: true)))
    }

    @Test("a body is sent no further than its reader's window, and goes on when the reader consumes")
    func flowControl() throws {
        var configuration = HTTP2Configuration()
        configuration.streamWindowBytes = 10_000
        let pair = try SessionPair(client: configuration)
        pair.client.isReading = false
        let stream = try pair.client.session.request(requestHeaders, body: [])
        pair.exchange()
        try pair.server.session.respond(stream, replyHeaders, body: [[UInt8](repeating: 7, count: 35_000)])
        pair.exchange()
        #expect(pair.client.data[stream]?.count == 10_000)
        #expect(pair.server.pendingBytes(of: stream) == 25_000)

        pair.client.session.consume(10_000, of: stream)
        pair.exchange()
        #expect(pair.client.data[stream]?.count == 20_000)

        pair.client.isReading = true
        pair.client.session.consume(10_000, of: stream)
        pair.exchange()
        pair.server.session.append([[1, 2, 3]], to: stream)
        pair.server.session.end(stream, trailers: [HTTP2Header("grpc-status", "0")])
        pair.exchange()
        #expect(pair.client.data[stream]?.count == 35_003)
        #expect(pair.client.events.last == .streamClosed(stream: stream, code: .noError))
    }

    @Test("output comes in portions near the limit asked for")
    func portions() throws {
        var configuration = HTTP2Configuration()
        configuration.streamWindowBytes = 1 << 20
        let pair = try SessionPair(server: configuration)
        _ = try pair.client.session.request(requestHeaders, body: [[UInt8](repeating: 1, count: 600_000)])
        var total = 0
        while pair.client.session.wantsToSend {
            let bytes = pair.client.output(limit: 50_000)
            guard !bytes.isEmpty else { break }
            #expect(bytes.count < 50_000 + 16_384 + 9)
            total += bytes.count
            pair.server.receive(bytes)
        }
        #expect(total > 600_000)
    }

    @Test("a reset reaches the peer and drops what was to be sent")
    func reset() throws {
        let pair = try SessionPair()
        let stream = try pair.client.session.request(requestHeaders, body: [[UInt8](repeating: 1, count: 1 << 20)])
        pair.server.isReading = false
        pair.exchange()
        pair.client.session.reset(stream, .cancel)
        pair.exchange()
        #expect(pair.server.events.last == .streamClosed(stream: stream, code: .cancel))
        #expect(pair.client.pendingBytes(of: stream) == 0)
    }

    @Test("streams beyond the limit wait at the client until others end")
    func concurrentStreams() throws {
        var configuration = HTTP2Configuration()
        configuration.maximumConcurrentStreams = 2
        let pair = try SessionPair(server: configuration)
        #expect(pair.client.maximumStreamsOfPeer == 2)
        let streams = try (0..<4).map { _ in try pair.client.session.request(requestHeaders, body: []) }
        pair.exchange()
        #expect(Set(pair.server.opened) == Set(streams[0..<2]))
        try pair.server.session.respond(streams[0], endingWith: replyHeaders)
        pair.exchange()
        #expect(Set(pair.server.opened) == Set(streams[0..<3]))
    }

    @Test("a header list beyond the limit is reported by size, not kept")
    func headerList() throws {
        var configuration = HTTP2Configuration()
        configuration.maximumHeaderListBytes = 1_000
        let pair = try SessionPair(server: configuration)
        let large = requestHeaders + (0..<40).map { HTTP2Header("name-\($0)", "value") }
        let stream = try pair.client.session.request(large, body: [])
        pair.exchange()
        let size = large.reduce(0) { $0 + $1.listBytes }
        #expect(pair.server.events.contains(.headerListTooLarge(stream: stream, byteCount: size, endsStream: false)))
        #expect(!pair.server.opened.contains(stream))
    }

    @Test("a drain tells the last stream, serves it, and then the connection is over")
    func drain() throws {
        let pair = try SessionPair()
        let stream = try pair.client.session.request(requestHeaders, body: [])
        pair.exchange()
        pair.server.session.announceShutdown()
        pair.server.session.ping(mark: 9)
        pair.exchange()
        #expect(pair.server.events.contains(.pingAcknowledged(mark: 9)))
        pair.server.session.goAway()
        pair.exchange()
        #expect(pair.client.events.contains(.goAway(lastStream: stream, code: .noError)))
        #expect(!pair.server.isOver)
        try pair.server.session.respond(stream, endingWith: replyHeaders)
        pair.exchange()
        #expect(pair.client.events.contains(.headers(stream: stream, replyHeaders, endsStream: true)))
        #expect(pair.server.isOver)
    }

    @Test("bytes that are not HTTP/2 are refused with a reason")
    func notHTTP2() throws {
        let server = try SessionPair.End(.server, HTTP2Configuration())
        server.receive(Array("GET / HTTP/1.1\r\nHost: here\r\n\r\n".utf8))
        #expect(server.error != nil || server.isOver)
        #expect(server.error?.description.isEmpty == false)
    }

    @Test("a flood of pings is cut off", .timeLimit(.minutes(10)))
    func pingFlood() throws {
        var configuration = HTTP2Configuration()
        configuration.maximumQueuedAcknowledgements = 100
        let pair = try SessionPair(server: configuration)
        let ping: [UInt8] = [0, 0, 8, 6, 0, 0, 0, 0, 0] + [UInt8](repeating: 1, count: 8)
        for _ in 0..<200 { pair.server.receive(ping) }  // its answers are never collected
        _ = pair.server.output()
        #expect(pair.server.events.contains(.terminated(code: .enhanceYourCalm)))
    }

    @Test("a flood of settings is cut off")
    func settingsFlood() throws {
        var configuration = HTTP2Configuration()
        configuration.maximumQueuedAcknowledgements = 100
        let pair = try SessionPair(server: configuration)
        for _ in 0..<200 { pair.server.receive([0, 0, 0, 4, 0, 0, 0, 0, 0]) }
        _ = pair.server.output()
        #expect(pair.server.events.contains(.terminated(code: .enhanceYourCalm)))
    }

    @Test("a flood of opened and reset streams is cut off")
    func rapidReset() throws {
        var configuration = HTTP2Configuration()
        configuration.resetBurst = 50
        configuration.resetsPerSecond = 1
        let pair = try SessionPair(server: configuration)
        for _ in 0..<200 {
            let stream = try? pair.client.session.request(requestHeaders, body: [], endsStream: false)
            pair.exchange()
            if let stream { pair.client.session.reset(stream, .cancel) }
            pair.exchange()
        }
        #expect(pair.server.events.contains(.terminated(code: .enhanceYourCalm)))
        #expect(pair.server.opened.count < 100)
    }

    @Test("any byte of a good connection may be wrong: an error or nothing, never a crash", arguments: 0..<64)
    func flippedBytes(seed: Int) throws {
        let client = try SessionPair.End(.client, HTTP2Configuration())
        _ = try client.session.request(requestHeaders, body: [[UInt8](repeating: 3, count: 300)])
        var bytes = client.output()
        for position in stride(from: seed, to: bytes.count, by: 64) {
            let original = bytes[position]
            bytes[position] ^= UInt8(truncatingIfNeeded: position &* 37 | 1)
            let server = try SessionPair.End(.server, HTTP2Configuration())
            server.receive(bytes)
            _ = server.output()
            bytes[position] = original
        }
    }

    @Test("impossible configurations name the field")
    func configuration() {
        var configuration = HTTP2Configuration()
        configuration.streamWindowBytes = 0
        #expect(throws: HTTP2Error.invalidConfiguration("streamWindowBytes must be 1…2147483647, found 0")) {
            _ = try SessionPair.End(.client, configuration)
        }
    }
}

extension SessionPair.End {
    // `#expect` copies what it looks into, which a session forbids.
    var isOver: Bool { session.isOver }
    var maximumStreamsOfPeer: Int { session.maximumStreamsOfPeer }
    func pendingBytes(of stream: HTTP2StreamID) -> Int { session.pendingBytes(of: stream) }

    /// Streams whose requests arrived.
    var opened: [HTTP2StreamID] {
        events.compactMap { if case .headers(let stream, _, _) = $0 { stream } else { nil } }
    }
}

import HTTP2

/// Two sessions back to back: what one sends the other receives, in pieces of a chosen size.
final class SessionPair {
    final class End {
        var session: HTTP2Session
        var events: [HTTP2Event] = []
        /// Bytes of data received, by stream.
        var data: [HTTP2StreamID: [UInt8]] = [:]
        /// Whether data is consumed as it comes, of its stream and of the connection.
        var isReading = true
        var isReadingConnection = true
        var error: HTTP2Error?

        init(_ role: HTTP2Session.Role, _ configuration: HTTP2Configuration) throws {
            session = try HTTP2Session(role, configuration: configuration)
        }

        func output(limit: Int = .max) -> [UInt8] {
            var bytes: [UInt8] = []
            do {
                events += try session.send(limit: limit) { span in span.withUnsafeBytes { bytes += $0 } }
            } catch { self.error = error }
            return bytes
        }

        func receive(_ bytes: [UInt8], at now: ContinuousClock.Instant = .now) {
            guard error == nil else { return }
            do {
                for event in try session.receive(bytes.span.bytes, at: now) {
                    if case .data(let stream, let range) = event {
                        data[stream, default: []] += bytes[range]
                        if isReadingConnection { session.consumeOnConnection(range.count) }
                        if isReading { session.consume(range.count, of: stream) }
                    } else {
                        events.append(event)
                    }
                }
            } catch { self.error = error }
        }
    }

    let client: End
    let server: End
    private let piece: Int

    init(client: HTTP2Configuration = .init(), server: HTTP2Configuration = .init(), piece: Int = .max) throws {
        self.client = try End(.client, client)
        self.server = try End(.server, server)
        self.piece = piece
        exchange()
    }

    /// Carries bytes to and fro until both have nothing to say.
    func exchange() {
        var isQuiet = false
        while !isQuiet {
            isQuiet = true
            for (from, to) in [(client, server), (server, client)] {
                let bytes = from.output()
                var start = 0
                while start < bytes.count {
                    isQuiet = false
                    let end = start + min(piece, bytes.count - start)
                    to.receive(Array(bytes[start..<end]))
                    start = end
                }
            }
        }
    }
}

let requestHeaders = [
    HTTP2Header(":method", "POST"), HTTP2Header(":scheme", "http"), HTTP2Header(":path", "/a.B/C"), HTTP2Header(":authority", "here"),
]
let replyHeaders = [HTTP2Header(":status", "200"), HTTP2Header("content-type", "application/grpc")]

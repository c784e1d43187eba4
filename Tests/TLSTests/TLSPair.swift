import TLS
import TestServers

/// Two sessions back to back: what one sends the other receives, in pieces of a chosen size.
final class TLSPair {
    final class End {
        private var session: TLSSession
        private(set) var negotiation: TLSNegotiation?
        private(set) var failure: TLSFailure?
        private(set) var received: [UInt8] = []
        private(set) var hasEnded = false

        init(_ context: TLSContext, expecting name: String? = nil, resumption: TLSResumption? = nil) throws {
            session = try TLSSession(context, expecting: name, resumption: resumption)
        }

        func advance() {
            guard negotiation == nil, failure == nil else { return }
            do { negotiation = try session.handshake() } catch { failure = error }
        }

        func write(_ bytes: [UInt8]) { do { try session.write(bytes.span.bytes) } catch { failure = error } }
        func end() { session.end() }

        func output() -> [UInt8] {
            var bytes: [UInt8] = []
            session.send { span in span.withUnsafeBytes { bytes += $0 } }
            return bytes
        }

        func receive(_ bytes: [UInt8]) {
            guard failure == nil else { return }
            do {
                try session.receive(bytes.span.bytes)
                advance()
                while negotiation != nil, failure == nil {
                    var room = [UInt8](repeating: 0, count: TLSSession.recordBytes)
                    guard let count = try room.withUnsafeMutableBytes({ room throws(TLSFailure) in try session.read(into: room) }) else {
                        hasEnded = true
                        return
                    }
                    if count == 0 { return }
                    received += room[..<count]
                }
            } catch let error as TLSFailure { failure = error } catch {}
        }
    }

    let client: End
    let server: End
    private let piece: Int

    init(client: End, server: End, piece: Int = .max) {
        (self.client, self.server, self.piece) = (client, server, piece)
        client.advance()
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

extension TestCertificates {
    /// A node's identity: its certificate, and the names of a cluster of a, b and d.
    func identity(_ name: String, trusting other: TestCertificates? = nil, _ change: (inout TLSSettings) -> Void = { _ in }) throws -> TLSIdentity {
        var settings = TLSSettings(
            certificateFile: path("\(name).pem"), keyFile: path("\(name).key"), authorityFile: (other ?? self).authority, protocols: ["h2"])
        settings.names = ["a", "b", "d"]
        change(&settings)
        return try TLSIdentity(settings)
    }
}

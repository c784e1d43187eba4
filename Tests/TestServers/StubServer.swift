import Model
import NIOCore
import NIOPosix
import Synchronization

/// An HTTP/1.1 server on a free port of loopback that answers as the test says and keeps what it was asked.
package final class StubServer: Sendable {
    package struct Request: Sendable {
        package var method: String
        package var path: String
        /// The request line and the header lines.
        package var head: String
        package var body: [UInt8]
        package var json: JSONValue? { try? JSONValue(parsing: body) }
    }

    package struct Reply: Sendable {
        enum End { case keepsAlive, closes, waitsForClient }
        var bytes: [UInt8]
        var end: End

        package init(_ json: JSONValue, status: Int = 200, headers: String = "") {
            self.init(json.serialized(), status: status, contentType: "application/json", headers: headers)
        }
        package init(text: String, status: Int = 200, contentType: String = "text/plain") {
            self.init(Array(text.utf8), status: status, contentType: contentType, headers: "")
        }
        private init(_ body: [UInt8], status: Int, contentType: String, headers: String) {
            bytes = Array("HTTP/1.1 \(status) Status\r\ncontent-type: \(contentType)\r\ncontent-length: \(body.count)\r\n\(headers)\r\n".utf8) + body
            end = .keepsAlive
        }
        /// Sends these bytes, head and all, then closes the connection.
        ///
        /// - Parameter waitsForClient: Keeps the connection open until the client leaves.
        package init(raw: String, waitsForClient: Bool = false) {
            bytes = Array(raw.utf8)
            end = waitsForClient ? .waitsForClient : .closes
        }
    }

    package let url: String
    private let channel: any Channel
    private let seen: Seen

    package init(_ answer: @escaping @Sendable (Request) -> Reply) async throws {
        let seen = Seen()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(seen: seen, answer: answer)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        url = "http://127.0.0.1:\(channel.localAddress!.port!)"
        self.seen = seen
    }

    /// Answers each request with the next of `replies`, and with a closed connection when there are no more.
    package convenience init(_ replies: [Reply]) async throws {
        let box = Rest(replies)
        try await self.init { _ in box.next() }
    }

    /// A port that nobody listens on at this moment.
    package static func freePort() async throws -> Int {
        let server = try await StubServer([])
        await server.stop()
        return Int(server.url.split(separator: ":").last!)!
    }

    package var requests: [Request] { seen.requests.withLock { $0 } }
    /// Whether a client closed its connection while the server waited for that.
    package var sawClientLeave: Bool { seen.clientLeft.withLock { $0 } }
    package func stop() async { try? await channel.close() }

    private final class Seen: Sendable {
        let requests = Mutex<[Request]>([])
        let clientLeft = Mutex(false)
    }

    private final class Rest: Sendable {
        private let replies: Mutex<ArraySlice<Reply>>
        init(_ replies: [Reply]) { self.replies = Mutex(replies[...]) }
        func next() -> Reply { replies.withLock { $0.popFirst() } ?? Reply(raw: "") }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let seen: Seen
        private let answer: @Sendable (Request) -> Reply
        private var received: [UInt8] = []
        private var isWaiting = false

        init(seen: Seen, answer: @escaping @Sendable (Request) -> Reply) {
            self.seen = seen
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Self.unwrapInboundIn(data).readableBytesView
            while let request = next(context) {
                seen.requests.withLock { $0.append(request) }
                let reply = answer(request)
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(bytes: reply.bytes)), promise: nil)
                if reply.end == .closes { context.close(promise: nil) }
                isWaiting = reply.end == .waitsForClient
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if isWaiting { seen.clientLeft.withLock { $0 = true } }
            context.fireChannelInactive()
        }

        private func next(_ context: ChannelHandlerContext) -> Request? {
            guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
            let head = String(decoding: received[..<end.lowerBound], as: UTF8.self)
            if head.lowercased().contains("expect: 100-continue"), received.count == end.upperBound {
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
            }
            let length = head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                .flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
            guard received.count >= end.upperBound + length else { return nil }
            let words = head.prefix { $0 != "\r\n" }.split(separator: " ")
            let body = Array(received[end.upperBound..<(end.upperBound + length)])
            received.removeFirst(end.upperBound + length)
            return Request(method: String(words[0]), path: String(words[1]), head: head, body: body)
        }
    }
}

import Console
import Foundation
import Model
import NIOCore
import NIOPosix
import Synchronization

/// An HTTP/1.1 server on a free port of loopback that answers as the test says and keeps what it was asked.
final class StubServer: Sendable {
    struct Request: Sendable {
        var method: String
        var path: String
        var headers: String
        var body: [UInt8]
        var json: JSONValue? { try? JSONValue(parsing: body) }
    }
    struct Reply: Sendable {
        var status = 200
        var contentType = "application/json"
        var headers = ""
        var body: [UInt8]
        init(_ json: JSONValue, status: Int = 200, headers: String = "") {
            self.status = status
            self.headers = headers
            body = json.serialized()
        }
        init(text: String, status: Int = 200, contentType: String = "text/plain") {
            self.status = status
            self.contentType = contentType
            body = Array(text.utf8)
        }
    }
    private let channel: any Channel
    private let box: SeenBox
    let url: String

    init(_ answer: @escaping @Sendable (Request) -> Reply) async throws {
        let box = SeenBox()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(box: box, answer: answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        url = "http://127.0.0.1:\(channel.localAddress!.port!)"
        self.box = box
    }
    var requests: [Request] { box.all.withLock { $0 } }
    func stop() async { try? await channel.close() }

    final class SeenBox: Sendable { let all = Mutex<[Request]>([]) }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let box: SeenBox
        private let answer: @Sendable (Request) -> Reply
        private var received: [UInt8] = []

        init(box: SeenBox, answer: @escaping @Sendable (Request) -> Reply) {
            self.box = box
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Self.unwrapInboundIn(data).readableBytesView
            while let request = next(context) {
                box.all.withLock { $0.append(request) }
                let reply = answer(request)
                let head = "HTTP/1.1 \(reply.status) Status\r\ncontent-type: \(reply.contentType)\r\ncontent-length: \(reply.body.count)\r\n\(reply.headers)\r\n"
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(bytes: Array(head.utf8) + reply.body)), promise: nil)
            }
        }

        private func next(_ context: ChannelHandlerContext) -> Request? {
            guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
            let head = String(decoding: received[..<end.lowerBound], as: UTF8.self)
            if head.lowercased().contains("expect: 100-continue"), received.count == end.upperBound {
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
            }
            let length = head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
            guard received.count >= end.upperBound + length else { return nil }
            let words = head.prefix { $0 != "\r\n" }.split(separator: " ")
            let body = Array(received[end.upperBound..<(end.upperBound + length)])
            received.removeFirst(end.upperBound + length)
            return Request(method: String(words[0]), path: String(words[1]), headers: head, body: body)
        }
    }
}

/// A terminal that keeps what it was given.
final class Screen: Sendable {
    private let lines = Mutex((output: "", notices: ""))
    var output: String { lines.withLock { $0.output } }
    var notices: String { lines.withLock { $0.notices } }
    func terminal(isWatched: Bool = false) -> Terminal {
        Terminal(
            isWatched: isWatched, output: { text in self.lines.withLock { $0.output += text } },
            notice: { text in self.lines.withLock { $0.notices += text } })
    }
}

import HTTP2
import HTTPTypes
import HummingbirdCore
import NIOCore

/// One request and its response, as the task that answers it sees them; what it does happens on the connection's event loop.
struct HTTP2Exchange: Sendable {
    let connection: NIOLoopBound<HTTP2Connection>
    let stream: HTTP2StreamID

    func run(_ request: Request, _ edge: HTTP2Edge, _ channel: any Channel) async {
        let response = await edge.respond(request, channel)
        do {
            if request.method == .head || response.body.contentLength == 0 {
                onLoop { $0.finish(stream, response.head, body: nil) }
            } else if let length = response.body.contentLength {
                try await response.body.write(WholeBody(exchange: self, head: response.head, length: length))
            } else {
                onLoop { $0.begin(stream, response.head) }
                try await response.body.write(StreamedBody(exchange: self))
            }
        } catch {}  // the client left, or what made the body has said in the log why it broke
        onLoop { $0.taskEnded(stream) }
    }

    private func onLoop(_ body: @escaping @Sendable (HTTP2Connection) -> Void) {
        connection.eventLoop.execute { body(connection.value) }
    }

    fileprivate func read() async throws -> ByteBuffer? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in onLoop { $0.read(stream, continuation) } }
        } onCancel: {
            onLoop { $0.stopReading(stream) }
        }
    }

    fileprivate func write(_ buffer: ByteBuffer) async throws {
        guard buffer.readableBytes > 0 else { return }
        let bytes = Array(buffer.readableBytesView)
        try await withCheckedThrowingContinuation { continuation in onLoop { $0.write(bytes, to: stream, continuation) } }
    }

    /// A body of known length, which mostly comes in one piece: then head, body and end are one write.
    private struct WholeBody: ResponseBodyWriter {
        let exchange: HTTP2Exchange
        let head: HTTPResponse
        let length: Int
        var hasBegun = false
        var isWhole = false

        mutating func write(_ buffer: ByteBuffer) async throws {
            if !hasBegun, buffer.readableBytes == length {
                hasBegun = true
                isWhole = true
                let (stream, head) = (exchange.stream, head)
                let bytes = Array(buffer.readableBytesView)
                exchange.onLoop { $0.finish(stream, head, body: bytes) }
                return
            }
            begin()
            try await exchange.write(buffer)
        }

        consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
            if isWhole { return }
            begin()
            let stream = exchange.stream
            exchange.onLoop { $0.end(stream, trailingHeaders) }
        }

        private mutating func begin() {
            if hasBegun { return }
            hasBegun = true
            let (stream, head) = (exchange.stream, head)
            exchange.onLoop { $0.begin(stream, head) }
        }
    }

    private struct StreamedBody: ResponseBodyWriter {
        let exchange: HTTP2Exchange

        mutating func write(_ buffer: ByteBuffer) async throws { try await exchange.write(buffer) }

        consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
            let stream = exchange.stream
            exchange.onLoop { $0.end(stream, trailingHeaders) }
        }
    }
}

/// The body of a request, block by block as its reader takes it; read once.
struct HTTP2RequestBody: AsyncSequence, Sendable {
    fileprivate let exchange: HTTP2Exchange

    init(exchange: HTTP2Exchange) { self.exchange = exchange }

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let exchange: HTTP2Exchange
        mutating func next() async throws -> ByteBuffer? { try await exchange.read() }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(exchange: exchange) }
}

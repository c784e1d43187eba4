import Synchronization

/// Requests to other servers by libcurl: one thread for all transfers, one `async` face.
///
/// Connections are kept and reused; redirects are not followed; no status is an error; nothing is sent twice, except that a
/// request without a body is sent again when a kept connection turns out to be dead. Cancelling the task that waits aborts its transfer.
package final class HTTPClient: Sendable {
    private let loop: TransferLoop
    private let configuration: HTTPClientConfiguration
    private let lastID = Atomic<UInt64>(0)

    package init(configuration: HTTPClientConfiguration = HTTPClientConfiguration()) {
        self.configuration = configuration
        self.loop = TransferLoop(configuration: configuration)
    }

    deinit { loop.stop() }

    /// Sends a request and collects its response.
    package func send(_ request: HTTPRequest) async throws(HTTPClientError) -> HTTPResponse {
        let transfer = makeTransfer(request, isStreamed: false)
        return try await cancelling(transfer) { () async throws(HTTPClientError) in
            let body = try await transfer.body()
            let head = try await transfer.head()
            return HTTPResponse(status: head.status, headers: head.headers, body: body)
        }
    }

    /// Sends a request and returns when status and headers are there; the body is read from the result as it comes.
    ///
    /// The transfer ends with the body, with an error, by cancellation of the task that reads, or when the result is released.
    package func stream(_ request: HTTPRequest) async throws(HTTPClientError) -> HTTPStreamedResponse {
        let transfer = makeTransfer(request, isStreamed: true)
        let head = try await cancelling(transfer) { () async throws(HTTPClientError) in try await transfer.head() }
        return HTTPStreamedResponse(
            status: head.status, headers: head.headers, body: HTTPStreamedBody(transfer: transfer, loop: loop))
    }

    /// Ends every transfer with `shutDown` and returns when the thread is gone. Later requests fail likewise.
    package func shutdown() async { await loop.shutdown() }

    private func makeTransfer(_ request: HTTPRequest, isStreamed: Bool) -> Transfer {
        Transfer(
            id: lastID.add(1, ordering: .relaxed).newValue, request: request, isStreamed: isStreamed,
            maximumBufferedBytes: configuration.maximumBufferedBytes)
    }

    private func cancelling<Value>(
        _ transfer: Transfer, _ read: () async throws(HTTPClientError) -> Value
    ) async throws(HTTPClientError) -> Value {
        loop.start(transfer)
        return try await loop.abortingOnCancellation(of: transfer, read)
    }
}

/// A response whose body is still on its way.
package struct HTTPStreamedResponse: Sendable {
    package let status: Int
    package let headers: HTTPHeaders
    package let body: HTTPStreamedBody

    package var isSuccess: Bool { (200..<300).contains(status) }
}

/// The blocks of a body in order, read once and by one task. A slow reader slows the server down.
package final class HTTPStreamedBody: AsyncSequence, Sendable {
    package typealias Element = [UInt8]
    package typealias Failure = HTTPClientError

    private let transfer: Transfer
    private let loop: TransferLoop

    init(transfer: Transfer, loop: TransferLoop) {
        self.transfer = transfer
        self.loop = loop
    }

    deinit { loop.abort(transfer, with: .cancelled) }

    /// Everything that is still to come. Use it for the body of an error status.
    package func collect() async throws(HTTPClientError) -> [UInt8] {
        var bytes: [UInt8] = []
        while let block = try await next() { bytes += block }
        return bytes
    }

    fileprivate func next() async throws(HTTPClientError) -> [UInt8]? {
        let next = try await loop.abortingOnCancellation(of: transfer) { () async throws(HTTPClientError) in
            try await transfer.nextBytes()
        }
        if next?.resume == true { loop.resume(transfer) }
        return next?.bytes
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let body: HTTPStreamedBody
        package mutating func next() async throws(HTTPClientError) -> [UInt8]? { try await body.next() }
        package mutating func next(isolation: isolated (any Actor)?) async throws(HTTPClientError) -> [UInt8]? {
            try await body.next()
        }
    }
    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }
}

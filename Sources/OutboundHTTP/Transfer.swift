import Synchronization

/// What crosses between libcurl's thread, which fills a response, and the task that reads it.
///
/// The thread calls the methods of the first extension, one task those of the second.
final class Transfer: Sendable {
    /// Where the reader waits: the event that wakes it, so that a collected body costs one wake-up, not one a block.
    private enum Event { case head, bytes, end }

    private struct State {
        var head: (status: Int, headers: HTTPHeaders)?
        var buffer: [UInt8] = []
        var receivedBytes = 0
        var isPaused = false
        var outcome: Result<Void, HTTPClientError>?
        var reader: (event: Event, continuation: CheckedContinuation<Void, Never>)?

        /// The reader's continuation if what it waits for is there now.
        mutating func wokenReader() -> CheckedContinuation<Void, Never>? {
            guard let waiting = reader, outcome != nil || has(waiting.event) else { return nil }
            reader = nil
            return waiting.continuation
        }
        func has(_ event: Event) -> Bool {
            switch event {
            case .head: head != nil
            case .bytes: !buffer.isEmpty
            case .end: false
            }
        }
    }

    let id: UInt64
    let request: HTTPRequest
    /// Whether the body waits for its reader (bounded by `maximumBufferedBytes`) or is collected whole.
    let isStreamed: Bool
    let maximumBufferedBytes: Int
    private let state = Mutex(State())

    init(id: UInt64, request: HTTPRequest, isStreamed: Bool, maximumBufferedBytes: Int) {
        self.id = id
        self.request = request
        self.isStreamed = isStreamed
        self.maximumBufferedBytes = maximumBufferedBytes
    }
}

/// What libcurl's thread does.
extension Transfer {
    enum Reception { case taken, pause, tooLarge }

    func receiveHead(status: Int, headers: HTTPHeaders) {
        let reader = state.withLock { state in
            state.head = (status, headers)
            return state.wokenReader()
        }
        reader?.resume()
    }

    /// Takes one block of the body. After `.pause` the same block is offered again when the transfer goes on.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Reception {
        let (reception, reader) = state.withLock { state -> (Reception, CheckedContinuation<Void, Never>?) in
            if isStreamed, state.buffer.count >= maximumBufferedBytes {
                state.isPaused = true
                return (.pause, nil)
            }
            guard state.receivedBytes + bytes.count <= request.maximumResponseBytes else { return (.tooLarge, nil) }
            state.receivedBytes += bytes.count
            unsafe state.buffer.append(contentsOf: bytes)
            return (.taken, state.wokenReader())
        }
        reader?.resume()
        return reception
    }

    /// Ends the transfer; only the first outcome counts.
    func finish(_ outcome: Result<Void, HTTPClientError>) {
        let reader = state.withLock { state in
            if state.outcome == nil { state.outcome = outcome }
            return state.wokenReader()
        }
        reader?.resume()
    }

    var isPaused: Bool { state.withLock { $0.isPaused } }
}

/// What the reading task does.
extension Transfer {
    /// Waits for status and headers.
    func head() async throws(HTTPClientError) -> (status: Int, headers: HTTPHeaders) {
        await wait(for: .head)
        let (head, outcome) = state.withLock { ($0.head, $0.outcome) }
        if let head { return head }
        try outcome?.get()
        throw .malformedResponse("no status line")
    }

    /// Waits for the end and takes the whole body.
    func body() async throws(HTTPClientError) -> [UInt8] {
        await wait(for: .end)
        let (body, outcome) = state.withLock { state in
            defer { state.buffer = [] }
            return (state.buffer, state.outcome)
        }
        try outcome?.get()
        return body
    }

    /// Waits for bytes and takes all that are there; `nil` at the end. `resume` is true when the transfer was paused and
    /// must be told to go on.
    func nextBytes() async throws(HTTPClientError) -> (bytes: [UInt8], resume: Bool)? {
        await wait(for: .bytes)
        let (bytes, resume, outcome) = state.withLock { state in
            defer {
                state.buffer = []
                state.isPaused = false
            }
            return (state.buffer, state.isPaused, state.outcome)
        }
        if !bytes.isEmpty { return (bytes, resume) }
        try outcome?.get()
        return nil
    }

    private func wait(for event: Event) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                precondition(state.reader == nil, "two tasks read transfer \(id)")
                if state.outcome != nil || state.has(event) { return true }
                state.reader = (event, continuation)
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}

import HTTP2
import Model
import Synchronization

/// One call to a peer, from the caller's wish to its outcome.
///
/// The caller's task holds it, and says on it that it gave up; all else happens on the peer's event loop.
final class OutgoingCall: @unchecked Sendable {
    let path: String
    let context: CallContext
    /// What a lost connection means for this call: `aborted` for a write, whose outcome is then not known.
    let lossCode: ClusterError.Code
    let isStreaming: Bool
    /// Set by the caller's task before the loop hears of it, so that a call that was not yet started never starts.
    let isCancelled = Atomic<Bool>(false)

    // On the event loop.
    /// Let go of once it is sent.
    var message: [UInt8]
    weak var connection: ClientConnection?
    var stream: HTTP2StreamID = 0
    private var assembler: MessageAssembler
    private var messages: [[UInt8]] = []
    private var unconsumedBytes = 0
    private(set) var outcome: Result<Void, ClusterError>?
    private var metrics: CallMetrics?
    private var startedAt = ContinuousClock.now
    private var waiter: CheckedContinuation<Result<[UInt8]?, ClusterError>, Never>?

    init(
        path: String, message: [UInt8], context: CallContext, lossCode: ClusterError.Code = .unavailable, isStreaming: Bool = false,
        maximumMessageBytes: Int
    ) {
        self.path = path
        self.message = message
        self.context = context
        self.lossCode = lossCode
        self.isStreaming = isStreaming
        assembler = MessageAssembler(limit: maximumMessageBytes)
    }

    /// Counts the call from now on until its end, which every call that is started comes to.
    func isCounted(by metrics: CallMetrics) {
        self.metrics = metrics
        startedAt = .now
        metrics.openStreams.add(1)
    }

    /// Waits for the next message (of a unary call, for the only one), or for `nil`, the end.
    func wait(_ continuation: CheckedContinuation<Result<[UInt8]?, ClusterError>, Never>) {
        precondition(waiter == nil, "two readers of one call")
        waiter = continuation
        deliver()
    }

    /// Takes bytes of the reply.
    ///
    /// - Returns: Bytes that the peer may send on top; a streamed reply's whole messages count only once they are read.
    func receive(_ bytes: RawSpan) throws(ClusterError) -> Int {
        try assembler.append(bytes, to: &messages)
        if !isStreaming && messages.count > 1 { throw ClusterError(.internal, "a second message in the reply to \(path)") }
        unconsumedBytes += bytes.byteCount
        deliver()
        return takeConsumed()
    }

    /// What may be given back to the window: all, unless whole messages wait for the reader.
    func takeConsumed() -> Int {
        guard !isStreaming || messages.isEmpty else { return 0 }
        defer { unconsumedBytes = 0 }
        return unconsumedBytes
    }

    func finish(_ result: Result<Void, ClusterError>) {
        guard outcome == nil else { return }
        outcome = result
        if case .failure = result { messages = [] }
        if case .success = result {
            if assembler.isInside {
                outcome = .failure(ClusterError(.internal, "the reply to \(path) ended inside a message"))
            } else if !isStreaming && messages.isEmpty {
                outcome = .failure(ClusterError(.internal, "the reply to \(path) has no message"))
            }
        }
        if let metrics {
            metrics.openStreams.add(-1)
            metrics.ended(path, outcome?.error?.code, since: startedAt)
        }
        deliver()
    }

    private func deliver() {
        guard let waiter, let result = next() else { return }
        self.waiter = nil
        waiter.resume(returning: result)
    }

    private func next() -> Result<[UInt8]?, ClusterError>? {
        if isStreaming, !messages.isEmpty { return .success(messages.removeFirst()) }
        switch outcome {
        case nil: return nil
        case .failure(let error): return .failure(error)
        case .success: return .success(messages.isEmpty ? nil : messages.removeFirst())
        }
    }
}

extension Result {
    fileprivate var error: Failure? { if case .failure(let error) = self { error } else { nil } }
}

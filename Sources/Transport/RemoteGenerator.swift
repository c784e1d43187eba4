import Model
import Synchronization
import Wire

/// A generator node behind a network.
package struct RemoteGenerator: AnswerService {
    private let peer: Peer

    package init(peer: Peer) { self.peer = peer }

    /// Each event is fetched when it is asked for: a reader that is slow or stops holds the generator back, one that
    /// drops the stream cancels it.
    package func answer(_ request: AnswerRequest, context: CallContext) -> AsyncThrowingStream<AnswerEvent, any Error> {
        do {
            let message = try request.encoded(for: context.tenant)
            let reader = ReplyReader(peer: peer, call: peer.streaming("/\(ServiceRoutes.generatorService)/Answer", message, context: context))
            return AsyncThrowingStream { try await reader.next() }
        } catch {
            return AsyncThrowingStream { throw error }
        }
    }
}

/// Reads a streamed reply; letting go of it before the end cancels the call.
private final class ReplyReader: Sendable {
    private let peer: Peer
    private let call: OutgoingCall
    private let hasStarted = Mutex(false)

    init(peer: Peer, call: OutgoingCall) {
        self.peer = peer
        self.call = call
    }

    deinit { peer.cancel(call) }

    func next() async throws(ClusterError) -> AnswerEvent? {
        let isFirst = hasStarted.withLock { hasStarted in
            defer { hasStarted = true }
            return !hasStarted
        }
        guard let bytes = try await peer.next(of: call, isFirst: isFirst) else { return nil }
        do {
            return try AnswerEvent(decoding: bytes)
        } catch {
            throw ClusterError(.internal, "unreadable event of an answer: \(error.message)")
        }
    }
}

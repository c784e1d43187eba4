import Model

/// A generator node behind a network.
package struct RemoteGenerator: AnswerService {
    private let peer: Peer
    package init(peer: Peer) { self.peer = peer }

    package func answer(_ request: AnswerRequest, context: CallContext) -> AsyncThrowingStream<AnswerEvent, any Error> {
        AsyncThrowingStream { throw ClusterError(.unimplemented, "under way") }
    }
}

import Logging
import Model
import NIOCore
import Observability

/// Another node, reached over one connection that many calls share.
///
/// It connects with the first call and, when the connection is lost, again by itself: at once, then after growing
/// pauses. While the node is down calls fail at once with `unavailable`.
package final class Peer: Sendable {
    private let eventLoop: any EventLoop
    private let configuration: PeerConfiguration
    private let core: NIOLoopBoundBox<PeerCore>

    /// - Parameters:
    ///   - host: A name or an address.
    ///   - group: Event loops, owned by the caller; the peer stays on one of them.
    /// - Throws: `invalidArgument` for an impossible configuration.
    package init(
        host: String, port: Int, group: any EventLoopGroup, configuration: PeerConfiguration = PeerConfiguration(), metrics: Metrics = Metrics(),
        logger: Logger
    ) throws(ClusterError) {
        try configuration.validate()
        eventLoop = group.next()
        self.configuration = configuration
        core = .makeBoxSendingValue(
            PeerCore(
                host: host, port: port, configuration: configuration, eventLoop: eventLoop,
                metrics: CallMetrics(.client(peer: "\(host):\(port)"), metrics: metrics),
                tlsMetrics: configuration.tls.map { _ in TLSMetrics(side: "peer", metrics: metrics) }, logger: logger), eventLoop: eventLoop)
    }

    /// Fails what is under way, closes the connection and takes no more calls.
    package func close() async {
        await withCheckedContinuation { continuation in
            eventLoop.execute { [core] in core.value.close(continuation) }
        }
    }

    /// Makes a call that is answered by one message.
    ///
    /// - Parameter lossCode: What the loss of the connection means after the request was sent.
    /// - Throws: what the peer answers; `unavailable`, `deadlineExceeded`, `cancelled`, `resourceExhausted` from here.
    func unary(
        _ path: String, _ message: [UInt8], context: CallContext, lossCode: ClusterError.Code = .unavailable
    ) async throws(ClusterError) -> [UInt8] {
        let call = OutgoingCall(
            path: path, message: message, context: context, lossCode: lossCode, maximumMessageBytes: configuration.maximumMessageBytes)
        let reply = try await next(of: call, isFirst: true)
        return reply ?? []  // a unary call that succeeds has a message
    }

    /// Makes a call that is answered by a stream of messages, each asked for with ``next(of:isFirst:)``.
    func streaming(_ path: String, _ message: [UInt8], context: CallContext) -> OutgoingCall {
        OutgoingCall(path: path, message: message, context: context, isStreaming: true, maximumMessageBytes: configuration.maximumMessageBytes)
    }

    /// Waits for the next message; `nil` is the end. The first wait starts the call.
    func next(of call: OutgoingCall, isFirst: Bool) async throws(ClusterError) -> [UInt8]? {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                eventLoop.execute { [core] in
                    if isFirst { core.value.start(call) }
                    core.value.wait(for: call, continuation)
                }
            }
        } onCancel: {
            cancel(call)
        }
        return try result.get()
    }

    func cancel(_ call: OutgoingCall) {
        call.isCancelled.store(true, ordering: .relaxed)
        eventLoop.execute { [core] in core.value.cancel(call) }
    }
}

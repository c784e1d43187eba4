import HummingbirdCore
import Logging
import NIOCore
import Synchronization

/// HTTP/1.1 connections that may be accepted while the server stops.
///
/// SwiftNIO lets go of a connection whose setup ends after the listener was closed, and traps when an async channel is let go of
/// that was never run. One client that connects at that moment would take down the process and every answer that is still being
/// drained. So a connection that nobody handles runs once, for nothing, which closes it.
struct AcceptedChannel: ServerChildChannel {
    let http1: HTTP1Channel

    final class Value: ServerChildChannelValue {
        fileprivate let asyncChannel: HTTP1Channel.Value
        fileprivate let isHandled = Atomic(false)
        var channel: any Channel { asyncChannel.channel }

        fileprivate init(_ asyncChannel: HTTP1Channel.Value) { self.asyncChannel = asyncChannel }

        deinit {
            guard !isHandled.load(ordering: .relaxed) else { return }
            // Ends once the channel is closed, at once; nobody is left to wait for it.
            Task { [asyncChannel] in try? await asyncChannel.executeThenClose { _, _ in } }
        }
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        http1.setup(channel: channel, logger: logger).map { Value($0) }
    }

    func handle(value: Value, logger: Logger) async {
        value.isHandled.store(true, ordering: .relaxed)
        await http1.handle(value: value.asyncChannel, logger: logger)
    }
}

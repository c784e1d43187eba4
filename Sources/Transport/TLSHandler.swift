import Model
import NIOCore
import TLS

/// TLS in a channel: a ``TLSSession`` between the socket's bytes and the handlers behind it.
///
/// It keeps no ciphertext and no plaintext longer than a turn of the loop, except what waits for a handshake's end or a flush. When the
/// handshake is complete the handlers behind it get a ``TLSNegotiation`` as a user event, before the first byte. Truncation is an end.
package final class TLSHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private enum Phase { case waiting, handshaking, open, over }

    /// Time for a handshake: of its two or three messages each way all may be lost once.
    package static let patience: Duration = .seconds(10)
    /// Time for a peer to read why it was refused, before its connection is cut.
    private static let lingering: TimeAmount = .seconds(1)

    private var session: TLSSession
    private var phase = Phase.waiting
    private var onHandshake: ((Result<TLSNegotiation, TLSFailure>) -> Void)?
    private let patience: Duration
    private var timeout: Scheduled<Void>?
    /// Plaintext until the next flush, and who waits for it to be written.
    private var pending: ByteBuffer?
    private var pendingPromise: EventLoopPromise<Void>?

    /// - Parameter onHandshake: Called once on the event loop, before the handlers behind hear of it.
    package init(
        _ session: consuming TLSSession, patience: Duration = TLSHandler.patience, onHandshake: @escaping (Result<TLSNegotiation, TLSFailure>) -> Void
    ) {
        self.session = session
        self.patience = patience
        self.onHandshake = onHandshake
    }

    // MARK: Life

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard phase == .waiting else { return }
        phase = .handshaking
        timeout = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(patience)) {
            self.fail(TLSFailure(.timedOut, "the handshake took longer than \(self.patience)"), context)
        }
        advance(context)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        ended(context)
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        timeout?.cancel()
        dropPending()
        finishHandshake(.failure(TLSFailure(.closed, "the connection was closed during the handshake")))
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Where half-closed sockets are allowed: without the other half there is no way to tell the end of the data from an attacker's cut.
        if case .inputClosed? = event as? ChannelEvent {
            ended(context)
            return context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finishHandshake(.failure(TLSFailure(.closed, "the connection broke during the handshake: \(error)")))
        context.fireErrorCaught(error)
    }

    private func ended(_ context: ChannelHandlerContext) {
        phase = .over
        timeout?.cancel()
        let failure =
            switch (session.isServer, session.hasReceived) {
            case (true, false): TLSFailure(.silent, "the client closed the connection without a word")
            case (true, true): TLSFailure(.closed, "the client closed the connection during the handshake")
            case (false, _): TLSFailure(.closed, "the peer closed the connection during the handshake; does it expect TLS?")
            }
        finishHandshake(.failure(failure))
    }

    // MARK: From the peer

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .handshaking || phase == .open else { return }
        let bytes = unwrapInboundIn(data)
        do throws(TLSFailure) {
            try session.receive(bytes.readableBytesSpan)
        } catch { return fail(error, context) }
        if phase == .handshaking { advance(context) }
        if phase == .open { decrypt(context) }
    }

    private func advance(_ context: ChannelHandlerContext) {
        do throws(TLSFailure) {
            let negotiation = try session.handshake()
            send(context, promise: nil)
            guard let negotiation else { return }
            phase = .open
            timeout?.cancel()
            finishHandshake(.success(negotiation))
            context.fireUserInboundEventTriggered(negotiation)
            if pending != nil { flush(context: context) }
        } catch { fail(error, context) }
    }

    private func decrypt(_ context: ChannelHandlerContext) {
        do throws(TLSFailure) {
            // Handlers behind may close the channel while they are handed bytes.
            while phase == .open {
                var buffer = context.channel.allocator.buffer(capacity: TLSSession.recordBytes)
                guard let count = try read(into: &buffer) else { return close(context: context, mode: .all, promise: nil) }
                guard count > 0 else { break }
                context.fireChannelRead(wrapInboundOut(buffer))
            }
        } catch { return fail(error, context) }
        send(context, promise: nil)  // an answer to a change of keys, if there is one
    }

    /// As many records as fit, so that a large message comes in few pieces; `nil` at the end of the peer's side, when nothing was read before it.
    private func read(into buffer: inout ByteBuffer) throws(TLSFailure) -> Int? {
        while true {
            let result: Result<Int?, TLSFailure> = unsafe withRoom(in: &buffer) { room in
                do throws(TLSFailure) { return .success(unsafe try session.read(into: room)) } catch { return .failure(error) }
            }
            guard let count = try result.get() else { return buffer.readableBytes > 0 ? buffer.readableBytes : nil }
            if count == 0 || buffer.readableBytes >= Self.batchBytes { return buffer.readableBytes }
        }
    }

    private static let batchBytes = 48 << 10

    private func withRoom(
        in buffer: inout ByteBuffer, _ body: (UnsafeMutableRawBufferPointer) -> Result<Int?, TLSFailure>
    ) -> Result<Int?, TLSFailure> {
        var result: Result<Int?, TLSFailure> = .success(0)
        unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: TLSSession.recordBytes) { room in
            unsafe result = body(room)
            guard case .success(let count?) = result else { return 0 }
            return count
        }
        return result
    }

    // MARK: To the peer

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard phase != .over else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        var bytes = unwrapOutboundIn(data)
        if pending == nil { pending = bytes } else { pending!.writeBuffer(&bytes) }
        guard let promise else { return }
        if let pendingPromise { pendingPromise.futureResult.cascade(to: promise) } else { pendingPromise = promise }
    }

    package func flush(context: ChannelHandlerContext) {
        guard phase == .open, let bytes = pending else { return context.flush() }
        pending = nil
        let promise = pendingPromise
        pendingPromise = nil
        do throws(TLSFailure) {
            try session.write(bytes.readableBytesSpan)
            send(context, promise: promise)
        } catch {
            promise?.fail(error)
            fail(error, context)
        }
    }

    /// Writes what the session has for the peer, and flushes.
    private func send(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        var buffer: ByteBuffer?
        session.send { bytes in
            buffer = context.channel.allocator.buffer(capacity: bytes.byteCount)
            buffer!.writeBytes(bytes)
        }
        guard let buffer else {
            promise?.succeed()
            return
        }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if phase == .open, mode != .input {
            flush(context: context)
            session.end()
            send(context, promise: nil)
        }
        if mode == .all { phase = .over }
        context.close(mode: mode, promise: promise)
    }

    // MARK: Ends

    private func finishHandshake(_ result: Result<TLSNegotiation, TLSFailure>) {
        onHandshake?(result)
        onHandshake = nil
    }

    /// Tells the peer why, if there is a word for it, and closes once it has had time to read that: a socket that is closed with unread
    /// bytes in it takes back what it has sent.
    private func fail(_ failure: TLSFailure, _ context: ChannelHandlerContext) {
        guard phase != .over else { return }
        let wasOpen = phase == .open
        phase = .over
        timeout?.cancel()
        dropPending()
        send(context, promise: nil)
        if wasOpen { context.fireErrorCaught(failure) } else { finishHandshake(.failure(failure)) }
        guard context.channel.isActive, failure.reason != .plaintext, failure.reason != .timedOut else { return context.close(promise: nil) }
        let channel = context.channel
        context.close(mode: .output, promise: nil)
        context.eventLoop.scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
    }

    private func dropPending() {
        pending = nil
        pendingPromise?.fail(ChannelError.ioOnClosedChannel)
        pendingPromise = nil
    }
}

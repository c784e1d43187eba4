import Foundation
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import Observability
import Synchronization
import TLS
import Transport

/// What a client of the public port speaks.
enum EdgeProtocol: Sendable { case http1, http2 }

/// A connection of the public port: in TLS if there is a certificate, then in HTTP/2 or HTTP/1.1, as the client says by ALPN, or in plaintext by
/// its first bytes.
///
/// Its pipeline behind that decision is built when it is handled. One that nobody handles, because the server stopped as it was accepted, has
/// nothing that must be run, and is closed.
struct EdgeChannel: ServerChildChannel {
    let http1: HTTP1Channel
    let http2: HTTP2Edge
    let tls: TLSIdentity?
    let tlsMetrics: TLSMetrics
    let places: ConnectionPlaces
    let addresses: AddressLimits
    let proxies: TrustedProxies
    /// Connections of addresses that have as many as they may.
    let refusals: Counter
    /// Connections that were closed for others.
    let evictions: Counter
    let configuration: GatewayConfiguration

    final class Value: ServerChildChannelValue {
        let channel: any Channel
        fileprivate let place: ConnectionPlaces.Place
        fileprivate let negotiation: NIOLoopBound<NegotiationHandler>
        fileprivate let negotiated: EventLoopFuture<EdgeProtocol>
        private let isHandled = Atomic(false)

        fileprivate init(_ channel: any Channel, _ place: ConnectionPlaces.Place, _ negotiation: NegotiationHandler) {
            self.channel = channel
            self.place = place
            self.negotiation = NIOLoopBound(negotiation, eventLoop: channel.eventLoop)
            negotiated = negotiation.negotiated.futureResult
        }

        fileprivate func begin() { isHandled.store(true, ordering: .relaxed) }

        deinit {
            if !isHandled.load(ordering: .relaxed) { channel.close(promise: nil) }
        }
    }

    /// Refuses a connection before a byte of it is read or answered.
    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            // The server does not close what is not set up.
            do { return try begin(channel, logger) } catch {
                channel.close(promise: nil)
                throw error
            }
        }
    }

    private func begin(_ channel: any Channel, _ logger: Logger) throws -> Value {
        guard let peer = IPAddress(channel.remoteAddress) else { throw ChannelError.ioOnClosedChannel }  // it has left already
        try admit(peer, channel, logger)
        guard let (place, hasEvicted) = places.enter({ channel.close(promise: nil) }) else { throw ChannelError.operationUnsupported }
        channel.closeFuture.whenComplete { [places] _ in places.leave(place) }
        if hasEvicted { evictions.add() }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(StalledWriteHandler(http2.configuration, logger: logger))
        // Clients beyond control fail in every way: what they do is no warning.
        if let tls { try pipeline.addHandler(TLSHandler.server(tls, channel, metrics: tlsMetrics, logger: logger, level: .info)) }
        let negotiation = NegotiationHandler(isSecure: tls != nil, patience: configuration.arrivalTimeout, eventLoop: channel.eventLoop, logger: logger)
        try pipeline.addHandler(negotiation)
        return Value(channel, place, negotiation)
    }

    /// Proxies carry the connections of many, and are trusted.
    private func admit(_ peer: IPAddress, _ channel: any Channel, _ logger: Logger) throws {
        guard !proxies.contains(peer) else { return }
        switch addresses.enter(peer) {
        case .admitted: channel.closeFuture.whenComplete { [addresses] _ in addresses.leave(peer) }
        case .refused(let isFirst):
            refusals.add()
            if isFirst {
                logger.notice(
                    "refusing connections of an address that has as many as it may", metadata: ["peer": "\(peer)", "limit": "\(configuration.maximumConnectionsPerAddress)"])
            }
            // Gone at once: a refused connection leaves nothing behind, not even in the system's tables.
            _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
            throw ChannelError.operationUnsupported
        }
    }

    func handle(value: Value, logger: Logger) async {
        value.begin()
        let (channel, place, negotiation) = (value.channel, value.place, value.negotiation)
        await withTaskCancellationHandler {
            do {
                switch try await value.negotiated.get() {
                case .http1:
                    let connection = try await channel.eventLoop.flatSubmit {
                        http1.setup(channel: channel, logger: logger).flatMapThrowing { connection in
                            let pipeline = channel.pipeline.syncOperations
                            let arrival = RequestArrivalHandler(place, http2.replies, configuration, logger: logger)
                            try pipeline.addHandler(arrival, position: .after(pipeline.handler(type: QuiescenceHandler.self)))
                            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
                            try pipeline.addHandler(PersistenceHandler(), position: .after(decoder))
                            negotiation.value.release()
                            return connection
                        }
                    }.get()
                    await http1.handle(value: connection, logger: logger)
                case .http2:
                    let ended = try await channel.eventLoop.submit {
                        let ended = try http2.begin(on: channel, at: place)
                        negotiation.value.release()
                        return ended
                    }.get()
                    try await ended.get()
                }
            } catch {
                logger.trace("connection ended before its first request", metadata: ["reason": "\(error)"])
                channel.close(promise: nil)
            }
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}

import Logging
import Model
import NIOCore
import Synchronization

/// What the connections of one server have in common.
final class ServerShared: Sendable {
    let configuration: NodeServerConfiguration
    let routes: ServiceRoutes
    let operations: OperationsPages
    let metrics: CallMetrics
    /// With TLS.
    let tlsMetrics: TLSMetrics?
    let logger: Logger
    private let places: ConnectionPlaces
    private let bufferedBytes = Atomic<Int>(0)
    private struct State {
        var connections: [ObjectIdentifier: NIOLoopBound<ServerConnection>] = [:]
        var isStopping = false
        /// Fulfilled when the last connection is closed.
        var whenEmpty: [EventLoopPromise<Void>] = []
    }
    private let state = Mutex(State())

    init(configuration: NodeServerConfiguration, routes: ServiceRoutes, operations: OperationsPages, metrics: CallMetrics, tlsMetrics: TLSMetrics?, logger: Logger) {
        self.configuration = configuration
        self.routes = routes
        self.operations = operations
        self.metrics = metrics
        self.tlsMetrics = tlsMetrics
        self.logger = logger
        places = ConnectionPlaces(limit: configuration.maximumConnections)
    }

    // MARK: Memory

    /// Counts bytes of a request that is arriving.
    ///
    /// - Throws: `resourceExhausted` if all connections together would hold too many; then nothing was counted.
    func reserve(_ byteCount: Int) throws(ClusterError) {
        let (_, total) = bufferedBytes.add(byteCount, ordering: .relaxed)
        guard total > configuration.maximumBufferedBytes else { return }
        release(byteCount)
        throw ClusterError(
            .resourceExhausted, "requests of \(total) bytes are arriving, maximumBufferedBytes is \(configuration.maximumBufferedBytes)")
    }

    func release(_ byteCount: Int) {
        if byteCount > 0 { bufferedBytes.subtract(byteCount, ordering: .relaxed) }
    }

    // MARK: Connections

    /// Takes a connection in; if places are short, one that has not said what it speaks makes room.
    ///
    /// - Throws: `resourceExhausted` or `unavailable`: the connection is to be closed at once.
    func connectionOpened(_ connection: NIOLoopBound<ServerConnection>, _ id: ObjectIdentifier) throws(ClusterError) {
        guard let (place, _) = places.enter({ connection.eventLoop.execute { connection.value.abort() } }) else {
            throw ClusterError(.resourceExhausted, "maximumConnections is \(configuration.maximumConnections)")
        }
        connection.value.place = place
        try state.withLock { state throws(ClusterError) in
            guard !state.isStopping else {
                places.leave(place)
                throw ClusterError(.unavailable, "the node is stopping")
            }
            state.connections[id] = connection
        }
    }

    func connectionClosed(_ connection: ServerConnection) {
        if let place = connection.place { places.leave(place) }
        connection.place = nil
        let waiting = state.withLock { state in
            state.connections[ObjectIdentifier(connection)] = nil
            guard state.connections.isEmpty else { return [EventLoopPromise<Void>]() }
            defer { state.whenEmpty = [] }
            return state.whenEmpty
        }
        for promise in waiting { promise.succeed() }
    }

    /// Lets no more connections in and calls `stop` on those that are open; `whenEmpty` is fulfilled once all are closed.
    func forEachConnection(whenEmpty: EventLoopPromise<Void>?, _ stop: @escaping @Sendable (ServerConnection) -> Void) {
        let connections = state.withLock { state in
            state.isStopping = true
            if let whenEmpty { state.whenEmpty.append(whenEmpty) }
            return Array(state.connections.values)
        }
        if connections.isEmpty { whenEmpty?.succeed() }
        for connection in connections { connection.eventLoop.execute { stop(connection.value) } }
    }
}

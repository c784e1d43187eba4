import Glibc
import Logging
import Model
import NIOCore
import NIOPosix
import TLS

/// What ``Peer`` does on its event loop.
final class PeerCore {
    private let host: String
    private let port: Int
    private let configuration: PeerConfiguration
    private let eventLoop: any EventLoop
    private let metrics: CallMetrics
    private let tlsMetrics: TLSMetrics?
    private let resumption = TLSResumption()
    private let logger: Logger
    private var state: PeerState
    private var connection: ClientConnection?
    /// Calls until the connection stands, in order.
    private var waiting: [OutgoingCall] = []
    private var calls: [ObjectIdentifier: OutgoingCall] = [:]
    private var pause: Scheduled<Void>?
    private lazy var deadlines = DeadlineTimer(eventLoop: eventLoop) { [weak self] in self?.expire($0) }

    init(host: String, port: Int, configuration: PeerConfiguration, eventLoop: any EventLoop, metrics: CallMetrics, tlsMetrics: TLSMetrics?, logger: Logger) {
        self.host = host
        self.port = port
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.metrics = metrics
        self.tlsMetrics = tlsMetrics
        self.logger = logger
        state = PeerState(initialBackOff: configuration.initialBackOff, maximumBackOff: configuration.maximumBackOff)
    }

    private var address: String { "\(host):\(port)" }

    // MARK: Calls

    func start(_ call: OutgoingCall) {
        call.isCounted(by: metrics)
        if call.isCancelled.load(ordering: .relaxed) { return call.finish(.failure(ClusterError(.cancelled, "the caller went away"))) }
        if let deadline = call.context.deadline {
            if deadline <= .now { return call.finish(.failure(ClusterError(.deadlineExceeded, "the deadline passed before the call to \(address)"))) }
            deadlines.watch(deadline)
        }
        guard calls.count < configuration.maximumCalls else {
            let message = "\(calls.count) calls to \(address) are under way, maximumCalls is \(configuration.maximumCalls)"
            return call.finish(.failure(ClusterError(.resourceExhausted, message)))
        }
        let action = state.callArrives()
        if action == .fail { return call.finish(.failure(downError)) }
        calls[ObjectIdentifier(call)] = call
        switch action {
        case .send: connection!.send(call)
        case .wait: waiting.append(call)
        case .connect:
            waiting.append(call)
            connect()
        case .fail: break
        }
    }

    func cancel(_ call: OutgoingCall) { end(call, ClusterError(.cancelled, "the caller went away")) }

    func wait(for call: OutgoingCall, _ continuation: CheckedContinuation<Result<[UInt8]?, ClusterError>, Never>) {
        call.wait(continuation)
        call.connection?.consumed(call.takeConsumed(), of: call)
    }

    private func end(_ call: OutgoingCall, _ error: ClusterError) {
        guard calls[ObjectIdentifier(call)] != nil else { return }
        if let connection = call.connection { return connection.cancel(call, error) }
        waiting.removeAll { $0 === call }
        calls[ObjectIdentifier(call)] = nil
        call.finish(.failure(error))
    }

    private func expire(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        var next: ContinuousClock.Instant?
        for call in Array(calls.values) {
            guard let deadline = call.context.deadline else { continue }
            if deadline > now {
                next = min(next ?? deadline, deadline)
            } else {
                let whereabouts = call.connection == nil ? "while connecting to" : "waiting for"
                end(call, ClusterError(.deadlineExceeded, "the deadline passed \(whereabouts) \(address)"))
            }
        }
        return next
    }

    private var downError: ClusterError {
        if state.phase == .closed { return ClusterError(.unavailable, "the connection to \(address) was closed here") }
        return ClusterError(.unavailable, "\(address) is down: \(state.lastError?.message ?? "no connection")")
    }

    // MARK: Connection

    private func connect() {
        let connection = ClientConnection(
            authority: address, configuration: configuration, metrics: metrics, logger: logger,
            onRetire: { [weak self] in self?.retired($0, $1) },
            onFinish: { [weak self] in self?.calls[ObjectIdentifier($0)] = nil })
        ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: .init(configuration.unacknowledgedLimit / .milliseconds(1)))
            .channelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
            .connect(host: host, port: port)
            .assumeIsolated()
            .flatMap { self.prepare($0, connection) }
            .whenComplete { result in
                switch result {
                case .success(let channel): self.connected(connection, channel)
                case .failure(let error): self.connectFailed(error)
                }
            }
    }

    /// Builds the pipeline of a channel that is open, before it is read from: TLS if it is configured, then HTTP/2.
    private func prepare(_ channel: any Channel, _ connection: ClientConnection) -> EventLoopFuture<any Channel> {
        let ready = eventLoop.makePromise(of: (any Channel).self)
        let pipeline = channel.pipeline.syncOperations
        func addHTTP2() {
            do {
                try pipeline.addHandler(connection.makeHandler())
                ready.succeed(channel)
            } catch {
                connection.closed(ClusterError(.unavailable, "the connection was closed as it opened"))  // the two hold each other until then
                ready.fail(error)
            }
        }
        guard let tls = configuration.tls else {
            addHTTP2()
            return ready.futureResult
        }
        do {
            let session = try TLSSession(tls.identity.context(.client), expecting: tls.name, resumption: resumption)
            let handler = TLSHandler(session, patience: configuration.keepAliveInterval) { [tlsMetrics] result in
                tlsMetrics?.ended(result)
                switch result {
                case .success: addHTTP2()
                case .failure(let failure): ready.fail(failure)
                }
            }
            try pipeline.addHandler(handler)
        } catch {
            ready.fail(error)
            channel.close(promise: nil)
        }
        return ready.futureResult
    }

    private func connected(_ connection: ClientConnection, _ channel: any Channel) {
        guard connection.isOpen else { return connectFailed(ClusterError(.unavailable, "the connection was closed as it opened")) }
        state.connected()
        guard state.phase == .connected else { return channel.close(promise: nil) }
        logger.debug("connected", metadata: ["peer": "\(address)"])
        self.connection = connection
        let calls = waiting
        waiting = []
        for call in calls { connection.send(call) }
    }

    private func connectFailed(_ error: any Error) {
        let error = ClusterError(.unavailable, "cannot connect to \(address): \(describe(error))")
        let action = state.connectFailed(error, chance: .random(in: 0..<1))
        if state.failures == 1 { logger.warning("a peer is down", metadata: ["peer": "\(address)", "reason": "\(error.message)"]) }
        act(action)
    }

    private func retired(_ connection: ClientConnection, _ reason: ClusterError) {
        guard self.connection === connection else { return }
        self.connection = nil
        logger.info("lost the connection to a peer", metadata: ["peer": "\(address)", "reason": "\(reason.message)"])
        act(state.connectionLost(reason, age: connection.openedAt.duration(to: .now), chance: .random(in: 0..<1)))
    }

    private func act(_ action: PeerState.LossAction) {
        switch action {
        case .connect: connect()
        case .pause(let duration):
            for call in waiting { end(call, downError) }
            pause = eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(duration)) { self.act(self.state.pauseEnded()) }
        case .nothing: break
        }
    }

    func close(_ continuation: CheckedContinuation<Void, Never>) {
        state.close()
        pause?.cancel()
        deadlines.stop()
        for call in waiting { end(call, downError) }
        guard let connection else { return continuation.resume() }
        connection.close(continuation)
    }
}

/// NIO's connection errors in few words: one line for all addresses tried.
private func describe(_ error: any Error) -> String {
    guard let error = error as? NIOConnectionError else { return "\(error)" }
    if let failed = error.connectionErrors.first { return "\(failed.error)" }
    return "no such host"
}

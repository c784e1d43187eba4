import Model
import Synchronization
import Wire

/// The standard health service: whether a node takes requests, asked once or watched.
final class HealthService: Sendable {
    private typealias Status = Grpc_Health_V1_HealthCheckResponse.ServingStatus
    private struct State {
        var isServing = true
        var watchers: [Int: AsyncStream<Bool>.Continuation] = [:]
        var nextWatcher = 0
    }

    private let services: Set<String>
    private let state = Mutex(State())

    /// - Parameter services: Full names; the empty name stands for the node as a whole.
    init(services: [String]) { self.services = Set(services + ["", "grpc.health.v1.Health"]) }

    /// Says to whoever asks or watches that the node takes no more requests, and ends the watches.
    func stopServing() {
        let watchers = state.withLock { state in
            state.isServing = false
            defer { state.watchers = [:] }
            return state.watchers.values
        }
        for watcher in watchers {
            watcher.yield(false)
            watcher.finish()
        }
    }

    var isServing: Bool { state.withLock { $0.isServing } }

    func check(_ bytes: [UInt8]) throws(ClusterError) -> [UInt8] {
        let service = try Grpc_Health_V1_HealthCheckRequest(decoding: bytes).service
        guard services.contains(service) else { throw ClusterError(.notFound, "this node does not serve \"\(service)\"") }
        return try reply(isServing ? .serving : .notServing)
    }

    /// Writes the status now and whenever it changes, until the reader leaves or the node stops.
    func watch(_ bytes: [UInt8], _ writer: ReplyWriter) async throws(ClusterError) {
        let service = try Grpc_Health_V1_HealthCheckRequest(decoding: bytes).service
        let isKnown = services.contains(service)
        for await isServing in changes() {
            try await writer.write(reply(!isKnown ? .serviceUnknown : isServing ? .serving : .notServing))
        }
        throw ClusterError(.unavailable, "the node is stopping")
    }

    /// The state now, then each change. Only the newest waits for a slow reader.
    private func changes() -> AsyncStream<Bool> {
        let (stream, continuation) = AsyncStream.makeStream(of: Bool.self, bufferingPolicy: .bufferingNewest(1))
        let watcher = state.withLock { state -> Int? in
            continuation.yield(state.isServing)
            guard state.isServing else { return nil }
            state.nextWatcher += 1
            state.watchers[state.nextWatcher] = continuation
            return state.nextWatcher
        }
        guard let watcher else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in _ = self?.state.withLock { $0.watchers.removeValue(forKey: watcher) } }
        return stream
    }

    private func reply(_ status: Status) throws(ClusterError) -> [UInt8] {
        var message = Grpc_Health_V1_HealthCheckResponse()
        message.status = status
        return try message.encoded()
    }
}

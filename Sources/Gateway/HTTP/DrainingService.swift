import Logging
import Model
import ServiceLifecycle
import Transport

/// Bounds how long a graceful shutdown of the server may take: answers still under way then are cut off.
struct DrainingService<Server: Service>: Service {
    let service: Server
    let timeout: Duration
    let readiness: Readiness
    let logger: Logger

    func run() async throws {
        let (expired, expire) = AsyncStream<Void>.makeStream()
        try await withGracefulShutdownHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: LoopExecutor.shared) { try await service.run() }
                group.addTask {
                    for await _ in expired {
                        try await Task.sleep(for: timeout)
                        logger.warning("requests did not finish in time and are cut off", metadata: ["drainTimeout": "\(timeout)"])
                        return
                    }
                    // Without a shutdown this task waits for the server's end.
                    try await Task.sleep(for: .seconds(Int64.max / 4))
                }
                defer { group.cancelAll() }
                do { try await group.next() } catch is CancellationError {}
            }
        } onGracefulShutdown: {
            readiness.drain()
            expire.yield()
        }
    }
}

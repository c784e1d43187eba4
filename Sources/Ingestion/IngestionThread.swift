import Foundation

/// Threads on which documents are read and cut: as many as cores, so that a long file does not hold up the pool that serves requests.
private let threads: OperationQueue = {
    let queue = OperationQueue()
    queue.name = "ingestion"
    queue.maxConcurrentOperationCount = max(1, ProcessInfo.processInfo.activeProcessorCount)
    return queue
}()

/// Runs `work`, which computes for long and waits for nothing, on a thread of its own kind.
func onIngestionThread<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try Task.checkCancellation()
    return try await withCheckedThrowingContinuation { continuation in
        threads.addOperation { continuation.resume(with: Swift.Result(catching: work)) }
    }
}

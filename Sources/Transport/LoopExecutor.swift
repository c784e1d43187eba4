import Model
import NIOCore
import NIOPosix

/// Runs the tasks of calls on event loops: what a loop received is worked on there, and no other thread has to be woken.
///
/// Such tasks must not block, nor compute for long: worker threads do that, and ``awayFromLoops(_:)`` what is long only at times. A task that goes on after something
/// else than a loop did its part goes to the next loop.
package final class LoopExecutor: TaskExecutor {
    package static let shared = LoopExecutor(.singleton)

    private let group: MultiThreadedEventLoopGroup

    private init(_ group: MultiThreadedEventLoopGroup) { self.group = group }

    /// Bytes of JSON or protobuf that are read or written on a loop at most: at the rate of `loadtest/json` a seventh of a millisecond.
    package static let mostBytes = 128 << 10

    /// Whether a loop may encode points: so many that payloads are few, and their vectors are about so many bytes.
    package static func mayEncode(_ count: Int, of point: StoredPoint?) -> Bool { count <= 50 && count * (point?.vector.count ?? 0) <= mostBytes / 8 }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let loop = MultiThreadedEventLoopGroup.currentEventLoop ?? group.next()
        unsafe loop.execute { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// Runs what computes for long on Swift's own threads, wherever the caller runs.
package func awayFromLoops<Value: Sendable, Failure>(_ body: @Sendable () async throws(Failure) -> Value) async throws(Failure) -> Value {
    try await withTaskExecutorPreference(globalConcurrentExecutor, operation: body)
}

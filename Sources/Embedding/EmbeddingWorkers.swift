import Foundation
import Model
import Synchronization

/// Worker threads for embedding, and the bounded queue in front of them.
///
/// Calls are served in turn, a job each: a question waits for at most one job a worker, however many texts an upload has
/// waiting.
final class EmbeddingWorkers: Sendable {
    /// Texts of one job, about one pass of the encoder.
    static let jobBytes = 1_024

    /// One call of `embed`, until all its jobs are done.
    final class Call: Sendable {
        private struct State {
            var vectors: [[Float]]
            var remainingJobs: Int
            var continuation: CheckedContinuation<Result<[[Float]], ClusterError>, Never>?
            var result: Result<[[Float]], ClusterError>?
        }
        let texts: [String]
        let jobs: [Range<Int>]
        let bytes: Int
        private let state: Mutex<State>

        init(texts: [String]) {
            self.texts = texts
            jobs = Self.cut(texts)
            bytes = texts.reduce(0) { $0 + $1.utf8.count }
            state = Mutex(State(vectors: Array(repeating: [], count: texts.count), remainingJobs: jobs.count))
        }

        /// Neighbours together until they fill a pass.
        private static func cut(_ texts: [String]) -> [Range<Int>] {
            var jobs: [Range<Int>] = []
            var first = 0
            var bytes = 0
            for (index, text) in texts.enumerated() {
                let size = min(text.utf8.count, jobBytes) + 8  // special tokens cost too
                if index > first, bytes + size > jobBytes {
                    jobs.append(first..<index)
                    first = index
                    bytes = 0
                }
                bytes += size
            }
            if first < texts.count { jobs.append(first..<texts.count) }
            return jobs
        }

        var isOver: Bool { state.withLock { $0.result != nil } }

        func complete(_ job: Range<Int>, _ vectors: [[Float]]) {
            let finished = state.withLock { state -> [[Float]]? in
                guard state.result == nil else { return nil }  // cancelled meanwhile
                state.vectors.replaceSubrange(job, with: vectors)
                state.remainingJobs -= 1
                return state.remainingJobs == 0 ? state.vectors : nil
            }
            if let finished { finish(.success(finished)) }
        }

        /// Only the first result counts.
        func finish(_ result: Result<[[Float]], ClusterError>) {
            let continuation = state.withLock { state in
                guard state.result == nil else { return nil as CheckedContinuation<Result<[[Float]], ClusterError>, Never>? }
                state.result = result
                state.vectors = []
                defer { state.continuation = nil }
                return state.continuation
            }
            continuation?.resume(returning: result)
        }

        func result() async -> Result<[[Float]], ClusterError> {
            await withCheckedContinuation { continuation in
                let result = state.withLock { state in
                    if state.result == nil { state.continuation = continuation }
                    return state.result
                }
                if let result { continuation.resume(returning: result) }
            }
        }
    }

    private struct Queue {
        /// Whose turn it is stands first.
        var calls: [(call: Call, nextJob: Int)] = []
        var bytes = 0
        var isStopping = false
    }

    private let maximumQueuedBytes: Int
    private let queue = Mutex(Queue())
    /// Counts the jobs in the queue, and one more for each worker when stopping.
    private let available = DispatchSemaphore(value: 0)
    private let count: Int

    /// - Parameter work: Made once on each thread; embeds the texts of one job.
    init(count: Int, maximumQueuedBytes: Int, work: @escaping @Sendable () -> ([String]) -> [[Float]]) {
        self.count = count
        self.maximumQueuedBytes = maximumQueuedBytes
        for index in 0..<count {
            let thread = Thread { [self] in run(work()) }
            thread.name = "embedding-\(index)"
            thread.start()
        }
    }

    /// Ends the threads after their current job; waiting calls fail.
    func stop() {
        let calls = queue.withLock { queue in
            queue.isStopping = true
            defer { queue.calls = [] }
            return queue.calls
        }
        for (call, _) in calls { call.finish(.failure(ClusterError(.unavailable, "the embedder was stopped"))) }
        for _ in 0..<count { available.signal() }
    }

    func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] {
        guard !texts.isEmpty else { return [] }
        let call = Call(texts: texts)
        try enqueue(call)
        let result = await withTaskCancellationHandler {
            await call.result()
        } onCancel: {
            call.finish(.failure(ClusterError(.cancelled, "embedding of \(texts.count) texts was cancelled")))
        }
        return try result.get()
    }

    private func enqueue(_ call: Call) throws(ClusterError) {
        let refusal = queue.withLock { queue -> ClusterError? in
            guard !queue.isStopping else { return ClusterError(.unavailable, "the embedder was stopped") }
            // A single call may be of any size when nothing waits: its texts are in memory already.
            guard queue.calls.isEmpty || queue.bytes + call.bytes <= maximumQueuedBytes else {
                return ClusterError(
                    .resourceExhausted,
                    "\(call.bytes) bytes of text to embed beside \(queue.bytes) waiting, the limit is \(maximumQueuedBytes)")
            }
            queue.calls.append((call, 0))
            queue.bytes += call.bytes
            return nil
        }
        if let refusal { throw refusal }
        for _ in call.jobs { available.signal() }
    }

    private func run(_ embed: ([String]) -> [[Float]]) {
        while let (call, job) = next() {
            guard !call.isOver else { continue }
            call.complete(job, embed(Array(call.texts[job])))
        }
    }

    /// The next job of the call whose turn it is; waits for one. `nil` when stopping.
    private func next() -> (Call, Range<Int>)? {
        available.wait()
        return queue.withLock { queue in
            guard !queue.isStopping, !queue.calls.isEmpty else { return nil }
            let (call, nextJob) = queue.calls.removeFirst()
            if nextJob + 1 < call.jobs.count {
                queue.calls.append((call, nextJob + 1))
            } else {
                queue.bytes -= call.bytes
            }
            return (call, call.jobs[nextJob])
        }
    }
}

import Foundation

/// A few threads for work that blocks or computes for long, so that neither an event loop nor Swift's cooperative
/// threads ever wait for a disk or a scan. In front of them stands a bounded queue, in which customers take turns.
package final class WorkerThreads: Sendable {
    private let queue: JobQueue

    /// The queue's bound was hit.
    package struct QueueFull: Error, Hashable {
        package let name: String
        package let limit: Int
    }

    /// - Parameters:
    ///   - name: Stands in thread names and errors.
    ///   - count: Number of threads; 0 runs each job where it is handed in, for the simulation, which has one thread.
    ///   - limit: Jobs that may wait; one more is refused.
    ///   - niceness: 0…19: how far the threads, and those that they start, stand back for others (`nice(1)`).
    package init(name: String, count: Int, limit: Int, niceness: Int32 = 0) {
        precondition(count >= 0 && limit > 0, "\(count) threads, \(limit) jobs")
        isInline = count == 0
        let queue = JobQueue(limit: limit)
        self.queue = queue
        self.name = name
        for index in 0..<count {
            let thread = Thread {
                // Linux keeps it per thread, and the id 0 is the caller's. A failure costs the priority only.
                if niceness > 0 { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness) }
                queue.work()
            }
            thread.name = "\(name)-\(index)"
            thread.stackSize = 1 << 20
            thread.start()
        }
    }
    private let name: String
    private let isInline: Bool

    deinit { queue.stop() }

    /// Runs `job` on one of the threads and returns what it returns.
    ///
    /// The job is not cut off by cancellation: it should look for that itself, and first of all when it starts.
    ///
    /// - Parameter customer: Whose job it is: see ``FairQueue``.
    package func run<Value: Sendable>(for customer: String? = nil, _ job: @escaping @Sendable () -> Value) async throws(QueueFull) -> Value {
        if isInline { return job() }
        let result = JobResult<Value>()
        guard await queue.finish(for: customer, { result.value = job() }) else { throw QueueFull(name: name, limit: queue.limit) }
        return result.value!
    }

    package var waiting: Int { queue.count }
}

/// What a job leaves: written by its thread before whoever waits for it goes on.
private final class JobResult<Value: Sendable>: @unchecked Sendable {
    var value: Value?
}

/// The shared part, which outlives the owner until the last thread has left.
private final class JobQueue: @unchecked Sendable {
    let limit: Int
    private let condition = NSCondition()
    // Below: guarded by `condition`.
    private var jobs: FairQueue<String, @Sendable () -> Void>
    private var stopped = false

    init(limit: Int) {
        self.limit = limit
        jobs = FairQueue(limit: limit)
    }

    var count: Int {
        condition.withLock { jobs.count }
    }

    /// Waits until a thread has done the job.
    ///
    /// - Returns: `false` if the queue is full.
    func finish(for customer: String?, _ job: @escaping @Sendable () -> Void) async -> Bool {
        await withCheckedContinuation { continuation in
            let isAccepted = add(for: customer) {
                job()
                continuation.resume(returning: true)
            }
            if !isAccepted { continuation.resume(returning: false) }
        }
    }

    private func add(for customer: String?, _ job: @escaping @Sendable () -> Void) -> Bool {
        condition.withLock {
            guard jobs.add(job, for: customer) else { return false }
            condition.signal()
            return true
        }
    }

    func work() {
        while let job = next() { job() }
    }

    private func next() -> (@Sendable () -> Void)? {
        condition.withLock {
            while jobs.count == 0 && !stopped { condition.wait() }
            return jobs.next()
        }
    }

    func stop() {
        condition.withLock {
            stopped = true
            condition.broadcast()
        }
    }
}

import Foundation
import Storage
import Synchronization
import Testing

@Suite struct WorkerThreadsTests {
    private final class Order: Sendable {
        let jobs = Mutex<[String]>([])
        func note(_ job: String) { jobs.withLock { $0.append(job) } }
    }

    /// What one thread does, in which order, once all jobs are in line.
    private func order(of jobs: [(customer: String, name: String)]) async throws -> [String] {
        let threads = WorkerThreads(name: "test", count: 1, limit: 100)
        let order = Order()
        let (isHeld, gate) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        return await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await threads.run {
                    isHeld.signal()
                    gate.wait()
                }
            }
            await Task.detached { Self.wait(isHeld) }.value
            for (count, job) in jobs.enumerated() {
                group.addTask { try? await threads.run(for: job.customer) { order.note(job.name) } }
                while threads.waiting < count + 1 { await Task.yield() }
            }
            gate.signal()
            for await _ in group {}
            return order.jobs.withLock { $0 }
        }
    }

    private static func wait(_ semaphore: DispatchSemaphore) { semaphore.wait() }

    @Test("who brings one job waits for one of each other's, not for all")
    func turns() async throws {
        let many = (0..<50).map { (customer: "acme", name: "acme \($0)") }
        let jobs = many + [("umbra", "umbra 0"), ("umbra", "umbra 1"), ("solo", "solo 0")]
        let done = try await order(of: jobs)
        #expect(done.firstIndex(of: "umbra 0") == 1 && done.firstIndex(of: "solo 0") == 2 && done.firstIndex(of: "umbra 1") == 4)
        #expect(done.filter { $0.hasPrefix("acme") } == many.map(\.name))
        #expect(done.count == jobs.count)
    }
}

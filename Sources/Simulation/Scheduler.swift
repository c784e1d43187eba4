import Foundation
import Model
import VectorMath

/// Runs all tasks of the process on one thread, in an order that a seed decides, in a time that passes only when nothing can run.
///
/// It takes the place of Swift's global executor through the runtime's hooks, so the code under simulation is the code that ships.
/// Whatever it waits for must be waited for with ``clock(rate:)``: the runtime's own timers are not hooked.
///
/// Not for a process that does anything else.
final class Scheduler: @unchecked Sendable {  // one thread
    /// The hooks are C functions and can carry no context.
    private nonisolated(unsafe) static var current: Scheduler?

    private(set) var random: SplitMix64
    /// Since the start.
    private(set) var elapsed: Duration = .zero
    /// Hash of everything that ran and when: equal for equal runs.
    private(set) var trace: UInt64 = 0xcbf2_9ce4_8422_2325

    private var ready: [UnownedJob] = []
    private var timers: [Timer] = []  // a heap
    private var timerCount: UInt64 = 0
    private var sleepers: [UInt64: UnsafeContinuation<Void, any Error>] = [:]
    private let runner = Runner()
    /// Far ahead of the real clock, so that nothing that looks at that finds a deadline passed.
    private let epoch = ContinuousClock.now + .seconds(86_400 * 3_650)

    private struct Timer {
        var time: Duration
        var number: UInt64
        var action: () -> Void
    }

    private final class Runner: TaskExecutor {
        func enqueue(_ job: consuming ExecutorJob) { unsafe Scheduler.current!.ready.append(UnownedJob(job)) }
    }

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
    }

    // MARK: - Running

    /// Runs a task, and all that it starts, until it returns.
    ///
    /// - Returns: `nil` if everything waits for something that cannot happen, or `steps` were not enough.
    func run<Value: Sendable>(steps: Int, _ body: @escaping @Sendable () async -> Value) -> Value? {
        unsafe precondition(Scheduler.current == nil, "one simulation at a time")
        unsafe Scheduler.current = self
        Self.install()
        defer { unsafe Scheduler.current = nil }
        Entropy.replace { [self] in random.next() }
        defer { Entropy.replace(by: nil) }
        nonisolated(unsafe) var result: Value?
        Task.detached { unsafe result = await body() }
        var left = steps
        while left > 0, unsafe result == nil {
            left -= 1
            if !ready.isEmpty {
                let index = Int(random.next() % UInt64(ready.count))
                let job = ready[index]
                ready.swapAt(index, ready.count - 1)
                ready.removeLast()
                note(UInt64(index))
                unsafe job.runSynchronously(on: runner.asUnownedTaskExecutor())
            } else if let timer = popTimer() {
                elapsed = max(elapsed, timer.time)
                note(timer.number)
                timer.action()
            } else {
                break
            }
        }
        return unsafe result
    }

    private func note(_ value: UInt64) {
        let (_, attoseconds) = elapsed.components
        trace = (trace ^ value ^ UInt64(truncatingIfNeeded: attoseconds)) &* 0x0000_0100_0000_01b3
    }

    private static func install() {
        typealias Hook = @convention(thin) (UnownedJob, UnsafeRawPointer) -> Void
        guard let symbol = unsafe dlsym(dlopen(nil, RTLD_NOW), "swift_task_enqueueGlobal_hook") else {
            preconditionFailure("this Swift runtime has no hook for its global executor")
        }
        unsafe symbol.assumingMemoryBound(to: Hook?.self).pointee = { job, _ in
            guard let scheduler = unsafe Scheduler.current else { return }  // left over from a simulation that ended
            scheduler.ready.append(job)
        }
    }

    // MARK: - Time

    func after(_ delay: Duration, _ action: @escaping () -> Void) {
        timerCount += 1
        timers.append(Timer(time: elapsed + max(.zero, delay), number: timerCount, action: action))
        var index = timers.count - 1
        while index > 0, precedes(index, (index - 1) / 2) {
            timers.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private func precedes(_ a: Int, _ b: Int) -> Bool { (timers[a].time, timers[a].number) < (timers[b].time, timers[b].number) }

    private func popTimer() -> Timer? {
        guard let first = timers.first else { return nil }
        timers[0] = timers[timers.count - 1]
        timers.removeLast()
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < timers.count && precedes(child, least) { least = child }
            if least == index { return first }
            timers.swapAt(index, least)
            index = least
        }
    }

    /// - Throws: `CancellationError` at once when the task is cancelled.
    func sleep(_ duration: Duration) async throws {
        timerCount += 1
        let number = timerCount
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
                if Task.isCancelled { return unsafe continuation.resume(throwing: CancellationError()) }
                unsafe sleepers[number] = continuation
                after(duration) { [self] in unsafe sleepers.removeValue(forKey: number)?.resume() }
            }
        } onCancel: {
            unsafe sleepers.removeValue(forKey: number)?.resume(throwing: CancellationError())
        }
    }

    /// Time for code that cannot be cancelled.
    func pass(_ duration: Duration) async {
        await withUnsafeContinuation { continuation in after(duration) { unsafe continuation.resume() } }
    }

    /// A machine's clock, which runs `rate` times as fast as the simulation's.
    func clock(rate: Double) -> DeadlineClock {
        DeadlineClock(
            now: { [self] in epoch + elapsed * rate },
            sleep: { [self] until in try await sleep((epoch + elapsed * rate).duration(to: until) / rate) })
    }

    // MARK: - Chance

    func chance(_ probability: Double) -> Bool { Double(random.next() >> 11) * 0x1p-53 < probability }
    func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
    func pick<Element>(_ elements: [Element]) -> Element { elements[number(0..<elements.count)] }
    /// Mostly near `low`, now and then up to `high`.
    func duration(_ low: Duration, _ high: Duration) -> Duration {
        let share = Double(random.next() >> 11) * 0x1p-53
        return low + (high - low) * (share * share * share)
    }
}

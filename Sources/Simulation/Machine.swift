import Model
import Storage

/// A machine that runs one process after the other, and what is wrong with it at the moment.
final class Machine: @unchecked Sendable {  // one thread
    let name: NodeID
    let scheduler: Scheduler
    /// Its clock's speed; clocks differ by less than the eighth that a lease allows for.
    let clockRate: Double
    /// Stopped as by SIGSTOP: nothing leaves it and nothing is taken in.
    private(set) var isPaused = false
    private var waiting: [UnsafeContinuation<Void, Never>] = []
    /// The process that runs now; 0 when none does.
    private(set) var process = 0
    private var processes = 0
    /// Machines that it cannot send to.
    var cutFrom: Set<NodeID> = []
    var reachesStore = true
    /// Whether writes fail for want of space.
    var isFull = false
    /// Probability that a call to the store goes wrong.
    var storeTrouble = 0.0
    /// Longest time that each of its calls to the store takes besides.
    var storeLag = Duration.zero
    /// Probability that it stops before, or after, it writes what decides on who does what next.
    var stalls = 0.0

    init(_ name: NodeID, scheduler: Scheduler) {
        self.name = name
        self.scheduler = scheduler
        clockRate = 1 + (Double(scheduler.number(0..<1_000)) - 500) / 10_000
    }

    var clock: DeadlineClock { scheduler.clock(rate: clockRate) }
    var isAlive: Bool { process != 0 }

    func start() {
        processes += 1
        process = processes
    }

    func kill() {
        process = 0
        resume()
    }

    func pause() { isPaused = true }

    func resume() {
        isPaused = false
        let resumed = unsafe waiting
        unsafe waiting = []
        for unsafe continuation in unsafe resumed { unsafe continuation.resume() }
    }

    /// Stops for a while, perhaps: at the moments that time alone seldom picks.
    func stall() {
        guard scheduler.chance(stalls) else { return }
        pause()
        scheduler.after(scheduler.duration(.milliseconds(500), .seconds(15))) { [self] in resume() }
    }

    /// Returns when the machine is not stopped.
    func running() async {
        while isPaused { await withUnsafeContinuation { unsafe waiting.append($0) } }
    }
}

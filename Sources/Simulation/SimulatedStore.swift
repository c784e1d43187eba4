import Foundation
import Model
import Storage

/// The object store as one process sees it: slow, sometimes silent, and honest about nothing but what it answers.
final class SimulatedStore: ObjectStore, @unchecked Sendable {  // one thread
    private let machine: Machine
    private let process: Int
    private let history: StoreHistory
    /// Longest time that each request takes besides.
    private let lag: Duration
    private var scheduler: Scheduler { machine.scheduler }

    init(_ history: StoreHistory, for machine: Machine, lag: Duration = .zero) {
        self.lag = lag
        self.history = history
        self.machine = machine
        process = machine.process
    }

    private enum Fault { case none, lost, replyLost, late }

    private func fault(isWrite: Bool) -> Fault {
        guard scheduler.chance(machine.storeTrouble) else { return .none }
        return scheduler.pick(isWrite ? [.lost, .replyLost, .late] : [.lost])
    }

    private func through<Value: Sendable>(
        isWrite: Bool = false, _ body: @escaping @Sendable (any ObjectStore) async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        try await checkProcess()
        history.requests += 1
        await scheduler.pass(scheduler.duration(.milliseconds(1), .milliseconds(40) + lag + machine.storeLag))
        try await checkProcess()
        guard machine.reachesStore else {
            // What was sent before the cut may arrive long after it.
            if isWrite, scheduler.chance(0.3) { later(body) }
            await scheduler.pass(.milliseconds(500))
            throw .unavailable("no route to the store")
        }
        if isWrite, machine.isFull { throw .system(errno: ENOSPC, operation: "write", path: "") }
        switch fault(isWrite: isWrite) {
        case .lost: throw .unavailable("the request was lost")
        case .late:
            later(body)
            throw .unavailable("no answer")
        case .replyLost:
            _ = try await body(history.store)
            throw .unavailable("the answer was lost")
        case .none: break
        }
        let result: Result<Value, StoreError>
        do throws(StoreError) { result = .success(try await body(history.store)) } catch { result = .failure(error) }
        await scheduler.pass(scheduler.duration(.milliseconds(1), .milliseconds(20)))
        try await checkProcess()
        return try result.get()
    }

    /// The request is under way for a while, whoever sent it lives or not.
    private func later<Value: Sendable>(_ body: @escaping @Sendable (any ObjectStore) async throws(StoreError) -> Value) {
        let delay = scheduler.duration(.milliseconds(100), .seconds(20))
        let (scheduler, store) = (scheduler, history.store)
        Task.detached {
            await scheduler.pass(delay)
            _ = try? await body(store)
        }
    }

    /// - Throws: Once the process is gone, so that what is left of it ends.
    private func checkProcess() async throws(StoreError) {
        await machine.running()
        guard machine.process == process else { throw .unavailable("the process was killed") }
    }

    func get(_ key: String) async throws(StoreError) -> [UInt8] {
        try await through { store throws(StoreError) in try await store.get(key) }
    }
    func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8] {
        try await through { store throws(StoreError) in try await store.get(key, range: range) }
    }
    func size(_ key: String) async throws(StoreError) -> Int {
        try await through { store throws(StoreError) in try await store.size(key) }
    }
    func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError) {
        let (history, machine) = (history, machine)
        let isTurn = Self.isTurn(key, bytes)
        if isTurn { machine.stall() }
        try await through(isWrite: true) { store throws(StoreError) in
            try await store.put(key, bytes, ifAbsent: ifAbsent)
            history.note(key, bytes, by: machine)
            if isTurn { machine.stall() }
        }
    }

    /// Whether an object decides on who does what next, or is a part of such an object: all but requests in the log.
    private static func isTurn(_ key: String, _ bytes: [UInt8]) -> Bool {
        guard key.contains("/log/") else { return !key.contains("/bulk/") }
        return switch (try? LogEntry(decoding: bytes))?.content {
        case .data, .bulk, nil: false
        case .claim, .release, .terminal, .split, .promise, .merge, .barrier: true
        }
    }
    func list(prefix: String, after: String?, limit: Int) async throws(StoreError) -> [String] {
        try await through { store throws(StoreError) in try await store.list(prefix: prefix, after: after, limit: limit) }
    }
    func delete(_ keys: [String]) async throws(StoreError) {
        let (history, machine) = (history, machine)
        try await through(isWrite: true) { store throws(StoreError) in
            try await store.delete(keys)
            history.noteDeletion(keys, by: machine)
        }
    }
    func scratchPath() async throws(StoreError) -> String { try await history.store.scratchPath() }
    func putFile(_ key: String, from path: String) async throws(StoreError) {
        machine.stall()
        // A file that went astray is gone for good: only the answer is lost.
        try await through { store throws(StoreError) in try await store.putFile(key, from: path) }
    }
    func localFile(_ key: String) async throws(StoreError) -> LocalFile {
        try await through { store throws(StoreError) in try await store.localFile(key) }
    }
}

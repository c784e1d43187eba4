import Foundation
import Model
import Sharding
import Storage

/// One run of a whole cluster under the faults that a seed chooses.
package struct Simulation: Sendable {
    package struct Report: Sendable {
        package var seed: UInt64
        /// What was promised and not kept; empty for a clean run.
        package var violations: [String]
        package var operations = 0
        package var acknowledged = 0
        package var failed = 0
        package var reads = 0
        /// Gaps of searches of which it was said whether they could have changed the hits, and those that could not.
        package var judged = 0
        package var harmless = 0
        package var faults = 0
        package var claims = 0
        package var splits = 0
        package var merges = 0
        /// Snapshots that came about, and those of them that are of one moment of all shards.
        package var snapshots = 0
        package var cuts = 0
        package var expired = 0
        /// Time in the simulation.
        package var elapsed: Duration = .zero
        /// Equal for equal runs.
        package var trace: UInt64 = 0
    }

    /// Steps after which a run counts as stuck. Reason: ten times what the longest takes.
    private static let steps = 20_000_000
    /// Time without an operation in which the store must not be asked for anything, after what was under way has ended.
    private static let idleTime: Duration = .seconds(120)

    /// Runs one seed to its end; the process must not do anything else meanwhile.
    ///
    /// - Parameter logs: Whether what the processes log is printed.
    package static func run(seed: UInt64, operations: Int = 60, logs: Bool = false) -> Report {
        let scheduler = Scheduler(seed: seed)
        var report = Report(seed: seed, violations: [])
        do {
            let world = try World(scheduler, logs: logs)
            defer { world.history.removeFiles() }
            let checker = Checker(world.history) { scheduler.elapsed }
            let workload = Workload(world, checker)
            let ended = scheduler.run(steps: steps) {
                do { try await play(world, workload, checker, operations) } catch { checker.report("the simulation failed: \(error)") }
                return true
            }
            if ended == nil { checker.report("everything waits for what never happens") }
            report.violations = checker.violations
            (report.judged, report.harmless) = (checker.judged, checker.harmless)
            (report.operations, report.acknowledged, report.failed, report.reads) = (workload.operations, workload.acknowledged, workload.failed, workload.reads)
            report.faults = world.faults
            report.expired = workload.expired
            (report.snapshots, report.cuts) = (workload.snapshots + workload.cuts, workload.cuts)
            report.claims = workload.collections.flatMap(\.allShards).reduce(0) { $0 + world.history.model(of: $1).claims }
            report.splits = workload.collections.flatMap(\.allShards).count { world.history.model(of: $0).isSplit }
            report.merges = workload.collections.flatMap(\.allShards).count { world.history.model(of: $0).mergedWith != nil } / 2
        } catch { report.violations = ["the cluster cannot be made: \(error)"] }
        report.elapsed = scheduler.elapsed
        report.trace = scheduler.trace
        return report
    }

    private static func play(_ world: World, _ workload: Workload, _ checker: Checker, _ operations: Int) async throws {
        let scheduler = world.scheduler
        try world.start()
        try await workload.prepare()
        let trouble = Task { await world.makeTrouble() }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { await workload.runClient(operations) } }
        }
        try world.calm()
        await trouble.value
        // What a slow network still holds arrives now.
        await scheduler.pass(.seconds(25))
        await workload.finish()
        checker.checkLogs(workload.collections.flatMap(\.allShards))
        try await checkStore(world, workload, checker)
        await scheduler.pass(.seconds(30))
        let requests = world.history.requests
        await scheduler.pass(idleTime)
        if world.history.requests != requests { checker.report("an idle cluster asked the store \(world.history.requests - requests) times") }
    }

    /// A node that knows nothing finds everything in the store, and all that is referred to is there.
    private static func checkStore(_ world: World, _ workload: Workload, _ checker: Checker) async throws {
        let history = world.history
        let cold = world.coldNode(history.store)
        for collection in workload.collections {
            let context = CallContext(requestID: .random(), tenant: collection.tenant)
            for shard in collection.shards {
                let model = history.model(of: shard)
                let begun = checker.begin(collection, .strong, now: world.scheduler.elapsed)
                let request = FetchRequest(shard: shard, selection: .page(from: nil, limit: 10_000, filter: nil), withVector: true)
                let points = try await cold.fetch(request, context: context).points
                checker.checkLookup(model.versions.keys.sorted(), points, begun)
                let status = try await cold.status(StatusRequest(shards: [shard]), context: context).shards[0]
                for damage in status.damaged { checker.report("shard \(shard): \(damage)") }
                if status.logPosition != model.last { checker.report("shard \(shard): the store ends at \(status.logPosition), its log at \(model.last)") }
            }
        }
        await cold.close()
        // Every reference of every object, as `covey verify` follows them (invariant 7).
        let outside = try await StoreAudit(store: history.store, threads: 0, pause: {}).run { tenant in
            for finding in tenant.allFindings where finding.isProblem { checker.report("\(finding.kind) \(finding.key): \(finding.reason)") }
        }
        for finding in outside where finding.isProblem { checker.report("\(finding.kind) \(finding.key): \(finding.reason)") }
    }
}

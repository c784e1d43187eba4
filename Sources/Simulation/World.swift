import Coordination
import Foundation
import Logging
import Model
import Observability
import Placement
import Sharding
import Storage

/// A whole cluster: machines that run the shard nodes and coordinators that ship, between them a network and a store that fail.
final class World: @unchecked Sendable {  // one thread
    let scheduler: Scheduler
    let history: StoreHistory
    private(set) var plan: FaultPlan
    let shardMachines: [Machine]
    let coordinatorMachines: [Machine]
    private var nodes: [NodeID: ShardNode] = [:]
    private var coordinators: [NodeID: Coordinator] = [:]
    /// The cluster's record, and what each process knows of it.
    private var record: ClusterRecord
    private var members: [NodeID: Members] = [:]
    let configuration: ShardConfiguration
    private let logs: Bool
    private(set) var faults = 0
    private var isCalm = false
    /// Searches that one shard does not answer, whoever keeps it.
    var silent: [RequestID: ShardID] = [:]

    /// - Parameter logs: Whether what the processes log is printed.
    init(_ scheduler: Scheduler, logs: Bool) throws {
        self.scheduler = scheduler
        self.logs = logs
        history = try StoreHistory(onDisk: scheduler.chance(0.25))
        plan = FaultPlan(scheduler)
        shardMachines = (0..<scheduler.number(2..<5)).map { Machine(NodeID("shard-\($0)"), scheduler: scheduler) }
        let first = shardMachines.filter { _ in scheduler.chance(0.8) }
        record = ClusterRecord(version: 1, replicas: scheduler.pick([2, 2, 3]), members: (first.count < 2 ? shardMachines : first).map { ClusterMember(node: $0.name) })
        coordinatorMachines = (0..<2).map { Machine(NodeID("coordinator-\($0)"), scheduler: scheduler) }
        if scheduler.chance(0.3) { for machine in shardMachines + coordinatorMachines { machine.storeLag = scheduler.pick([.zero, .milliseconds(200), .milliseconds(800)]) } }
        var configuration = ShardConfiguration()
        configuration.searchThreads = 0
        configuration.sealPoints = scheduler.pick([8, 25, 1_000])
        configuration.sealEntries = scheduler.pick([10, 40, 1_000])
        configuration.exactScanThreshold = scheduler.pick([0, 2_000])
        configuration.entryBytes = 2_048
        configuration.openShards = scheduler.pick([1, 2, 1_024])
        configuration.manifestsKept = scheduler.pick([1, 16])
        configuration.now = { [scheduler] in 1_700_000_000 + scheduler.elapsed.components.seconds }
        configuration.cutPatience = scheduler.pick([.milliseconds(300), .seconds(3)])
        configuration.lease = scheduler.pick([.zero, .milliseconds(300), .seconds(1), .seconds(5)])
        configuration.rememberedWrites = scheduler.pick([4, 16, 4_096])
        self.configuration = configuration
    }

    private func logger(_ name: NodeID) -> Logger {
        let elapsed: @Sendable () -> Date = { [scheduler] in Date(timeIntervalSince1970: scheduler.elapsed / .seconds(1)) }
        return Logger(label: "simulation") { [logs] _ in
            if logs { LineLogHandler(node: "\(name)", level: .debug, now: elapsed) } else { SwiftLogNoOpLogHandler() }
        }
    }
    var machines: [Machine] { shardMachines + coordinatorMachines }

    /// What runs on a machine; `nil` for nobody, and for those that were killed.
    func node(_ machine: Machine) -> ShardNode? { machine.isAlive ? nodes[machine.name] : nil }
    func coordinator(_ machine: Machine) -> Coordinator? { machine.isAlive ? coordinators[machine.name] : nil }

    // MARK: - Processes

    func start() throws {
        for machine in machines where !machine.isAlive { try start(machine) }
    }

    private func start(_ machine: Machine) throws {
        machine.start()
        machine.storeTrouble = isCalm ? 0 : plan.storeTrouble
        machine.stalls = isCalm ? 0 : plan.stalls
        let store = SimulatedStore(history, for: machine)
        var peers: [NodeID: any ShardService] = [:]
        for other in shardMachines where other !== machine { peers[other.name] = SimulatedPeer(from: machine, to: other, in: self) }
        let members = try Members(record) { [peers] in peers[$0.node] }
        self.members[machine.name] = members
        if shardMachines.contains(where: { $0 === machine }) {
            let followers = Followers(of: machine.name, members: members, clock: machine.clock)
            nodes[machine.name] = ShardNode(
                node: machine.name, store: store, configuration: configuration, followers: followers, clock: machine.clock, metrics: Metrics(), logger: logger(machine.name))
        } else {
            var configuration = CoordinatorConfiguration()
            configuration.readTimeout = .seconds(4)
            configuration.writeTimeout = .seconds(8)
            configuration.schemaStaleness = scheduler.pick([.zero, .seconds(1)])
            configuration.outlineInterval = scheduler.pick([.zero, .seconds(10)])
            configuration.outlineBytes = scheduler.pick([100, 512 << 10])
            coordinators[machine.name] = try Coordinator(
                store: store, members: members, configuration: configuration, logger: logger(machine.name), metrics: Metrics(), clock: machine.clock)
        }
    }

    private func kill(_ machine: Machine) {
        machine.kill()
        nodes[machine.name] = nil
        coordinators[machine.name] = nil
    }

    /// A node that knows nothing, on a store that does not fail.
    func coldNode(_ store: any ObjectStore) -> ShardNode {
        var configuration = ShardConfiguration()
        configuration.searchThreads = 0
        configuration.now = self.configuration.now
        configuration.rememberedWrites = self.configuration.rememberedWrites
        return ShardNode(node: NodeID("cold"), store: store, configuration: configuration, clock: scheduler.clock(rate: 1), metrics: Metrics(), logger: logger(NodeID("cold")))
    }

    // MARK: - Faults

    /// Lets things happen until ``calm()``.
    func makeTrouble() async {
        guard !plan.kinds.isEmpty else { return }
        while !isCalm {
            await scheduler.pass(scheduler.duration(.zero, plan.interval * 4))
            guard !isCalm else { return }
            faults += 1
            await happen(scheduler.pick(plan.kinds))
        }
    }

    private func happen(_ fault: FaultPlan.Fault) async {
        let machine = scheduler.pick(machines)
        let other = scheduler.pick(machines.filter { $0 !== machine })
        let time = scheduler.duration(.milliseconds(50), .seconds(12))
        switch fault {
        case .kill, .restart:
            kill(machine)
            later(fault == .kill ? time : .milliseconds(20)) { [self] in if !machine.isAlive { try? start(machine) } }
        case .stopNode:
            // As by SIGTERM: it finishes what it has, then ends.
            guard let node = nodes[machine.name] else { return }
            nodes[machine.name] = nil
            let process = machine.process
            Task.detached { [self] in
                await node.close()
                guard machine.process == process else { return }
                kill(machine)
                await scheduler.pass(.milliseconds(20))
                if !machine.isAlive { try? start(machine) }
            }
        case .pause:
            machine.pause()
            later(time) { machine.resume() }
        case .cutOneWay, .cutBothWays:
            machine.cutFrom.insert(other.name)
            if fault == .cutBothWays { other.cutFrom.insert(machine.name) }
            later(time) {
                machine.cutFrom.remove(other.name)
                other.cutFrom.remove(machine.name)
            }
        case .partition:
            let side = Set(machines.filter { _ in scheduler.chance(0.5) }.map(\.name))
            let others = Set(machines.map(\.name)).subtracting(side)
            for machine in machines { machine.cutFrom.formUnion(side.contains(machine.name) ? others : side) }
            later(time) { [self] in for machine in machines { machine.cutFrom.subtract(side.contains(machine.name) ? others : side) } }
        case .cutFromStore:
            machine.reachesStore = false
            later(time) { machine.reachesStore = true }
        case .diskFull:
            machine.isFull = true
            later(time) { machine.isFull = false }
        case .changeMembers:
            let chosen = shardMachines.filter { _ in scheduler.chance(0.6) }
            guard chosen.count >= 2 else { return }
            let changed = ClusterRecord(
                version: record.version + 1, replicas: scheduler.pick([1, 2, 2, 3]),
                members: chosen.map { ClusterMember(node: $0.name, weight: scheduler.pick([1, 1, 3])) })
            record = changed
            // Everybody looks for it now and then.
            for machine in machines { later(scheduler.duration(.zero, .seconds(12))) { [self] in take(changed, machine) } }
        case .powerLoss:
            guard history.isOnDisk else { return }
            for machine in machines { kill(machine) }
            try? history.losePower(seed: UInt64(scheduler.number(0..<Int.max)))
            try? await history.takeInAll()
            try? start()
        }
    }

    private func take(_ record: ClusterRecord, _ machine: Machine) {
        guard machine.isAlive, !machine.isPaused, (try? members[machine.name]?.update(record)) == true, let node = nodes[machine.name] else { return }
        Task.detached { await node.handOver() }
    }

    private func later(_ delay: Duration, _ action: @escaping @Sendable () -> Void) { scheduler.after(delay, action) }

    /// From now on nothing goes wrong, and everything runs.
    func calm() throws {
        isCalm = true
        for machine in machines { take(record, machine) }
        plan.loss = 0
        plan.duplication = 0
        plan.latency = .milliseconds(4)
        for machine in machines {
            machine.resume()
            machine.cutFrom = []
            machine.reachesStore = true
            machine.isFull = false
            machine.storeTrouble = 0
            machine.stalls = 0
            machine.storeLag = .zero
        }
        try start()
    }
}

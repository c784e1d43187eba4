import Coordination
import Foundation
import Model
import Sharding
import Storage

/// Clients that write, delete, search and look up points of a few collections, and hold every answer to what the log says.
final class Workload: @unchecked Sendable {  // one thread
    private let world: World
    private var scheduler: Scheduler { world.scheduler }
    private let checker: Checker
    private(set) var collections: [Collection] = []
    private var nextValue = 0
    private(set) var operations = 0
    private(set) var acknowledged = 0
    private(set) var failed = 0
    /// Of them, and of those sent again, those that a shard no longer remembered, or their keys' clocks were behind what it had forgotten.
    private(set) var expired = 0
    private(set) var reads = 0
    /// Writes of which nobody knows what became of them: some are sent again.
    private var unsettled: [(context: CallContext, operations: [AppendRequest.Operation], collection: Collection)] = []
    /// Snapshots of one moment of all shards that came about, and others.
    private(set) var cuts = 0
    private(set) var snapshots = 0

    struct Collection: Sendable {
        let tenant: TenantID
        let name: CollectionName
        let schema: CollectionSchema
        let history: StoreHistory
        private var layout: ShardLayout { history.layout(of: schema, tenant).layout }
        /// Those that keep points, as the logs say at the moment.
        var shards: [ShardID] { layout.shards.map { schema.shard($0.index, of: tenant) } }
        /// Those that were split or merged, too.
        var allShards: [ShardID] { history.layout(of: schema, tenant).all }
        /// Those of them that are the two halves of one range.
        var pairs: [(lower: ShardID, upper: ShardID)] {
            zip(shards, shards.dropFirst()).filter { ShardLayout.merged($0.0.index, $0.1.index, firstCount: schema.shardCount) != nil }.map { ($0.0, $0.1) }
        }
        func shard(of id: PointID) -> ShardID {
            let layout = layout
            return schema.shard(layout.shards[layout.place(of: id.hash)].index, of: tenant)
        }
    }

    /// Points that exist at most, in a collection: few, so that writes meet.
    private static let ids = 24

    init(_ world: World, _ checker: Checker) {
        self.world = world
        self.checker = checker
    }

    /// Makes the collections: two tenants with one name, and ids alike.
    func prepare() async throws {
        for tenant in ["red", "blue"] {
            let tenant = try TenantID(tenant)
            let name = try CollectionName("things")
            let context = CallContext(requestID: .random(), tenant: tenant)
            while true {
                guard let coordinator = world.coordinator(world.coordinatorMachines[0]) else { return }
                do {
                    let schema = try await coordinator.createCollection(
                        name, dimension: 4, metric: .euclid, shardCount: scheduler.number(1..<4), context: context)
                    add(tenant, name, schema)
                    break
                } catch where error.code == .alreadyExists {
                    guard let schema = try? await coordinator.schema(of: name, context: context) else { continue }
                    add(tenant, name, schema)
                    break
                } catch { await scheduler.pass(.milliseconds(200)) }
            }
        }
    }

    private func add(_ tenant: TenantID, _ name: CollectionName, _ schema: CollectionSchema) {
        world.history.firstCounts[schema.incarnation] = schema.shardCount
        collections.append(Collection(tenant: tenant, name: name, schema: schema, history: world.history))
    }

    /// Shards of a collection up to which one is split now and then; two are merged as often.
    private static let mostShards = 5

    /// One client: one operation after the other, through whichever coordinator.
    func runClient(_ count: Int) async {
        for _ in 0..<count {
            await scheduler.pass(scheduler.duration(.zero, .milliseconds(800)))
            let machine = scheduler.pick(world.coordinatorMachines)
            guard let coordinator = world.coordinator(machine), !machine.isPaused else { continue }
            operations += 1
            let collection = scheduler.pick(collections)
            switch scheduler.number(0..<100) {
            case 0..<45:
                if !unsettled.isEmpty, scheduler.chance(0.5) { await writeAgain(coordinator) } else { await write(coordinator, collection) }
            case 45..<70: await retrieve(coordinator, collection)
            case 70..<92:
                await search(coordinator, collection)
                // With replicas whole shards are silent so rarely that gaps would go unchecked.
                guard scheduler.chance(0.4) else { continue }
                await coordinator.outlinesSettled()
                await search(coordinator, collection, without: scheduler.pick(collection.shards))
            case 92..<95: await checkCount(coordinator, collection)
            case 95..<97: await reshape(coordinator, collection, from: machine)
            case 97..<99: await snapshot(collection, from: machine)
            default: _ = try? await coordinator.seal(collection.name, context: context(collection))
            }
        }
    }

    /// Splits a shard, or merges two again.
    private func reshape(_ coordinator: Coordinator, _ collection: Collection, from machine: Machine) async {
        let (shards, pairs) = (collection.shards, collection.pairs)
        guard !pairs.isEmpty, scheduler.chance(0.5) || shards.count >= Self.mostShards else {
            guard shards.count < Self.mostShards else { return }
            _ = try? await coordinator.split(scheduler.pick(shards).index, of: collection.name, context: context(collection))
            return
        }
        let (lower, upper) = scheduler.pick(pairs)
        guard scheduler.chance(0.4) else {
            _ = try? await coordinator.merge(lower.index, of: collection.name, context: context(collection))
            return
        }
        // Whoever merges them dies in the middle: others have to go on.
        for (half, other) in [(upper, lower), (lower, upper)].prefix(scheduler.pick([1, 2])) {
            let peer = SimulatedPeer(from: machine, to: scheduler.pick(world.shardMachines), in: world)
            let request = SealRequest(shard: half, takeover: true, mergeWith: other.index)
            let clock = machine.clock
            let context = context(collection)
            let reply = try? await clock.limited(until: clock.now() + .seconds(20), else: ClusterError(.deadlineExceeded, "no answer")) { () throws(ClusterError) in
                try await peer.seal(request, context: context)
            }
            guard let reply, reply.owner == nil else { return }
        }
    }

    private func context(_ collection: Collection, _ consistency: Consistency = .strong) -> CallContext {
        CallContext(requestID: .random(), tenant: collection.tenant, consistency: consistency)
    }

    /// Of a write: its key has the time of a clock that may be wrong.
    private func keyed(_ collection: Collection) -> CallContext {
        let time = world.configuration.now() * 1_000 + Int64(scheduler.number(0..<2_000)) - 1_000
        let id = RequestID.ordered(time: UInt64(time))
        var context = CallContext(requestID: id, tenant: collection.tenant)
        context.idempotencyKey = id
        return context
    }

    private func id() -> PointID { .integer(UInt64(scheduler.number(0..<Self.ids))) }

    private func vector() -> [Float] { (0..<4).map { _ in Float(scheduler.number(0..<64)) } }

    private func write(_ coordinator: Coordinator, _ collection: Collection, operations count: Int? = nil, points: Int? = nil) async {
        var operations: [AppendRequest.Operation] = []
        for _ in 0..<(count ?? scheduler.pick([1, 1, 1, 3])) {
            switch scheduler.number(0..<20) {
            case 0..<14:
                nextValue += 1
                var payload: Payload = ["n": .integer(Int64(nextValue)), "tenant": .string(collection.tenant.rawValue), "k": .integer(Int64(scheduler.number(0..<3)))]
                // Larger than an entry: its operations lie in objects beside the log.
                if scheduler.chance(0.1) { payload["filler"] = .string(String(repeating: "x", count: 600)) }
                let (vector, payload2) = (vector(), payload)
                operations.append(.upsert((0..<(points ?? scheduler.pick([1, 1, 4]))).map { _ in Point(id: id(), vector: vector, payload: payload2) }))
            case 14..<18: operations.append(.delete([id(), id()]))
            default: operations.append(.deleteWhere(Filter(must: [.match(key: "k", anyOf: [.integer(Int64(scheduler.number(0..<3)))])])))
            }
        }
        let context = keyed(collection)
        checker.begin(context.requestID)
        do {
            let outcome = try await coordinator.write(operations, to: collection.name, context: context)
            acknowledged += 1
            for result in outcome.results { checker.acknowledged(context.requestID, result.shard, result.position) }
        } catch {
            failed += 1
            if error.code == .resourceExhausted || error.code == .invalidArgument {
                checker.refused(context.requestID, collection.shards)
            } else if error.reason == .keyExpired {
                expired += 1
            } else if error.reason == .keyReused {
                checker.report("request \(context.requestID) was taken for another: \(error)")
            } else {
                unsettled.append((context, operations, collection))
            }
        }
    }

    /// Sends a request once more whose outcome was not known, as clients do, perhaps after shards were split and merged (protocol, H19).
    private func writeAgain(_ coordinator: Coordinator) async {
        let write = unsettled.remove(at: scheduler.number(0..<unsettled.count))
        do {
            let outcome = try await coordinator.write(write.operations, to: write.collection.name, context: write.context)
            acknowledged += 1
            for result in outcome.results { checker.acknowledged(write.context.requestID, result.shard, result.position) }
        } catch {
            switch error.reason {
            case .keyExpired: expired += 1
            case .keyReused: checker.report("request \(write.context.requestID) was taken for another: \(error)")
            default: unsettled.append(write)
            }
        }
    }

    private func consistency() -> Consistency { scheduler.pick([.strong, .strong, .strong, .bounded(milliseconds: 500), .eventual]) }

    private func retrieve(_ coordinator: Coordinator, _ collection: Collection) async {
        let ids = Array(Set((0..<4).map { _ in id() })).sorted()
        let consistency = consistency()
        let begun = checker.begin(collection, consistency, now: scheduler.elapsed)
        guard let points = try? await coordinator.retrieve(ids, from: collection.name, withVector: true, context: context(collection, consistency)) else { return }
        reads += 1
        checker.checkLookup(ids, points, begun)
    }

    private func search(_ coordinator: Coordinator, _ collection: Collection, without silent: ShardID? = nil) async {
        let consistency = consistency()
        let begun = checker.begin(collection, consistency, now: scheduler.elapsed)
        // The exact scan: a recall of one is what the model can be held to.
        let queries = (0..<scheduler.pick([1, 1, 1, 4])).map { _ in
            SearchQuery(
                vector: vector(), limit: scheduler.pick([6, 6, 1]), effort: SearchEffort(exact: true), withVector: true,
                partial: silent == nil ? scheduler.pick([.degrade, .fail]) : .degrade)
        }
        let context = context(collection, consistency)
        world.silent[context.requestID] = silent
        defer { world.silent[context.requestID] = nil }
        guard let answers = try? await coordinator.search(queries, in: collection.name, context: context) else { return }
        reads += 1
        for (query, answer) in zip(queries, answers) { checker.checkSearch(query, answer, begun) }
    }

    /// A snapshot beside everything else, made by a machine that everything may happen to.
    private func snapshot(_ collection: Collection, from machine: Machine) async {
        let isCausal = scheduler.chance(0.7)
        let target = MemoryObjectStore()
        defer { target.removeFiles() }
        let begun = scheduler.elapsed
        // So that barriers are far from each other.
        let lag: Duration = scheduler.pick([.zero, .milliseconds(900), .milliseconds(900)])
        let writer = SnapshotWriter(
            source: SimulatedStore(world.history, for: machine, lag: lag), tenant: collection.tenant, target: target, threads: 0, clock: machine.clock,
            now: world.configuration.now)
        let over = Flag()
        async let chase: Void = writeUntil(over, collection)
        let result: Result<SnapshotRecord, any Error>
        do { result = .success(try await writer.write([collection.name], id: "s", causal: isCausal)) } catch { result = .failure(error) }
        over.isRaised = true
        await chase
        do {
            let record = try result.get()
            if isCausal { cuts += 1 } else { snapshots += 1 }
            let shards = record.collections[0].shards.map { collection.schema.shard($0, of: collection.tenant) }
            let copy = world.coldNode(target)
            let context = context(collection)
            for (shard, position) in zip(shards, record.collections[0].positions) {
                let request = FetchRequest(shard: shard, selection: .page(from: nil, limit: 10_000, filter: nil), withVector: false)
                checker.check(copy: try await copy.fetch(request, context: context).points, of: shard, at: position)
            }
            await copy.close()
            checker.checkCut(Dictionary(uniqueKeysWithValues: zip(shards, record.collections[0].positions)), of: collection, begun: begun, isCausal: isCausal)
        } catch {
            // Whatever happens to who makes it, it says so.
            let code = (error as? ClusterError)?.code
            if code == .dataLoss || code == .internal || code == nil { checker.report("a snapshot failed: \(error)") }
        }
    }

    private final class Flag: @unchecked Sendable {  // one thread
        var isRaised = false
    }

    /// Writes one after the other, here and there, while a snapshot is made: what comes after another must not be in it without that one.
    private func writeUntil(_ over: Flag, _ collection: Collection) async {
        for _ in 0..<20 where !over.isRaised {
            guard let coordinator = world.coordinator(scheduler.pick(world.coordinatorMachines)) else { return }
            await write(coordinator, collection, operations: 1, points: 1)
        }
    }

    private func checkCount(_ coordinator: Coordinator, _ collection: Collection) async {
        let begun = checker.begin(collection, .strong, now: scheduler.elapsed)
        guard let (count, coverage) = try? await coordinator.count(collection.name, partial: .degrade, context: context(collection)) else { return }
        reads += 1
        if coverage.gaps.isEmpty, coverage.unverified.isEmpty { checker.checkCount(count, begun) }
    }

    // MARK: - The end

    /// After all faults: everything works again within a bound, and everything is as the logs say.
    func finish() async {
        for collection in collections {
            for machine in world.coordinatorMachines {
                var lastError: ClusterError?
                let start = scheduler.elapsed
                while scheduler.elapsed - start < .seconds(60) {
                    lastError = await readAll(world.coordinator(machine)!, collection)
                    if lastError == nil { break }
                    await scheduler.pass(.milliseconds(500))
                }
                if let lastError { checker.report("no progress for a minute after the last fault: \(lastError)") }
            }
        }
    }

    private func readAll(_ coordinator: Coordinator, _ collection: Collection) async -> ClusterError? {
        do throws(ClusterError) {
            let context = keyed(collection)
            checker.begin(context.requestID)
            let points = (0..<Self.ids).map { Point(id: .integer(UInt64($0 + 1_000)), vector: [1, 2, 3, 4], payload: ["tenant": .string(collection.tenant.rawValue)]) }
            let outcome = try await coordinator.write([.upsert(points)], to: collection.name, context: context)
            for result in outcome.results { checker.acknowledged(context.requestID, result.shard, result.position) }
            let begun = checker.begin(collection, .strong, now: scheduler.elapsed)
            let page = try await coordinator.scroll(collection.name, limit: 1_000, withVector: true, partial: .fail, context: self.context(collection))
            checker.checkLookup((0..<Self.ids).flatMap { [.integer(UInt64($0)), .integer(UInt64($0 + 1_000))] }, page.points, begun)
            return nil
        } catch { return error }
    }
}

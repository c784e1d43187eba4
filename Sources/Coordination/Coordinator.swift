import Foundation
import Logging
import Model
import Observability
import Placement
import Storage
import Synchronization

/// Answers for whole collections: knows which there are, asks the nodes that keep their shards, and puts one answer together.
///
/// It holds nothing durable: schemas are in the object store, points in the shards. Any number of coordinators may work on
/// the same cluster. May be used from any task.
package final class Coordinator: Sendable {
    let store: any ObjectStore
    let members: Members
    let configuration: CoordinatorConfiguration
    let logger: Logger
    let metrics: Metrics
    let clock: DeadlineClock
    let registry: SchemaRegistry
    let plans: PlanCache
    let outlines: OutlineCache
    /// When this coordinator first erased what ended.
    private let erasures = Mutex<[Incarnation: ContinuousClock.Instant]>([:])
    private let health = Mutex<[NodeID: NodeHealth]>([:])
    private let hedging = HedgeRule()
    /// At most ``CoordinatorConfiguration/maximumWrites``.
    private let writesAtWork = Mutex<[TenantID: Int]>([:])

    /// - Parameters:
    ///   - members: The cluster's shard nodes, alive or not.
    ///   - clock: What deadlines are measured with.
    /// - Throws: `invalidArgument` for an impossible configuration.
    package init(
        store: any ObjectStore, members: Members, configuration: CoordinatorConfiguration = CoordinatorConfiguration(),
        logger: Logger, metrics: Metrics, clock: DeadlineClock = .continuous
    ) throws(ClusterError) {
        try configuration.validate()
        self.store = store
        self.members = members
        self.configuration = configuration
        self.logger = logger
        self.metrics = metrics
        self.clock = clock
        registry = SchemaRegistry(store: store)
        plans = PlanCache(limit: configuration.schemaCacheLimit)
        outlines = OutlineCache(limit: configuration.outlinesBytes, interval: configuration.outlineInterval, lifetime: configuration.outlineLifetime)
        let count = metrics.gauge("covey_outlines", help: "Shards whose outline this coordinator keeps, and of which it knows nothing newer.")
        let bytes = metrics.gauge("covey_outlines_bytes", help: "Memory that outlines take.")
        metrics.collect { [weak outlines] _ in
            guard let total = outlines?.total else { return }
            count.set(Double(total.current))
            bytes.set(Double(total.bytes))
        }
    }

    /// Makes an empty collection.
    ///
    /// - Parameters:
    ///   - shardCount: `nil` for the configured default, which is one per shard node.
    ///   - embeddingModel: Recorded if the collection will hold documents.
    /// - Throws: `alreadyExists`; `invalidArgument` naming the field, its limit and its value; `permissionDenied` for a name outside of the
    ///   caller's scope, whether there is such a collection or not.
    package func createCollection(
        _ name: CollectionName, dimension: Int, metric: Metric, datatype: VectorDatatype = .float32, shardCount: Int? = nil,
        embeddingModel: String? = nil, metadata: [String: String] = [:], context: CallContext
    ) async throws(ClusterError) -> CollectionSchema {
        let defaultShardCount = configuration.defaultShardCount ?? min(members.view.record.members.count, CollectionSchema.maximumShardCount)
        let schema = CollectionSchema(
            name: name, incarnation: .random(), dimension: dimension, metric: metric, datatype: datatype, shardCount: shardCount ?? defaultShardCount,
            embeddingModel: embeddingModel, createdAt: Int64(Date().timeIntervalSince1970), metadata: metadata)
        try schema.validate()
        guard context.scope.contains(name) else {
            throw ClusterError(.permissionDenied, "this key is bound to the collections \(context.scope), and \"\(name)\" is none of them")
        }
        let record = try await registry.create(schema, named: name, tenant: context.tenant)
        _ = keep(record, name, context.tenant)
        log(.info, "collection created", ["collection": "\(name)", "shards": "\(schema.shardCount)", "incarnation": "\(schema.incarnationText)"], context)
        return schema
    }

    /// Ends a collection: nobody finds it from now on, and its shards delete what they keep.
    ///
    /// A shard that cannot be reached keeps its objects until ``finishDrops(context:)`` reaches it.
    ///
    /// - Returns: Whether there was one.
    package func dropCollection(_ name: CollectionName, context: CallContext) async throws(ClusterError) -> Bool {
        guard context.scope.contains(name), let schema = try await registry.drop(name, tenant: context.tenant) else { return false }
        plans.drop(PlanCache.Key(tenant: context.tenant, name: name))
        outlines.remove(schema.incarnation)
        log(.info, "collection dropped", ["collection": "\(name)", "incarnation": "\(schema.incarnationText)"], context)
        await erase(schema, name, context)
        return true
    }

    /// Erases what collections of this tenant left behind that ended: because a node could not be reached, or because a call that was on
    /// its way when they were erased has put an object since (protocol, H21). So each is erased once more when no such call can be alive,
    /// ``CoordinatorConfiguration/longestCall`` later by this coordinator's own clock, and then forgotten.
    ///
    /// - Returns: How many collections could not be erased yet.
    package func finishDrops(context: CallContext) async throws(ClusterError) -> Int {
        var left = 0
        for (name, schema) in try await registry.ended(of: context.tenant, limit: configuration.dropsPerSweep) {
            let incarnation = schema.incarnation
            let erasedAt = erasures.withLock { $0[incarnation] }
            if let erasedAt, erasedAt.duration(to: clock.now()) < configuration.longestCall { continue }
            guard await erase(schema, name, context) else {
                left += 1
                continue
            }
            guard erasedAt != nil else { continue }
            try await registry.forget(incarnation, named: name, tenant: context.tenant)
            erasures.withLock { $0[incarnation] = nil }
        }
        return left
    }

    /// The tenant's collections that the caller may touch, in the order of their names. One whose record is damaged is left out and named in the log; asking for
    /// it by name says what is wrong.
    package func collections(context: CallContext) async throws(ClusterError) -> [CollectionSchema] {
        let (found, damaged) = try await registry.all(of: context.tenant)
        for error in damaged { log(.error, "a collection's record is unreadable", ["error": "\(error.message)"], context) }
        return found.filter { !$0.record.isDropped && context.scope.contains($0.name) }.map(\.record.schema)
    }

    /// - Throws: `notFound` if this tenant has no such collection that the caller may touch.
    package func schema(of name: CollectionName, context: CallContext) async throws(ClusterError) -> CollectionSchema {
        try await plan(of: name, context: context).schema
    }

    // MARK: - Plans

    /// The plan of a collection, at most ``CoordinatorConfiguration/schemaStaleness`` old while the store answers.
    ///
    /// - Throws: `notFound` if this tenant has no such collection that the caller may touch: every call that names one passes here.
    func plan(of name: CollectionName, context: CallContext) async throws(ClusterError) -> CollectionPlan {
        guard context.scope.contains(name) else { throw Self.missing(name) }
        let key = PlanCache.Key(tenant: context.tenant, name: name)
        if var (plan, mustCheck) = plans.plan(key, now: clock.now(), staleness: configuration.schemaStaleness) {
            let view = members.view
            if plan.membersVersion < view.version {
                let placed = replicas(of: plan.schema, plan.tenant, plan.layout, view)
                plan = plans.keep(CollectionPlan(plan, layout: plan.layout, replicas: placed, membersVersion: view.version), for: key, now: clock.now())
            }
            guard mustCheck else { return plan }
            do throws(ClusterError) {
                if try await isNewest(plan, context) { return plan }
            } catch {
                // Reads go on while the store is away; a write to a dropped collection is refused by its shards.
                log(.warning, "schema could not be checked, using the last one known", ["collection": "\(name)", "error": "\(error)"], context)
                return plan
            }
            plans.drop(key)
        }
        guard let record = try await registry.newest(name, tenant: context.tenant), !record.isDropped else {
            throw Self.missing(name)
        }
        return keep(record, name, context.tenant)
    }

    private static func missing(_ name: CollectionName) -> ClusterError { ClusterError(.notFound, "collection \"\(name)\" does not exist") }

    /// Asks the store, but not for longer than answers with what is known would become useless.
    private func isNewest(_ plan: CollectionPlan, _ context: CallContext) async throws(ClusterError) -> Bool {
        let end = min(clock.now() + configuration.schemaTimeout, deadline(context, configuration.readTimeout))
        return try await withTaskGroup(of: Result<Bool, ClusterError>.self) { group in
            group.addTask { [registry] in
                do throws(ClusterError) {
                    return .success(try await registry.isNewest(plan.version, of: plan.name, tenant: plan.tenant))
                } catch { return .failure(error) }
            }
            group.addTask { [clock] in
                try? await clock.sleep(end)
                return .failure(ClusterError(.unavailable, "the object store does not answer"))
            }
            defer { group.cancelAll() }
            return await group.next()!
        }.get()
    }

    /// Looks a collection up again after a shard said that it is gone.
    ///
    /// - Returns: The plan of another incarnation; `nil` if the name still stands for the same one.
    func replan(_ stale: CollectionPlan, context: CallContext) async throws(ClusterError) -> CollectionPlan? {
        guard let record = try await registry.newest(stale.name, tenant: context.tenant), !record.isDropped else {
            plans.drop(PlanCache.Key(tenant: context.tenant, name: stale.name))
            throw Self.missing(stale.name)
        }
        return record.schema.incarnation == stale.schema.incarnation ? nil : keep(record, stale.name, context.tenant)
    }

    private func keep(_ record: SchemaRegistry.Record, _ name: CollectionName, _ tenant: TenantID) -> CollectionPlan {
        plans.keep(makePlan(record, name, tenant), for: PlanCache.Key(tenant: tenant, name: name), now: clock.now())
    }

    func makePlan(_ record: SchemaRegistry.Record, _ name: CollectionName, _ tenant: TenantID) -> CollectionPlan {
        let (view, layout) = (members.view, ShardLayout(firstCount: record.schema.shardCount))
        return CollectionPlan(
            name: name, tenant: tenant, schema: record.schema, version: record.version, layout: layout,
            replicas: replicas(of: record.schema, tenant, layout, view), membersVersion: view.version)
    }

    private func replicas(of schema: CollectionSchema, _ tenant: TenantID, _ layout: ShardLayout, _ view: Members.View) -> [[ShardTarget.Replica]] {
        view.replicas(tenant: tenant, incarnation: schema.incarnation, layout: layout).map { $0.map { replica($0, in: view) } }
    }

    /// Rounds in which a call may learn of splits and merges: each can be of what the one before led to.
    static let splitRounds = 24

    /// The plan with the shards divided and united that said they were split or merged; `nil` if none said so.
    func divided(_ plan: CollectionPlan, after failures: [(ShardID, ClusterError)]) -> CollectionPlan? {
        let ended = failures.filter { $0.1.code == .outOfRange }
        guard !ended.isEmpty else { return nil }
        let merges = Dictionary(ended.compactMap { shard, error in error.successor.map { (shard.index, $0) } }) { first, _ in first }
        let (view, layout) = (members.view, plan.layout.learning(splits: Set(ended.filter { $0.1.successor == nil }.map(\.0.index)), merges: merges))
        let divided = CollectionPlan(plan, layout: layout, replicas: replicas(of: plan.schema, plan.tenant, layout, view), membersVersion: view.version)
        return plan.version == 0 ? divided : plans.keep(divided, for: PlanCache.Key(tenant: plan.tenant, name: plan.name), now: clock.now())
    }

    func replica(_ node: NodeID, in view: Members.View) -> ShardTarget.Replica {
        ShardTarget.Replica(node: node, service: view.services[node]!, health: health(of: node))
    }

    func health(of node: NodeID) -> NodeHealth {
        health.withLock { known in
            let health = known[node] ?? NodeHealth()
            known[node] = health
            return health
        }
    }

    @discardableResult
    private func erase(_ schema: CollectionSchema, _ name: CollectionName, _ context: CallContext) async -> Bool {
        var plan = makePlan(SchemaRegistry.Record(version: 0, isDropped: true, schema: schema), name, context.tenant)
        var results: [Result<Void, ClusterError>] = []
        for _ in 0..<Self.splitRounds {
            results = await fanOut("drop", context, deadline: deadline(context, configuration.writeTimeout), mode: .inTurn).ask(plan.targets) {
                (target, context) throws(ClusterError) in
                do throws(ClusterError) {
                    try await target.service.drop(DropRequest(shard: target.shard), context: context)
                } catch where error.code == .notFound {
                    // Dropped already.
                }
            }
            guard let next = divided(plan, after: failures(plan.targets, results)) else { break }
            plan = next
        }
        var isErased = true
        for (target, result) in zip(plan.targets, results) {
            guard case .failure(let error) = result else { continue }
            isErased = false
            log(.warning, "a shard of a dropped collection could not be erased yet",
                ["collection": "\(name)", "shard": "\(target.shard)", "node": "\(target.node)", "error": "\(error)"], context)
        }
        if isErased { erasures.withLock { $0[schema.incarnation] = $0[schema.incarnation] ?? clock.now() } }
        return isErased
    }

    // MARK: - What all calls share

    func failures<Reply>(_ targets: [ShardTarget], _ results: [Result<Reply, ClusterError>]) -> [(ShardID, ClusterError)] {
        zip(targets, results).compactMap { target, result in if case .failure(let error) = result { (target.shard, error) } else { nil } }
    }

    func deadline(_ context: CallContext, _ timeout: Duration) -> ContinuousClock.Instant { context.deadline ?? clock.now() + timeout }

    func fanOut(
        _ method: String, of plan: CollectionPlan? = nil, _ context: CallContext, deadline: ContinuousClock.Instant, mode: FanOut.Mode = .read,
        partial: PartialPolicy = .fail
    ) -> FanOut {
        FanOut(
            clock: clock, metrics: metrics, hedging: hedging, plan: plan, method: method, context: context, deadline: deadline, mode: mode,
            mayDegrade: partial == .degrade)
    }

    /// Does something that waits for the store, unless many do already. A tenant may have eight times as many at work as there is room left, so that
    /// one that floods leaves some to the others.
    func writing<Value>(_ tenant: TenantID, _ body: () async throws(ClusterError) -> Value) async throws(ClusterError) -> Value {
        let limit = configuration.maximumWrites
        let refusal: ClusterError? = writesAtWork.withLock { counts in
            let (total, own) = (counts.values.reduce(0, +), counts[tenant, default: 0])
            if total >= limit { return ClusterError(.unavailable, "\(limit) writes are at work, which is the limit; try again") }
            if own >= 8 * (limit - total) { return ClusterError(.resourceExhausted, "\(own) writes of this tenant are at work, which is its share; try again") }
            counts[tenant] = own + 1
            return nil
        }
        if let refusal { throw refusal }
        defer {
            writesAtWork.withLock { counts in
                let left = counts[tenant, default: 1] - 1
                counts[tenant] = left == 0 ? nil : left
            }
        }
        return try await body()
    }

    func log(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata, _ context: CallContext) {
        var metadata = metadata
        metadata["request"] = "\(context.requestID)"
        metadata["tenant"] = "\(context.tenant)"
        logger.log(level: level, message, metadata: metadata)
    }
}

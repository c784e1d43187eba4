import Coordination
import Model
import Observability
import Storage
import Synchronization
import Testing

@Suite("Collections") struct CollectionTests {
    @Test("a collection is created once, listed, found, dropped, and may be made anew")
    func life() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("docs")
        let first = try await cluster.coordinator.schema(of: name, context: cluster.context)
        #expect(first.shardCount == 4 && first.dimension == 2)
        await #expect(throws: ClusterError(.alreadyExists, "collection \"docs\" exists")) { try await cluster.make("docs") }
        try await cluster.make("docs-2")
        #expect(try await cluster.coordinator.collections(context: cluster.context).map(\.name) == ["docs", "docs-2"])
        #expect(try await cluster.coordinator.dropCollection(name, context: cluster.context))
        #expect(try await !cluster.coordinator.dropCollection(name, context: cluster.context))
        await #expect(throws: ClusterError(.notFound, "collection \"docs\" does not exist")) {
            try await cluster.coordinator.schema(of: name, context: cluster.context)
        }
        try await cluster.make("docs")
        #expect(try await cluster.coordinator.schema(of: name, context: cluster.context).incarnation != first.incarnation)
        #expect(try await cluster.coordinator.collections(context: cluster.context).map(\.name) == ["docs", "docs-2"])
    }

    @Test("of many who create the same collection at once one succeeds", arguments: 1...5)
    func creationRace(round: Int) async throws {
        let store = MemoryObjectStore()
        let cluster = try FakeCluster(store: store)
        let name = try CollectionName("race")
        let results = await withTaskGroup(of: Result<CollectionSchema, ClusterError>.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    do {
                        let coordinator = try FakeCluster.coordinator(cluster.nodes, store)
                        return .success(try await coordinator.createCollection(name, dimension: 2, metric: .dot, context: cluster.context))
                    } catch { return .failure(ClusterError(error)) }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let winners = results.compactMap { try? $0.get() }
        #expect(winners.count == 1)
        for case .failure(let error) in results { #expect(error.code == .alreadyExists) }
        #expect(try await cluster.coordinator.schema(of: name, context: cluster.context) == winners.first)
        // The losers leave nothing behind.
        let schemas = try await store.listAll(prefix: StoreKey.tenant(.default) + "c/")
        #expect(schemas == [StoreKey.schema(winners[0].incarnation, of: .default)])
    }

    @Test("a collection whose record is damaged is named when it is asked for, and the others are listed")
    func damagedRecord() async throws {
        let memory = MemoryObjectStore()
        let cluster = try FakeCluster(store: memory)
        for text in ["a", "b", "c"] {
            _ = try await cluster.coordinator.createCollection(try CollectionName(text), dimension: 2, metric: .dot, context: cluster.context)
        }
        let key = StoreKey.name(of: .default, collection: try CollectionName("b"), version: 1)
        var image = memory.contents
        image[key]![40] ^= 1
        let other = try FakeCluster.coordinator(cluster.nodes, MemoryObjectStore(objects: image))
        #expect(try await other.collections(context: cluster.context).map(\.name) == ["a", "c"])
        let error = await #expect(throws: ClusterError.self) { try await other.schema(of: try CollectionName("b"), context: cluster.context) }
        #expect(error?.code == .dataLoss && error?.message.hasPrefix(key) == true)
    }

    @Test("creating and dropping at once ends in a state that both kinds explain", arguments: 1...5)
    func churn(round: Int) async throws {
        let store = MemoryObjectStore()
        let cluster = try FakeCluster(store: store)
        let name = try CollectionName("churn")
        let (created, dropped) = await withTaskGroup(of: (Int, Int).self) { group in
            for task in 0..<8 {
                group.addTask {
                    guard let coordinator = try? FakeCluster.coordinator(cluster.nodes, store) else { return (0, 0) }
                    var counts = (0, 0)
                    for _ in 0..<10 {
                        if task % 2 == 0 {
                            if (try? await coordinator.createCollection(name, dimension: 2, metric: .dot, context: cluster.context)) != nil { counts.0 += 1 }
                        } else if (try? await coordinator.dropCollection(name, context: cluster.context)) == true {
                            counts.1 += 1
                        }
                    }
                    return counts
                }
            }
            return await group.reduce((0, 0)) { ($0.0 + $1.0, $0.1 + $1.1) }
        }
        let exists = try await !cluster.coordinator.collections(context: cluster.context).isEmpty
        #expect(created >= 1)
        #expect(created - dropped == (exists ? 1 : 0))
        #expect(try await store.listAll(prefix: StoreKey.names(of: .default, collection: name)).count == created + dropped)
    }

    @Test("a tenant sees its own collections only, whatever their names")
    func tenants() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("docs")
        let other = CallContext(requestID: RequestID("x"), tenant: try TenantID("other"))
        #expect(try await cluster.coordinator.collections(context: other).isEmpty)
        let refusal = ClusterError(.notFound, "collection \"docs\" does not exist")
        await #expect(throws: refusal) { try await cluster.coordinator.schema(of: name, context: other) }
        await #expect(throws: refusal) { try await cluster.coordinator.search(SearchQuery(vector: [1, 1], limit: 1), in: name, context: other) }
        await #expect(throws: refusal) { try await cluster.coordinator.write([.delete([.integer(1)])], to: name, context: other) }
        await #expect(throws: refusal) { try await cluster.coordinator.seal(name, context: other) }
        #expect(try await !cluster.coordinator.dropCollection(name, context: other))
        _ = try await cluster.coordinator.createCollection(name, dimension: 3, metric: .euclid, context: other)
        #expect(try await cluster.coordinator.schema(of: name, context: cluster.context).dimension == 2)
        #expect(try await cluster.coordinator.schema(of: name, context: other).dimension == 3)
    }

    @Test("what a caller may not touch does not exist for it, in every call, though it is known here")
    func scope() async throws {
        let cluster = try FakeCluster()
        let coordinator = cluster.coordinator
        let name = try await cluster.make("docs")
        _ = try await cluster.make("mine-1")
        let bound = CallContext(requestID: RequestID("bound"), tenant: .default, scope: try CollectionScope(["mine-*"]))
        let refusal = ClusterError(.notFound, "collection \"docs\" does not exist")
        let calls: [(String, @Sendable (CallContext) async throws -> Void)] = [
            ("schema", { _ = try await coordinator.schema(of: name, context: $0) }),
            ("status", { _ = try await coordinator.status(of: name, context: $0) }),
            ("search", { _ = try await coordinator.search(SearchQuery(vector: [1, 1], limit: 1), in: name, context: $0) }),
            ("retrieve", { _ = try await coordinator.retrieve([.integer(1)], from: name, context: $0) }),
            ("scroll", { _ = try await coordinator.scroll(name, limit: 1, context: $0) }),
            ("count", { _ = try await coordinator.count(name, context: $0) }),
            ("write", { try await coordinator.write([.delete([.integer(1)])], to: name, context: $0) }),
            ("seal", { try await coordinator.seal(name, context: $0) }),
            ("split", { _ = try await coordinator.split(0, of: name, isDry: true, context: $0) }),
            ("merge", { _ = try await coordinator.merge(0, of: name, isDry: true, context: $0) }),
        ]
        for (what, call) in calls { await #expect(throws: refusal, "\(what)") { try await call(bound) } }
        #expect(try await coordinator.collections(context: bound).map(\.name) == ["mine-1"])
        #expect(try await coordinator.status(context: bound).collections.map(\.schema.name) == ["mine-1"])
        #expect(try await !coordinator.dropCollection(name, context: bound))
        // Whether there is one or not.
        for outside in [name, try CollectionName("absent")] {
            let error = await #expect(throws: ClusterError.self) { try await coordinator.createCollection(outside, dimension: 2, metric: .dot, context: bound) }
            #expect(error?.code == .permissionDenied)
        }
        _ = try await coordinator.createCollection(try CollectionName("mine-2"), dimension: 2, metric: .dot, context: bound)
        #expect(try await coordinator.collections(context: cluster.context).map(\.name) == ["docs", "mine-1", "mine-2"])
    }

    @Test("what another coordinator dropped is gone after the staleness bound, and what it made anew is used at once when its shards say so")
    func staleness() async throws {
        let now = Mutex(ContinuousClock.now)
        let clock = DeadlineClock(now: { now.withLock { $0 } }, sleep: { try await ContinuousClock().sleep(until: $0) })
        let store = MemoryObjectStore()
        let cluster = try FakeCluster(store: store, clock: clock)
        let second = try FakeCluster.coordinator(cluster.nodes, store)
        let name = try await cluster.make("docs")
        _ = try await cluster.coordinator.schema(of: name, context: cluster.context)
        _ = try await second.dropCollection(name, context: cluster.context)
        #expect(try await cluster.coordinator.schema(of: name, context: cluster.context).dimension == 2)  // not asked again yet
        now.withLock { $0 += .seconds(2) }
        await #expect(throws: ClusterError(.notFound, "collection \"docs\" does not exist")) {
            try await cluster.coordinator.schema(of: name, context: cluster.context)
        }
        try await cluster.make("docs")
        _ = try await second.dropCollection(name, context: cluster.context)
        _ = try await second.createCollection(name, dimension: 3, metric: .dot, context: cluster.context)
        await #expect(throws: ClusterError(.invalidArgument, "query vector: expected 3 dimensions, found 2")) {
            try await cluster.coordinator.search(SearchQuery(vector: [1, 1], limit: 1), in: name, context: cluster.context)
        }
        try await cluster.coordinator.write([.upsert([Point(id: .integer(1), vector: [1, 2, 3])])], to: name, context: cluster.context)
        #expect(try await cluster.coordinator.count(name, context: cluster.context).count == 1)
    }

    /// A cluster whose clock stands still until it is told otherwise.
    private func clockedCluster(_ store: MemoryObjectStore) throws -> (FakeCluster, advance: @Sendable (Duration) -> Void) {
        let now = Mutex(ContinuousClock.now)
        let clock = DeadlineClock(now: { now.withLock { $0 } }, sleep: { try await ContinuousClock().sleep(until: $0) })
        return (try FakeCluster(store: store, clock: clock), { time in now.withLock { $0 += time } })
    }

    @Test("a shard that was away when its collection was dropped is erased later")
    func erasure() async throws {
        let store = MemoryObjectStore()
        let (cluster, advance) = try clockedCluster(store)
        let name = try await cluster.make("docs")
        let schema = try await cluster.coordinator.schema(of: name, context: cluster.context)
        cluster.nodes[3].fail { _, _ in .error(ClusterError(.unavailable, "away")) }
        #expect(try await cluster.coordinator.dropCollection(name, context: cluster.context))
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 1)
        cluster.nodes[3].heal()
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 0)
        #expect(cluster.nodes.map { $0.state.withLock { $0.dropped.count } } == [1, 1, 1, 1])
        advance(.seconds(7_201))
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 0)
        await #expect(throws: StoreError.self) { try await store.get(StoreKey.schema(schema.incarnation, of: .default)) }
    }

    @Test("H21: what ended is erased again when no call can be on its way any more, then forgotten, also if its name was used again")
    func sweep() async throws {
        let store = MemoryObjectStore()
        let (cluster, advance) = try clockedCluster(store)
        func dropCalls() -> Int { cluster.nodes.reduce(0) { $0 + $1.calls.count { $0 == "drop" } } }
        func records() async throws -> Int { try await store.listAll(prefix: StoreKey.names(of: .default)).count }
        let name = try await cluster.make("docs")
        _ = try await cluster.coordinator.dropCollection(name, context: cluster.context)
        try await cluster.make("docs")
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 0)
        advance(.seconds(7_199))
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 0)
        #expect(dropCalls() == 4)
        #expect(try await records() == 3)
        advance(.seconds(2))
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 0)
        #expect(dropCalls() == 8)
        // The name's record is all that is left of it, and it stands for the next one.
        #expect(try await records() == 1)
        #expect(try await store.listAll(prefix: StoreKey.tenant(.default) + "c/").count == 1)
        advance(.seconds(7_201))
        #expect(try await cluster.coordinator.finishDrops(context: cluster.context) == 0)
        #expect(dropCalls() == 8)
        #expect(try await cluster.coordinator.schema(of: name, context: cluster.context).dimension == 2)
    }

    @Test("what a user wrote into a collection's description is gone when it was swept")
    func metadata() async throws {
        let store = MemoryObjectStore()
        let (cluster, advance) = try clockedCluster(store)
        let name = try CollectionName("docs")
        _ = try await cluster.coordinator.createCollection(name, dimension: 2, metric: .dot, metadata: ["project": "needle"], context: cluster.context)
        _ = try await cluster.coordinator.dropCollection(name, context: cluster.context)
        _ = try await cluster.coordinator.finishDrops(context: cluster.context)
        advance(.seconds(7_201))
        _ = try await cluster.coordinator.finishDrops(context: cluster.context)
        #expect(store.contents.values.allSatisfy { !String(decoding: $0, as: UTF8.self).contains("needle") })
        #expect(store.contents.count == 1)
    }

    @Test("shards in which something was deleted are rewritten at half the deadline, once each, and again if that failed")
    func erasures() async throws {
        let store = MemoryObjectStore()
        let cluster = try FakeCluster(store: store)
        let name = try await cluster.make("docs")
        let schema = try await cluster.coordinator.schema(of: name, context: cluster.context)
        func mark(_ shard: Int, at time: UInt64) async throws {
            try await store.put(ErasureMark(markedAt: time, shard: schema.shard(shard, of: .default)).key, [], ifAbsent: true)
        }
        func seals() -> Int { cluster.nodes.reduce(0) { $0 + $1.calls.count { $0 == "seal" } } }
        for time in [1_000, 1_001, 44_000] as [UInt64] { try await mark(0, at: time) }
        try await mark(1, at: 2_000)
        try await mark(2, at: 44_100)
        #expect(try await cluster.coordinator.finishErasures(now: 44_199) == ErasureProgress(erased: 0, waiting: 3, failed: 0))
        #expect(seals() == 0)
        for node in cluster.nodes { node.fail { method, _ in method == "seal" ? .error(ClusterError(.unavailable, "away")) : nil } }
        #expect(try await cluster.coordinator.finishErasures(now: 45_300) == ErasureProgress(erased: 0, waiting: 1, failed: 2))
        #expect(try await store.listAll(prefix: ErasureMark.prefix).count == 5)
        for node in cluster.nodes { node.heal() }
        let before = seals()
        #expect(try await cluster.coordinator.finishErasures(now: 45_300) == ErasureProgress(erased: 2, waiting: 1, failed: 0))
        #expect(seals() == before + 2)
        #expect(try await store.listAll(prefix: ErasureMark.prefix).count == 1)
        // A clock was a year ahead when it was deleted: that is no reason to wait for a year.
        try await mark(1, at: 32_000_000)
        #expect(try await cluster.coordinator.finishErasures(now: 45_300) == ErasureProgress(erased: 1, waiting: 1, failed: 0))
        #expect(seals() == before + 3)
        // What is left of a collection that is gone needs no shard.
        try await store.delete(StoreKey.schema(schema.incarnation, of: .default))
        #expect(try await cluster.coordinator.finishErasures(now: 100_000) == ErasureProgress(erased: 1, waiting: 0, failed: 0))
        #expect(seals() == before + 3)
        #expect(try await store.listAll(prefix: ErasureMark.prefix).isEmpty)
    }

    @Test("sealing reaches every shard; status tells what they hold and which nodes are away")
    func operating() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("docs")
        try await cluster.coordinator.write([.upsert((0..<100).map { Point(id: .integer($0), vector: [1, 1]) })], to: name, context: cluster.context)
        #expect(try await cluster.coordinator.seal(name, context: cluster.context).reduce(0) { $0 + $1.points } == 100)
        let healthy = try await cluster.coordinator.status(context: cluster.context)
        #expect(healthy.nodes.map(\.isReachable) == [true, true, true, true] && healthy.nodes.map(\.node.rawValue) == ["node-0", "node-1", "node-2", "node-3"])
        #expect(healthy.collections.map(\.points) == [100] && healthy.collections[0].pointsExactly == 100 && healthy.collections[0].fileBytes == 80)
        #expect(healthy.collections[0].damaged == ["shard 1: segment-7: checksum"])
        cluster.nodes[0].fail { _, _ in .error(ClusterError(.unavailable, "away")) }
        let degraded = try await cluster.coordinator.status(context: cluster.context)
        #expect(degraded.nodes.map(\.isReachable) == [false, true, true, true])
        #expect(degraded.collections[0].gaps.map(\.node.rawValue) == ["node-0"] && degraded.collections[0].points < 100)
        #expect(await cluster.coordinator.readiness().isReady)
        for node in cluster.nodes { node.fail { _, _ in .error(ClusterError(.unavailable, "away")) } }
        let readiness = await cluster.coordinator.readiness()
        #expect(!readiness.isReady && readiness.storeError == nil && readiness.unreachable.count == 4)
        let error = await #expect(throws: ClusterError.self) { try await cluster.coordinator.seal(name, context: cluster.context) }
        #expect(error?.message.hasPrefix("0 of 4 shards of \"docs\" are sealed; shard 0 on node ") == true)
    }

    @Test("an impossible collection or configuration is refused by field, limit and value")
    func validation() async throws {
        let cluster = try FakeCluster()
        await #expect(throws: ClusterError(.invalidArgument, "dimension must be 1…4096, found 0")) { try await cluster.make("c", dimension: 0) }
        await #expect(throws: ClusterError(.invalidArgument, "shard count must be 1…256, found 257")) { try await cluster.make("c", shards: 257) }
        #expect(throws: ClusterError(.invalidArgument, "maximumLimit must be at least 1, found 0")) { try FakeCluster { $0.maximumLimit = 0 } }
        #expect(throws: ClusterError(.invalidArgument, "the cluster has no shard node")) { try FakeCluster(nodes: 0) }
    }

    @Test("searches, failures and times are in the metrics by tenant and node")
    func metrics() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("docs")
        _ = try await cluster.coordinator.search(SearchQuery(vector: [1, 1], limit: 1), in: name, context: cluster.context)
        cluster.nodes[0].fail { _, _ in .error(ClusterError(.unavailable, "away")) }
        _ = try await cluster.coordinator.search(SearchQuery(vector: [1, 1], limit: 1), in: name, context: cluster.context)
        let text = cluster.metrics.render()
        #expect(text.contains("covey_searches_total{tenant=\"default\",outcome=\"complete\"} 1\n"))
        #expect(text.contains("covey_searches_total{tenant=\"default\",outcome=\"partial\"} 1\n"))
        #expect(text.contains("covey_shard_call_failures_total{node=\"node-0\",method=\"search\",code=\"unavailable\"} 1\n"))
    }
}

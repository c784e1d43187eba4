import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("Snapshots")
struct SnapshotTests {
    /// A collection of several shards in a store, a node that serves it, and what it holds.
    private struct Fixture {
        let store: any ObjectStore
        let schema: CollectionSchema
        let name: CollectionName
        var model = ShardModel()

        init(store: any ObjectStore = MemoryObjectStore(), shardCount: Int = 3) async throws {
            self.store = store
            name = try CollectionName("kept")
            schema = CollectionSchema(
                name: name, incarnation: .random(), dimension: 8, metric: .euclid, shardCount: shardCount, createdAt: 0, metadata: ["a": "b"])
            _ = try await SchemaRegistry(store: store).create(schema, named: name, tenant: .default)
        }

        func node(_ store: (any ObjectStore)? = nil, seals: Int = 1_000_000) async throws -> ShardNode {
            let harness = try await Harness(store: store ?? self.store)
            try await harness.store.delete(StoreKey.schema(harness.schema.incarnation, of: .default))
            return harness.node {
                $0.entryBytes = 4_096
                $0.sealPoints = seals
                $0.exactScanThreshold = 0
                $0.verifyTimeout = .seconds(60)
            }
        }

        mutating func write(_ operations: [AppendRequest.Operation], _ node: ShardNode, request: String? = nil) async throws {
            model.apply(operations)
            try await Self.write(operations, schema, node, request: request)
        }

        static func write(_ operations: [AppendRequest.Operation], _ schema: CollectionSchema, _ node: ShardNode, request: String? = nil) async throws {
            let context = CallContext(requestID: .random(), tenant: .default)
            let id = request.map { RequestID($0) } ?? .random()
            for shard in schema.firstShards(of: .default) {
                let own = operations.compactMap { operation -> AppendRequest.Operation? in
                    switch operation {
                    case .upsert(let points):
                        let own = points.filter { schema.firstShardIndex(of: $0.id) == shard.index }
                        return own.isEmpty ? nil : .upsert(own)
                    case .delete(let ids):
                        let own = ids.filter { schema.firstShardIndex(of: $0) == shard.index }
                        return own.isEmpty ? nil : .delete(own)
                    case .deleteWhere: return operation
                    }
                }
                // As coordinators do: a snapshot's barrier just behind a claim makes it void (H3).
                for attempt in 0..<3 where !own.isEmpty {
                    let result: Result<AppendReply, ClusterError>
                    do throws(ClusterError) {
                        result = .success(try await node.append(AppendRequest(shard: shard, operations: own, id: id), context: context))
                    } catch { result = .failure(error) }
                    if attempt < 2, case .failure(let error) = result, error.code == .aborted { continue }
                    _ = try result.get()
                    break
                }
            }
        }

        func seal(_ node: ShardNode) async throws {
            for shard in schema.firstShards(of: .default) {
                _ = try await node.seal(SealRequest(shard: shard), context: CallContext(requestID: .random(), tenant: .default))
            }
        }
    }

    private static func contents(_ schema: CollectionSchema, _ node: ShardNode, tenant: TenantID = .default) async throws -> [StoredPoint] {
        var points: [StoredPoint] = []
        for shard in schema.firstShards(of: tenant) {
            let request = FetchRequest(shard: shard, selection: .page(from: nil, limit: 100_000, filter: nil), withVector: true)
            points += try await node.fetch(request, context: CallContext(requestID: .random(), tenant: tenant)).points
        }
        return points.sorted { $0.id < $1.id }
    }

    private static func search(_ schema: CollectionSchema, _ node: ShardNode, _ query: [Float], tenant: TenantID = .default) async throws -> [PointID] {
        var hits: [Hit] = []
        for shard in schema.firstShards(of: tenant) {
            let request = SearchRequest(shard: shard, [ShardSearch(vector: query, limit: 10, effort: SearchEffort())])
            hits += try await node.search(request, context: CallContext(requestID: .random(), tenant: tenant)).results[0].hits
        }
        return hits.sorted { ($0.score, $0.id) < ($1.score, $1.id) }.prefix(10).map(\.id)
    }

    private func point(_ id: UInt64, _ random: inout SeededRandom) -> Point {
        Point(
            id: id % 2 == 0 ? .integer(id) : .uuid(high: id &* 0x9e37_79b9_7f4a_7c15, low: id), vector: (0..<8).map { _ in Float.random(in: -1...1, using: &random) },
            payload: ["n": .integer(Int64(id)), "text": .string(String(repeating: "word ", count: Int(id % 30)))])
    }

    private func filled(_ store: any ObjectStore = MemoryObjectStore()) async throws -> (Fixture, ShardNode) {
        var random = SeededRandom(seed: 11)
        var fixture = try await Fixture(store: store)
        let node = try await fixture.node()
        let points = (0..<3_000).map { point(UInt64($0), &random) }
        try await fixture.write([.upsert(Array(points[..<2_500]))], node)
        try await fixture.seal(node)
        try await fixture.write([.upsert(Array(points[2_500...])), .delete(points[100..<180].map(\.id))], node, request: "last")
        try await fixture.write([.upsert([point(7, &random), point(8, &random)])], node)
        return (fixture, node)
    }

    @Test("what is restored has the same points, payloads and answers, whatever its number of shards, name and tenant", arguments: [3, 1, 7, 16])
    func restore(shardCount: Int) async throws {
        let (fixture, node) = try await filled()
        let file = StoreKey.file("file-0123456789abcdef01234567", of: .default)
        try await fixture.store.put(file + "content", [1, 2, 3], ifAbsent: true)
        try await fixture.store.put(file + "about/" + StoreKey.twentyDigits(1), Array("{\"sha256\":\"\(hex(sha256([1, 2, 3])))\"}".utf8), ifAbsent: true)
        try await fixture.store.put(file + "attached/\(fixture.schema.incarnation)", Array("{\"collection\":\"kept\",\"document\":\"d\"}".utf8), ifAbsent: true)
        let other = MemoryObjectStore()
        let record = try await SnapshotWriter(source: fixture.store, tenant: .default, target: other).write([fixture.name], id: "s")
        #expect(record.collections.map(\.points) == [fixture.model.points.count])
        let target = MemoryObjectStore()
        let tenant = try TenantID("elsewhere")
        let restorer = try await SnapshotRestorer(snapshot: other, store: target, tenant: tenant, threads: 1)
        let schema = try await restorer.restore(record.collections[0], as: try CollectionName("again"), shardCount: shardCount)
        #expect(schema.shardCount == shardCount && schema.metadata == ["a": "b"] && schema.incarnation != fixture.schema.incarnation)
        #expect(try await SchemaRegistry(store: target).newest(try CollectionName("again"), tenant: tenant)?.schema == schema)

        let restored = try await fixture.node(target)
        let before = try await Self.contents(fixture.schema, node)
        let after = try await Self.contents(schema, restored, tenant: tenant)
        #expect(before.map(\.id) == fixture.model.sorted().map(\.id))
        #expect(after.map(\.id) == before.map(\.id) && after.map(\.vector) == before.map(\.vector) && after.map(\.payload) == before.map(\.payload))
        var (found, foundBefore) = (0, 0)
        var random = SeededRandom(seed: 5)
        for _ in 0..<100 {
            let query = (0..<8).map { _ in Float.random(in: -1...1, using: &random) }
            let exact = Set(fixture.model.nearest(query, limit: 10, filter: nil))
            let answers = (try await Self.search(fixture.schema, node, query), try await Self.search(schema, restored, query, tenant: tenant))
            foundBefore += exact.intersection(answers.0).count
            found += exact.intersection(answers.1).count
            // The same objects give the same answers.
            if shardCount == fixture.schema.shardCount { #expect(answers.0 == answers.1) }
        }
        // What a search aims at is 0.97; smaller shards give more.
        #expect(foundBefore >= 960 && found >= 960, "recall \(foundBefore) before, \(found) after, of 1000")
        // A request that was applied before is not applied again, and writes go on.
        let attached = try await target.get(StoreKey.file("file-0123456789abcdef01234567", of: tenant) + "attached/\(schema.incarnation)")
        #expect(try JSONValue(parsing: attached)["collection"]?.string == "again")
        for shard in schema.firstShards(of: tenant) {
            let context = CallContext(requestID: .random(), tenant: tenant)
            _ = try await restored.append(AppendRequest(shard: shard, operations: [.delete(before.map(\.id))]), context: context)
            _ = try await restored.seal(SealRequest(shard: shard), context: context)
        }
        #expect(try await Self.contents(schema, restored, tenant: tenant).isEmpty)
        await restored.close()
        await node.close()
    }

    @Test("H17: a segment that a seal deletes before it is copied makes the snapshot read the newest manifest again")
    func deletedBeforeItIsCopied() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-snapshot-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try LocalObjectStore(root: root)
        let (fixture, node) = try await filled(store)
        try await fixture.seal(node)
        let late = FaultObjectStore(store)
        let isFirst = Atomic(true)
        let added = Point(id: .integer(1_000_000), vector: Array(repeating: 1, count: 8))
        late.follow { [schema = fixture.schema] call in
            guard case .localFile = call, isFirst.exchange(false, ordering: .relaxed) else { return }
            try? await Fixture.write([.upsert([added])], schema, node)
            for shard in schema.firstShards(of: .default) {
                _ = try? await node.seal(SealRequest(shard: shard), context: CallContext(requestID: .random(), tenant: .default))
            }
        }
        let shelf = SnapshotShelf(store: store, tenant: .default)
        let record = try await SnapshotWriter(source: late, tenant: .default, target: try shelf.snapshot("late")).write(nil, id: "late")
        #expect(record.collections.count == 1 && !isFirst.load(ordering: .relaxed))
        await node.close()
    }

    @Test("H17, H23: whatever owners do between two of its calls, it is whole", arguments: 1...8 as ClosedRange<UInt64>)
    func betweenItsCalls(seed: UInt64) async throws {
        enum Event: CaseIterable { case write, erase, seal, split }
        var random = SeededRandom(seed: seed)
        let luck = Mutex(SeededRandom(seed: seed))
        for run in 0..<40 {
            let memory = MemoryObjectStore()
            let fixture = try await Fixture(store: memory, shardCount: 1)
            let schema = fixture.schema
            // What owners supersede they delete later now and then.
            let owners = FaultObjectStore(memory)
            let node = try await fixture.node(owners)
            let context = CallContext(requestID: .random(), tenant: .default)
            // The last is deleted by what comes between.
            try await Fixture.write([.upsert((0..<8).map { Point(id: .integer($0), vector: Array(repeating: Float($0), count: 8)) })], schema, node)
            for _ in 0..<Int.random(in: 0..<3, using: &random) {
                try await fixture.seal(node)
                try await Fixture.write([.upsert([Point(id: .integer(0), vector: Array(repeating: 1, count: 8))])], schema, node)
            }
            if Bool.random(using: &random) { try await fixture.seal(node) }
            var events: [Int: Event] = [:]
            // It makes fifteen, if nothing comes between.
            for _ in 0..<Int.random(in: 1..<5, using: &random) { events[Int.random(in: 1..<16, using: &random)] = Event.allCases.randomElement(using: &random)! }
            owners.replace { call in
                if case .delete = call, luck.withLock({ Bool.random(using: &$0) }) { return .lost }
                return .none
            }
            let late = FaultObjectStore(memory)
            let calls = Atomic(0)
            late.follow { [events] _ in
                guard let event = events[calls.wrappingAdd(1, ordering: .relaxed).newValue] else { return }
                // Who is no more, or not yet, refuses.
                let halves = ShardLayout.children(of: 0, firstCount: 1)
                let shards = [0, halves.lower, halves.upper].map { schema.shard($0, of: .default) }
                for shard in shards {
                    let range = ShardLayout.range(of: shard.index, firstCount: 1)!
                    let ids = ([7] + (100..<120)).map(PointID.integer).filter { range.contains($0.hash) }
                    switch event {
                    case .write:
                        let points = ids.filter { $0 != .integer(7) }.map { Point(id: $0, vector: Array(repeating: 0, count: 8)) }
                        _ = try? await node.append(AppendRequest(shard: shard, operations: [.upsert(points)]), context: context)
                    case .erase: _ = try? await node.append(AppendRequest(shard: shard, operations: [.delete(ids)]), context: context)
                    case .seal: _ = try? await node.seal(SealRequest(shard: shard), context: context)
                    case .split: if shard.index == 0 { _ = try? await node.seal(SealRequest(shard: shard, split: true), context: context) }
                    }
                }
            }
            let target = MemoryObjectStore()
            let record: SnapshotRecord
            do { record = try await SnapshotWriter(source: late, tenant: .default, target: target).write([fixture.name], id: "s") } catch {
                Issue.record("run \(run): \(events): \(error)")
                continue
            }
            let copy = try await fixture.node(target)
            var ids: Set<PointID> = []
            for index in record.collections[0].shards {
                let request = FetchRequest(shard: schema.shard(index, of: .default), selection: .page(from: nil, limit: 1_000, filter: nil), withVector: false)
                ids.formUnion(try await copy.fetch(request, context: context).points.map(\.id))
            }
            #expect(ids.count == record.collections[0].points && (0..<7).allSatisfy { ids.contains(.integer($0)) }, "run \(run): \(events)")
            await copy.close()
            await node.close()
        }
    }

    @Test("H3, H17: a late claim in a hole of a log that has ended, erased while it is copied, is no damage")
    func lateClaimInAnEnd() async throws {
        let memory = MemoryObjectStore()
        let fixture = try await Fixture(store: memory, shardCount: 1)
        let (schema, shard) = (fixture.schema, fixture.schema.shard(0, of: .default))
        let node = try await fixture.node()
        for id in UInt64(0)..<8 { try await Fixture.write([.upsert([Point(id: .integer(id), vector: Array(repeating: 1, count: 8))])], schema, node) }
        try await fixture.seal(node)
        _ = try await node.seal(SealRequest(shard: shard, split: true), context: CallContext(requestID: .random(), tenant: .default))
        await node.close()
        let hole = StoreKey.log(shard, position: 3)
        #expect(try await !memory.listAll(prefix: StoreKey.log(shard)).contains(hole))
        let claim = LogEntry(position: 3, epoch: 2, writer: LogWriterID(node: NodeID("late"), incarnation: 1), nonce: .random(), content: .claim)
        try await memory.put(hole, claim.encoded(), ifAbsent: true)
        let late = FaultObjectStore(memory)
        late.follow { call in
            // Read, and gone before it is copied.
            if case .get(hole) = call { try? await memory.delete([hole]) }
        }
        let record = try await SnapshotWriter(source: late, tenant: .default, target: MemoryObjectStore()).write([fixture.name], id: "s")
        #expect(try await !memory.listAll(prefix: StoreKey.log(shard)).contains(hole))
        #expect(record.collections[0].points == 8 && !record.objects.map(\.key).contains(hole))
    }

    @Test("snapshots lie in the store, are listed, verified and deleted, and can be served as they are")
    func shelf() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-snapshot-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try LocalObjectStore(root: root)
        let (fixture, node) = try await filled(store)
        await node.close()
        let shelf = SnapshotShelf(store: store, tenant: .default)
        let before = try await store.listAll(prefix: "")
        let record = try await SnapshotWriter(source: store, tenant: .default, target: try shelf.snapshot("one")).write(nil, id: "one")
        _ = try await SnapshotWriter(source: store, tenant: .default, target: try shelf.snapshot("two")).write([fixture.name], id: "two")
        await #expect(throws: ClusterError.self) { try await SnapshotWriter(source: store, tenant: .default, target: try shelf.snapshot("two")).write(nil, id: "two") }
        #expect(try await shelf.list().map(\.id) == ["one", "two"])
        #expect(try await shelf.list().compactMap(\.record).map(\.collections.count) == [1, 1])
        func findings(_ store: any ObjectStore) async throws -> [StoreFinding] {
            let found = Mutex<[StoreFinding]>([])
            let outside = try await StoreAudit(store: store, pause: {}).run { tenant in found.withLock { $0 += tenant.allFindings } }
            return (outside + found.withLock { $0 }).filter { $0.kind != .pending }
        }
        #expect(try await findings(store).isEmpty)
        #expect(try await findings(try shelf.snapshot("one")).isEmpty)
        let served = try await fixture.node(try shelf.snapshot("one"))
        #expect(try await Self.contents(fixture.schema, served).map(\.id) == fixture.model.sorted().map(\.id))
        await served.close()
        // Damage is found, and never restored.
        let victim = try #require(record.objects.first { $0.key.contains("/segment/") }).key
        var bytes = try await shelf.snapshot("one").get(victim)
        bytes[bytes.count / 2] ^= 1
        try await shelf.snapshot("one").put(victim, bytes, ifAbsent: false)
        let damaged = try await findings(store)
        #expect(damaged.map(\.key) == [StoreKey.snapshot("one", of: .default) + victim], "\(damaged)")
        let restorer = try await SnapshotRestorer(snapshot: try shelf.snapshot("one"), store: store, tenant: .default, threads: 1)
        for shardCount in [3, 2] {
            let error = await #expect(throws: ClusterError.self) {
                try await restorer.restore(record.collections[0], as: try CollectionName("never"), shardCount: shardCount)
            }
            #expect(error?.code == .dataLoss)
        }
        let taken = await #expect(throws: ClusterError.self) { try await restorer.restore(record.collections[0], as: fixture.name) }
        #expect(taken?.code == .alreadyExists)
        for id in ["one", "two"] { try await shelf.delete(id) }
        await #expect(throws: ClusterError.self) { try await shelf.delete("one") }
        #expect(try await shelf.list().isEmpty)
        #expect(try await store.listAll(prefix: "") == before)
    }

    @Test("H17, H23: beside writes and seals a snapshot is whole, and holds all that was acknowledged before it began", arguments: 1...10 as ClosedRange<UInt64>)
    func besideWriters(seed: UInt64) async throws {
        let random = Mutex(SeededRandom(seed: seed))
        let faults = FaultObjectStore(MemoryObjectStore()) { _ in
            for _ in 0..<random.withLock({ Int.random(in: 0..<4, using: &$0) }) { await Task.yield() }
            return .none
        }
        let fixture = try await Fixture(store: faults, shardCount: 2)
        let schema = fixture.schema
        let node = try await fixture.node(seals: 40)
        /// Steps written; each is one point more, and one that says how far it is.
        let acknowledged = Mutex<UInt64>(0)
        let isWriting = Mutex(true)
        async let writing: Void = {
            defer { isWriting.withLock { $0 = false } }
            for step in UInt64(1)...60 {
                let text: JSONValue = .string(String(repeating: "x", count: step % 5 == 0 ? 900 : 10))
                let points = (0..<5).map { Point(id: .integer(step * 5 + $0), vector: Array(repeating: Float(step), count: 8), payload: ["t": text]) }
                try await Fixture.write([.upsert(points), .upsert([Point(id: .integer(0), vector: Array(repeating: Float(step), count: 8))])], schema, node)
                acknowledged.withLock { $0 = step }
            }
        }()
        var snapshots = 0
        while isWriting.withLock({ $0 }) || snapshots == 0 {
            let before = acknowledged.withLock { $0 }
            let target = MemoryObjectStore()
            let record = try await SnapshotWriter(source: faults, tenant: .default, target: target).write([fixture.name], id: "s")
            let copy = try await fixture.node(target)
            let points = try await Self.contents(schema, copy)
            #expect(points.count == record.collections[0].points)
            let ids = Set(points.map(\.id))
            #expect((0..<before * 5).allSatisfy { before == 0 || $0 == 0 || $0 < 5 || ids.contains(.integer($0)) })
            if before > 0 { #expect(points.first { $0.id == .integer(0) }.map { $0.vector[0] >= Float(before) } ?? false) }
            await copy.close()
            snapshots += 1
        }
        try await writing
        await node.close()
        #expect(snapshots > 1)
    }

    @Test("H23: a causal snapshot has no write without those that were acknowledged or seen before it began", arguments: 1...8 as ClosedRange<UInt64>)
    func causal(seed: UInt64) async throws {
        let random = Mutex(SeededRandom(seed: seed))
        let faults = FaultObjectStore(MemoryObjectStore()) { _ in
            for _ in 0..<random.withLock({ Int.random(in: 0..<6, using: &$0) }) { await Task.yield() }
            return .none
        }
        let fixture = try await Fixture(store: faults, shardCount: 3)
        let schema = fixture.schema
        let node = try await fixture.node(seals: 40)
        // One point of each shard: step after step goes from one to the next.
        let ids = (0..<3).map { shard in (0...).lazy.map(PointID.integer).first { schema.firstShardIndex(of: $0) == shard }! }
        let isWriting = Mutex(true)
        func point(_ shard: Int, _ step: Int) -> Point { Point(id: ids[shard], vector: Array(repeating: Float(step), count: 8)) }
        async let writing: Void = {
            defer { isWriting.withLock { $0 = false } }
            for step in 1...60 {
                try await Fixture.write([.upsert([point(0, step)])], schema, node)
                // Who saw it, not who wrote it, goes on.
                async let second: Void = {
                    let read = FetchRequest(shard: schema.firstShards(of: .default)[1], selection: .page(from: nil, limit: 1, filter: nil), withVector: true)
                    for _ in 0..<1_000_000 {
                        guard try await node.fetch(read, context: CallContext(requestID: .random(), tenant: .default)).points.first?.vector[0] == Float(step) else {
                            await Task.yield()
                            continue
                        }
                        return try await Fixture.write([.upsert([point(2, step)])], schema, node)
                    }
                }()
                try await Fixture.write([.upsert([point(1, step)])], schema, node)
                try await second
            }
        }()
        var snapshots = 0
        while isWriting.withLock({ $0 }) || snapshots == 0 {
            let target = MemoryObjectStore()
            let record = try await SnapshotWriter(source: faults, tenant: .default, target: target).write([fixture.name], id: "s", causal: true)
            #expect(record.cut != nil && record.collections[0].shards == [0, 1, 2])
            let copy = try await fixture.node(target)
            let points = try await Self.contents(schema, copy)
            let steps = ids.map { id in points.first { $0.id == id }?.vector[0] ?? 0 }
            #expect(steps[0] >= steps[1] && steps[1] >= steps[2], "\(steps)")
            await copy.close()
            snapshots += 1
        }
        try await writing
        await node.close()
        #expect(snapshots > 1)
    }

    @Test("H23: a causal snapshot is whole, is served and restored as others are, and a shard that is sealed between its barrier and the copy makes it begin anew")
    func causalAndSealed() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-snapshot-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try LocalObjectStore(root: root)
        let (fixture, node) = try await filled(store)
        let schema = fixture.schema
        let late = FaultObjectStore(store)
        let isFirst = Atomic(true)
        let added = Point(id: .integer(1_000_000), vector: Array(repeating: 1, count: 8))
        late.follow { call in
            guard case .put(let key) = call, key.hasPrefix(StoreKey.cuts(of: .default)), isFirst.exchange(false, ordering: .relaxed) else { return }
            for shard in schema.firstShards(of: .default) {
                _ = try? await node.append(AppendRequest(shard: shard, operations: [.delete([.integer(0)])]), context: CallContext(requestID: .random(), tenant: .default))
                _ = try? await node.seal(SealRequest(shard: shard), context: CallContext(requestID: .random(), tenant: .default))
            }
        }
        let shelf = SnapshotShelf(store: store, tenant: .default)
        let record = try await SnapshotWriter(source: late, tenant: .default, target: try shelf.snapshot("one")).write(nil, id: "one", causal: true)
        let wasSealed = !isFirst.load(ordering: .relaxed)
        #expect(wasSealed)
        // The first attempt's cut was made, too: owners went on.
        #expect(try await store.listAll(prefix: StoreKey.cuts(of: .default)).count == 2)
        #expect(record.collections[0].points == fixture.model.points.count - 1)
        // What comes after it is not in it.
        try await Fixture.write([.upsert([added])], schema, node)
        let found = Mutex<[StoreFinding]>([])
        for audited in [store, try shelf.snapshot("one")] as [any ObjectStore] {
            let outside = try await StoreAudit(store: audited, pause: {}).run { tenant in found.withLock { $0 += tenant.allFindings } }
            #expect((outside + found.withLock { $0 }).filter(\.isProblem).isEmpty)
        }
        let served = try await fixture.node(try shelf.snapshot("one"))
        #expect(try await Self.contents(schema, served).count == record.collections[0].points)
        await served.close()
        let target = MemoryObjectStore()
        let restorer = try await SnapshotRestorer(snapshot: try shelf.snapshot("one"), store: target, tenant: .default, threads: 1)
        for (name, shards) in [("same", nil), ("wide", 5)] as [(String, Int?)] {
            let schema = try await restorer.restore(record.collections[0], as: try CollectionName(name), shardCount: shards)
            let restored = try await fixture.node(target)
            try await Fixture.write([.upsert([added])], schema, restored)
            #expect(try await Self.contents(schema, restored).count == record.collections[0].points + 1)
            await restored.close()
        }
        await node.close()
    }

    @Test("H23: a causal snapshot that finds no moment in time says why, and leaves nothing that stops a writer")
    func noMoment() async throws {
        let memory = MemoryObjectStore()
        let fixture = try await Fixture(store: memory)
        let node = try await fixture.node()
        try await Fixture.write([.upsert((0..<30).map { Point(id: .integer($0), vector: Array(repeating: 1, count: 8)) })], fixture.schema, node)
        // Every decision comes too late.
        let late = FaultObjectStore(memory) { call in
            if case .put(let key) = call, key.hasPrefix(StoreKey.cuts(of: .default)) { try? await memory.put(key, Cut.Decision.abandoned.encoded(), ifAbsent: true) }
            return .none
        }
        let clock = DeadlineClock(now: { ContinuousClock.now }, sleep: { _ in })
        let writer = SnapshotWriter(source: late, tenant: .default, target: MemoryObjectStore(), clock: clock)
        let error = await #expect(throws: ClusterError.self) { try await writer.write([fixture.name], id: "s", causal: true) }
        #expect(error?.code == .unavailable && error?.message.contains("waited too long") == true, "\(error?.message ?? "")")
        try await Fixture.write([.delete([.integer(1)])], fixture.schema, node)
        #expect(try await Self.contents(fixture.schema, node).count == 29)
        await node.close()
    }
}

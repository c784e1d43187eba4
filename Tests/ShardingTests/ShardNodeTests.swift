import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("Shard node")
struct ShardNodeTests {
    private func clustered(_ harness: Harness, count: Int, seed: UInt64) -> [Point] {
        var random = SeededRandom(seed: seed)
        let centers = (0..<40).map { _ in (0..<harness.schema.dimension).map { _ in Float.random(in: -1...1, using: &random) } }
        return (0..<count).map { number in
            let center = centers[number % centers.count]
            return Point(
                id: .integer(UInt64(number)), vector: center.map { $0 + Float.random(in: -0.3...0.3, using: &random) },
                payload: ["group": .integer(Int64(number % 10)), "text": .string("text \(number / 2)")])
        }
    }

    @Test("a sealed shard is searched by code, with a good recall, and says so; no result is cached")
    func searchedByCode() async throws {
        let harness = try await Harness(dimension: 32)
        let node = harness.node { $0.exactScanThreshold = 0 }
        let points = clustered(harness, count: 4_000, seed: 1)
        try await harness.upsert(points, on: node)
        #expect(try await harness.search(node, points[0].vector).work.pointsExactly == 4_000)
        #expect(try await harness.seal(node) == SealReply(points: 4_000, segments: 1))
        #expect(try await harness.status(node).pointsByCode == 4_000)
        var model = ShardModel()
        model.apply([.upsert(points)])
        var found = 0
        for index in stride(from: 0, to: 4_000, by: 100) {
            let query = points[index].vector.map { $0 + 0.01 }
            let reply = try await harness.search(node, query)
            #expect(reply.work.pointsByCode == 4_000 && reply.work.pointsExactly == 0 && reply.work.codesScanned > 0)
            found += Set(reply.hits.map(\.id)).intersection(model.nearest(query, limit: 10, filter: nil)).count
            // The same question costs the same work again.
            #expect(try await harness.search(node, query).work == reply.work)
        }
        #expect(found >= 380, "recall \(Double(found) / 400)")
        let filter = Filter(must: [.match(key: "group", anyOf: [3])])
        let reply = try await harness.search(node, points[0].vector, filter: filter, effort: SearchEffort(exact: true))
        #expect(reply.hits.map(\.id) == model.nearest(points[0].vector, limit: 10, filter: filter))
        #expect(Set(reply.hits.map(\.contentHash)).count > 1 && !reply.hits.map(\.contentHash).contains(0))
        await node.close()
    }

    @Test("many searches of one request are answered as each alone, in slices between which others are served")
    func many() async throws {
        let harness = try await Harness(dimension: 32)
        // Each look at the clock costs a millisecond: two searches a slice.
        let looks = Mutex(0)
        let start = ContinuousClock.now
        let clock = DeadlineClock(
            now: { start + .milliseconds(looks.withLock { looks in looks += 1; return looks }) }, sleep: { try await ContinuousClock().sleep(until: $0) })
        let node = harness.node(clock: clock) { $0.exactScanThreshold = 0 }
        let points = clustered(harness, count: 2_000, seed: 5)
        try await harness.upsert(Array(points[..<1_500]), on: node)
        try await harness.seal(node)
        try await harness.upsert(Array(points[1_500...]), on: node)
        let searches = (0..<51).map { number in
            ShardSearch(
                vector: points[number * 30].vector, limit: 1 + number % 9,
                filter: number % 3 == 0 ? Filter(must: [.match(key: "group", anyOf: [.integer(Int64(number % 4))])]) : nil,
                effort: number % 5 == 0 ? SearchEffort(exact: true) : SearchEffort(targetRecall: 0.9))
        }
        let before = looks.withLock { $0 }
        let reply = try await node.search(SearchRequest(shard: harness.shard, searches), context: harness.context())
        #expect(reply.results.count == 51)
        // One when a slice begins and one before each further search: 51 if there were one slice only.
        #expect(looks.withLock { $0 } - before > 70)
        for (search, result) in zip(searches, reply.results) {
            let alone = try await node.search(SearchRequest(shard: harness.shard, [search]), context: harness.context())
            #expect(alone.results == [result] && alone.position == reply.position)
        }
        let many = [ShardSearch](repeating: ShardSearch(vector: points[0].vector, limit: 60_000), count: 2)
        await #expect(throws: ClusterError(.invalidArgument, "the limits of searches may add up to 100000, found 120000")) {
            try await node.search(SearchRequest(shard: harness.shard, many), context: harness.context())
        }
        await node.close()
    }

    @Test("a shard of a tenant is reachable by that tenant alone")
    func tenants() async throws {
        let harness = try await Harness()
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        let foreign = CallContext(requestID: .random(), tenant: try TenantID("other"))
        let errors = [
            await #expect(throws: ClusterError.self) { try await node.search(SearchRequest(shard: harness.shard, [ShardSearch(vector: [0, 0, 0, 0], limit: 1)]), context: foreign) },
            await #expect(throws: ClusterError.self) { try await node.count(CountRequest(shard: harness.shard), context: foreign) },
            await #expect(throws: ClusterError.self) { try await node.append(AppendRequest(shard: harness.shard, operations: []), context: foreign) },
            await #expect(throws: ClusterError.self) { try await node.drop(DropRequest(shard: harness.shard), context: foreign) },
            await #expect(throws: ClusterError.self) { try await node.status(StatusRequest(shards: [harness.shard]), context: foreign) },
        ]
        #expect(errors.allSatisfy { $0?.code == .permissionDenied })
        #expect(try await node.status(StatusRequest(), context: foreign).shards.isEmpty)
        await node.close()
    }

    @Test("wrong vectors, limits and collections are refused by name")
    func refusals() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let wrong = await #expect(throws: ClusterError.self) { try await harness.upsert([Point(id: .integer(1), vector: [1])], on: node) }
        #expect(wrong == ClusterError(.invalidArgument, "vector of point 1: expected 4 dimensions, found 1"))
        let infinite = await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(1, .infinity)], on: node) }
        #expect(infinite?.code == .invalidArgument)
        let query = await #expect(throws: ClusterError.self) { try await harness.search(node, [1, 2]) }
        #expect(query?.code == .invalidArgument)
        let limit = await #expect(throws: ClusterError.self) { try await harness.search(node, [0, 0, 0, 0], limit: -1) }
        #expect(limit?.code == .invalidArgument)
        let large = await #expect(throws: ClusterError.self) {
            try await harness.upsert([harness.point(1, 0, ["text": .string(String(repeating: "x", count: 9 << 20))])], on: node)
        }
        #expect(large?.code == .invalidArgument)
        let small = harness.node { $0.requestBytes = 8_000 }
        let request = await #expect(throws: ClusterError.self) { try await harness.upsert((0..<200).map { harness.point($0) }, on: small) }
        #expect(request == ClusterError(.invalidArgument, "the request has 9856 bytes for one shard, the limit is 8000"))
        await small.close()
        let missing = ShardID(tenant: .default, incarnation: Incarnation(9), index: 0)
        let absent = await #expect(throws: ClusterError.self) { try await node.count(CountRequest(shard: missing), context: harness.context()) }
        #expect(absent?.code == .notFound)
        await node.close()
    }

    @Test("a full queue refuses with the bound that was hit")
    func boundedQueue() async throws {
        let gate = Gate()
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node {
            $0.entryBytes = 4_096
            $0.queueBytes = 4_096
        }
        try await harness.upsert([harness.point(0)], on: node)
        faults.replace { call in
            if case .put = call { await gate.wait() }
            return .none
        }
        let codes = await withTaskGroup(of: ClusterError.Code?.self) { group in
            for number in UInt64(1)..<100 {
                group.addTask {
                    do {
                        try await harness.upsert([harness.point(number)], on: node)
                        return nil
                    } catch { return ClusterError(error).code }
                }
            }
            var codes: [ClusterError.Code?] = []
            for await code in group {
                if codes.isEmpty { gate.open() }  // the first to answer can only be a refused one
                codes.append(code)
            }
            return codes
        }
        #expect(codes.contains(.resourceExhausted))
        #expect(codes.allSatisfy { $0 == nil || $0 == .resourceExhausted })
        #expect(try await harness.contents(node).count == 1 + codes.count { $0 == nil })
        await node.close()
    }

    @Test("a search whose deadline has passed or whose task was cancelled stops, and its codes stand still")
    func stops() async throws {
        let harness = try await Harness(dimension: 32)
        let node = harness.node { $0.exactScanThreshold = 0 }
        try await harness.upsert(clustered(harness, count: 2_000, seed: 2), on: node)
        try await harness.seal(node)
        let late = CallContext(requestID: .random(), tenant: .default, deadline: .now - .seconds(1))
        let expired = await #expect(throws: ClusterError.self) {
            try await node.search(SearchRequest(shard: harness.shard, [ShardSearch(vector: [Float](repeating: 0, count: 32), limit: 1)]), context: late)
        }
        #expect(expired?.code == .deadlineExceeded)
        let task = Task { try await harness.search(node, [Float](repeating: 0, count: 32)) }
        task.cancel()
        if case .failure(let error) = await task.result { #expect(ClusterError(error).code == .cancelled) }
        let scanned = try await node.status(StatusRequest(), context: harness.context()).codesScanned
        #expect(try await node.status(StatusRequest(), context: harness.context()).codesScanned == scanned)
        await node.close()
    }

    @Test("shards beyond the bound are closed and opened again when asked")
    func eviction() async throws {
        let harness = try await Harness()
        let node = harness.node { $0.openShards = 2 }
        var shards: [ShardID] = []
        for number in UInt64(1)...5 {
            let schema = CollectionSchema(
                name: try CollectionName("c\(number)"), incarnation: Incarnation(number), dimension: 4, metric: .dot, shardCount: 1, createdAt: 0)
            try await harness.store.put(StoreKey.schema(schema.incarnation, of: .default), schema.stored(), ifAbsent: true)
            shards.append(schema.shard(0, of: .default))
            _ = try await node.append(AppendRequest(shard: shards.last!, operations: [.upsert([harness.point(number)])]), context: harness.context())
        }
        for (shard, number) in zip(shards, UInt64(1)...5) {
            let reply = try await node.fetch(FetchRequest(shard: shard, selection: .ids([.integer(number)])), context: harness.context())
            #expect(reply.points.count == 1)
        }
        #expect(try await node.status(StatusRequest(), context: harness.context()).shards.count <= 2)
        await node.close()
    }

    @Test("every damaged byte of a segment is reported by name, its points are counted as unreadable, the rest is served")
    func damagedSegment() async throws {
        let memory = MemoryObjectStore()
        let harness = try await Harness(store: memory)
        let node = harness.node()
        try await harness.upsert((0..<50).map { harness.point($0, Float($0)) }, on: node)
        try await harness.seal(node)
        try await harness.upsert([harness.point(100, 100)], on: node)
        await node.close()
        let key = try #require(try await harness.keys(StoreKey.segments(harness.shard)).first)
        let image = memory.contents
        var random = SeededRandom(seed: 4)
        for _ in 0..<20 {
            var damaged = image
            damaged[key]![Int.random(in: 0..<damaged[key]!.count, using: &random)] ^= 1 << Int.random(in: 0..<8, using: &random)
            let copy = try await Harness(store: MemoryObjectStore(objects: damaged))
            let other = copy.node()
            let reply = try await copy.search(other, copy.point(100, 100).vector)
            #expect(reply.hits.map(\.id) == [.integer(100)])
            #expect(reply.work.pointsUnreadable == 50 && reply.work.pointsHeld == 51)
            #expect(try await copy.status(other).damaged.first?.contains(key) == true)
            // Writes go on; sealing would lose their deletes.
            try await copy.delete([3], on: other)
            let error = await #expect(throws: ClusterError.self) { try await copy.seal(other) }
            #expect(error?.code == .dataLoss)
            await other.close()
        }
        // The file comes back: the delete that was made meanwhile holds.
        let repaired = try await Harness(store: MemoryObjectStore(objects: image))
        let healthy = repaired.node()
        #expect(try await repaired.contents(healthy).count == 51)
        await healthy.close()
    }

    @Test("a damaged or missing log entry is reported by name, the rest is served, writing is refused", arguments: [true, false])
    func damagedLog(isMissing: Bool) async throws {
        let memory = MemoryObjectStore()
        let harness = try await Harness(store: memory)
        let node = harness.node()
        for number in UInt64(1)...4 { try await harness.upsert([harness.point(number)], on: node) }
        await node.close()
        let key = StoreKey.log(harness.shard, position: 3)
        var image = memory.contents
        if isMissing { image[key] = nil } else { image[key]![60] ^= 4 }
        let copy = try await Harness(store: MemoryObjectStore(objects: image))
        let other = copy.node()
        #expect(try await copy.contents(other).map(\.id) == [.integer(1), .integer(3), .integer(4)])
        #expect(try await copy.status(other).damaged.first?.hasPrefix(key) == true)
        #expect(try await copy.search(other, [0, 0, 0, 0]).work.pointsUnreadable > 0)
        let error = await #expect(throws: ClusterError.self) { try await copy.upsert([copy.point(9)], on: other) }
        #expect(error?.code == .dataLoss)
        await other.close()
    }

    @Test("a damaged schema is reported by name")
    func damagedSchema() async throws {
        let memory = MemoryObjectStore()
        let harness = try await Harness(store: memory)
        let key = StoreKey.schema(harness.schema.incarnation, of: .default)
        var image = memory.contents
        // A digit of the dimension: still JSON, another collection.
        let place = try #require(image[key]!.firstIndex(of: UInt8(ascii: "4")))
        image[key]![place] = UInt8(ascii: "5")
        let copy = try await Harness(store: MemoryObjectStore(objects: image))
        let node = copy.node()
        let error = await #expect(throws: ClusterError.self) { try await copy.contents(node) }
        #expect(error?.code == .dataLoss && error?.message.hasPrefix(key) == true)
        #expect(try await copy.status(node).damaged.first?.contains(key) == true)
        await node.close()
    }

    @Test("a damaged manifest is reported by name")
    func damagedManifest() async throws {
        let memory = MemoryObjectStore()
        let harness = try await Harness(store: memory)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        try await harness.seal(node)
        await node.close()
        let key = try #require(try await harness.keys(StoreKey.manifests(harness.shard)).first)
        var image = memory.contents
        image[key]![20] ^= 1
        let copy = try await Harness(store: MemoryObjectStore(objects: image))
        let other = copy.node()
        #expect(try await copy.status(other).damaged.first?.contains(key) == true)
        let error = await #expect(throws: ClusterError.self) { try await copy.contents(other) }
        #expect(error?.code == .dataLoss)
        await other.close()
    }

    @Test("benchmark: a restart maps segments and replays the tail")
    func restart() async throws {
        let count = ProcessInfo.processInfo.environment["BENCHMARK"] == nil ? 5_000 : 100_000
        let root = FileManager.default.temporaryDirectory.path + "/covey-restart-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let harness = try await Harness(store: LocalObjectStore(root: root), dimension: 64)
        let node = harness.node { $0.sealPoints = 1_000_000 }
        let points = clustered(harness, count: count, seed: 3)
        let clock = ContinuousClock()
        let written = try await clock.measure {
            for start in stride(from: 0, to: count, by: 500) { try await harness.upsert(Array(points[start..<min(start + 500, count)]), on: node) }
        }
        let unsealed = try await reopen(harness, node, clock)
        let sealing = harness.node()
        let sealed = try await clock.measure { try await harness.seal(sealing) }
        for start in stride(from: 0, to: min(count, 5_000), by: 500) { try await harness.upsert(Array(points[start..<start + 500]), on: sealing) }
        let restarted = try await reopen(harness, sealing, clock)
        print("benchmark: \(count) points of 64 dimensions: written in \(written), sealed in \(sealed), restart from the log \(unsealed), from a segment and 5,000 points of log \(restarted)")
    }

    private func reopen(_ harness: Harness, _ node: ShardNode, _ clock: ContinuousClock) async throws -> Duration {
        let count = try await harness.status(node).points
        await node.close()
        let again = harness.node()
        let start = clock.now
        let found = try await harness.status(again).points
        let time = start.duration(to: clock.now)
        #expect(found == count)
        await again.close()
        return time
    }
}

import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("Splitting a shard (H13)") struct SplitTests {
    private func split(_ shard: ShardID, on node: ShardNode, _ harness: Harness) async throws {
        _ = try await node.seal(SealRequest(shard: shard, takeover: true, split: true), context: harness.context())
    }
    private func contents(_ shard: ShardID, _ node: ShardNode, _ harness: Harness) async throws -> [StoredPoint] {
        try await node.fetch(
            FetchRequest(shard: shard, selection: .page(from: nil, limit: 10_000, filter: nil), withVector: true), context: harness.context()
        ).points
    }
    private func failure(of body: () async throws -> SealReply) async -> ClusterError.Code? {
        do {
            _ = try await body()
            return nil
        } catch { return (error as? ClusterError)?.code }
    }
    private func halves(_ harness: Harness, of index: Int = 0) -> [ShardID] {
        let halves = ShardLayout.children(of: index, firstCount: harness.schema.shardCount)
        return [harness.schema.shard(halves.lower, of: .default), harness.schema.shard(halves.upper, of: .default)]
    }

    @Test("the halves keep every live point in its version, and the parent says who they are and keeps nothing but its fences")
    func contents() async throws {
        let harness = try await Harness()
        let node = harness.node { $0.exactScanThreshold = 0 }
        try await harness.upsert((0..<300).map { harness.point($0, Float($0)) }, on: node)
        try await harness.seal(node)
        try await harness.upsert((300..<400).map { harness.point($0, Float($0)) } + [harness.point(7, 70)], on: node)
        try await harness.delete([1, 301], on: node)
        let before = try await harness.contents(node)
        try await split(harness.shard, on: node, harness)
        await #expect(throws: ClusterError.self) { try await harness.contents(node) }
        for reader in [node, harness.node("b")] {
            let found = try await halves(harness).asyncMap { try await contents($0, reader, harness) }
            #expect(found.flatMap(\.self).sorted { $0.id < $1.id } == before)
            #expect(found.allSatisfy { $0.count > 100 })
            for (shard, points) in zip(halves(harness), found) {
                let range = try #require(ShardLayout.range(of: shard.index, firstCount: 1))
                #expect(points.allSatisfy { range.contains($0.id.hash) })
            }
            do {
                _ = try await harness.contents(reader)
                Issue.record("a shard that was split was read")
            } catch let error as ClusterError {
                #expect(error.code == .outOfRange && error.message.hasSuffix("was split: shards 1 and 2 keep its range"), "\(error)")
            }
        }
        let left = try await harness.keys(StoreKey.shard(harness.shard))
        #expect(left.allSatisfy { $0.hasPrefix(StoreKey.log(harness.shard)) } && left.count == 2, "\(left)")
        await node.close()
    }

    @Test("a large shard whose ids all have one hash is not split again and again: it goes on being sealed and written")
    func indivisible() async throws {
        let harness = try await Harness()
        let node = harness.node { ($0.splitPoints, $0.sealPoints, $0.unsealedEntries) = (100, 50, 40) }
        for batch in UInt64(0)..<60 {
            let points = (batch * 5..<batch * 5 + 5).map { Point(id: .uuid(high: 7, low: $0), vector: [1, 2, 3, Float($0)]) }
            // While a seal is under way, a write may have to wait.
            for attempt in 0..<100_000 {
                do {
                    try await harness.upsert(points, on: node)
                    break
                } catch let error as ClusterError where error.code == .resourceExhausted && attempt < 99_999 { await Task.yield() }
            }
        }
        #expect(try await harness.contents(node).count == 300)
        await node.close()
        #expect(try await harness.keys(StoreKey.segments(harness.shard)).isEmpty == false)
        for half in halves(harness) { #expect(try await harness.keys(StoreKey.shard(half)).isEmpty) }
    }

    @Test("H15: a half that rewrites and erases what it began with takes nothing from the other", arguments: [0, 1])
    func shareNothing(rewritten: Int) async throws {
        let harness = try await Harness()
        let node = harness.node { $0.exactScanThreshold = 0 }
        try await harness.upsert((0..<300).map { harness.point($0, Float($0)) }, on: node)
        try await harness.seal(node)
        try await split(harness.shard, on: node, harness)
        let (own, other) = (halves(harness)[rewritten], halves(harness)[1 - rewritten])
        let kept = try await contents(other, node, harness)
        let keys = try await harness.keys(StoreKey.shard(other))
        let ids = try await contents(own, node, harness).map(\.id)
        let parts = [ids.dropLast(1), ids.suffix(1)]
        for part in parts {
            let deletion = AppendRequest(shard: own, operations: [.delete(Array(part))], takeover: true)
            _ = try await node.append(deletion, context: harness.context())
            _ = try await node.seal(SealRequest(shard: own, takeover: true), context: harness.context())
        }
        #expect(try await contents(own, node, harness).isEmpty && kept.count > 100)
        #expect(try await harness.keys(StoreKey.shard(other)) == keys)
        let cold = harness.node("cold")
        for reader in [node, cold] { #expect(try await contents(other, reader, harness) == kept) }
        for node in [node, cold] { await node.close() }
    }

    @Test("halves are written, sealed and split again; a cold node finds all of it, and the audit nothing wrong", arguments: [1, 2, 3] as [UInt64])
    func again(seed: UInt64) async throws {
        let harness = try await Harness()
        let node = harness.node { $0.exactScanThreshold = 0 }
        var random = SeededRandom(seed: seed)
        var model = ShardModel()
        var leaves = [harness.shard]
        for round in 0..<60 {
            let ids = (0..<8).map { _ in UInt64.random(in: 0..<200, using: &random) }
            let operation: AppendRequest.Operation = round % 3 == 2 ? .delete(ids.map(PointID.integer)) : .upsert(ids.map { harness.point($0, Float(round)) })
            model.apply([operation])
            for leaf in leaves {
                let range = try #require(ShardLayout.range(of: leaf.index, firstCount: 1))
                let own: AppendRequest.Operation =
                    switch operation {
                    case .upsert(let points): .upsert(points.filter { range.contains($0.id.hash) })
                    case .delete(let ids): .delete(ids.filter { range.contains($0.hash) })
                    case .deleteWhere: operation
                    }
                _ = try await node.append(AppendRequest(shard: leaf, operations: [own], takeover: true), context: harness.context())
            }
            if round % 10 == 5 {
                let place = Int.random(in: 0..<leaves.count, using: &random)
                try await split(leaves[place], on: node, harness)
                leaves.replaceSubrange(place...place, with: halves(harness, of: leaves[place].index))
            }
            if round % 17 == 0 { _ = try await node.seal(SealRequest(shard: leaves[0], takeover: true), context: harness.context()) }
        }
        await node.close()
        let cold = harness.node("cold")
        let found = try await leaves.asyncMap { try await contents($0, cold, harness) }.flatMap(\.self).sorted { $0.id < $1.id }
        #expect(found.map(\.id) == model.sorted().map(\.id))
        #expect(found.map(\.vector) == model.sorted().map(\.vector))
        let outside = try await StoreAudit(store: harness.store, threads: 1, pause: {}).run { tenant in
            for finding in tenant.allFindings where finding.kind != .pending {
                // Nobody named the collection.
                Issue.record("\(finding)")
            }
        }
        #expect(outside.allSatisfy { $0.kind == .pending })
        await cold.close()
    }

    @Test("H19: a request that the parent took is answered by the halves, not applied again")
    func once() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let points = (0..<20).map { harness.point($0, 1) }
        let whole = [AppendRequest.Operation.upsert(points)]
        let first = try await harness.upsert(points, on: node, request: "r")
        try await harness.upsert((0..<20).map { harness.point($0, 2) }, on: node)
        try await split(harness.shard, on: node, harness)
        let hash = try AppendRequest.hash(of: whole, schema: harness.schema)
        for half in halves(harness) {
            let range = try #require(ShardLayout.range(of: half.index, firstCount: 1))
            let own = points.filter { range.contains($0.id.hash) }
            let request = AppendRequest(shard: half, operations: [.upsert(own)], takeover: true, id: RequestID("r"), bodyHash: hash)
            let reply = try await node.append(request, context: harness.context())
            #expect(reply.position == first.position)
            #expect(try await contents(half, node, harness).allSatisfy { $0.vector[0] == 2 })
        }
        await node.close()
    }

    @Test("a deposed owner's split does not come about, and what it built goes with the owner's next rewriting")
    func deposed() async throws {
        let harness = try await Harness()
        let (a, b) = (harness.node("a"), harness.node("b"))
        try await harness.upsert((0..<50).map { harness.point($0) }, on: a)
        try await harness.upsert([harness.point(50)], on: b)
        #expect(await failure { try await a.seal(SealRequest(shard: harness.shard, split: true), context: harness.context()) } == .aborted)
        #expect(try await harness.contents(b).count == 51)
        try await harness.seal(b)
        for half in halves(harness) { #expect(try await harness.keys(StoreKey.shard(half)).isEmpty) }
        await a.close()
        await b.close()
    }

    @Test("H16: a split does not come about if the shard had another owner since it began: that one may have erased what was built")
    func anotherOwner() async throws {
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let (a, b) = (harness.node("a"), harness.node("b"))
        try await harness.upsert((0..<50).map { harness.point($0) }, on: a)
        let upper = halves(harness)[1]
        let isFirst = Mutex(true)
        faults.replace { call in
            // The lower half's segment is in the store: another owner comes, erases it, and goes.
            guard case .putFile(let key) = call, key.hasPrefix(StoreKey.segments(upper)), isFirst.withLock({ first in defer { first = false }; return first }) else { return .none }
            await #expect(throws: Never.self) {
                try await harness.upsert([harness.point(50)], on: b)
                // The same opening goes on: it reads what the other wrote.
                #expect(try await harness.contents(a).count == 51)
                try await harness.seal(b)
                try await harness.upsert([harness.point(51)], on: a)
            }
            return .none
        }
        #expect(await failure { try await a.seal(SealRequest(shard: harness.shard, split: true), context: harness.context()) } == .aborted)
        #expect(isFirst.withLock { !$0 })
        for reader in [a, b, harness.node("c")] {
            #expect(try await harness.contents(reader).count == 52)
            await reader.close()
        }
    }

    @Test("H13, erasure: what was deleted leaves no byte in a shard that was split nor in its halves")
    func erased() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let needle = "needle-4711"
        try await harness.upsert((0..<40).map { harness.point($0, 0, ["text": .string("\(needle)-\($0)")]) }, on: node)
        try await harness.seal(node)
        try await harness.delete(Array(0..<40), on: node)
        try await harness.upsert((100..<140).map { harness.point($0) }, on: node)
        try await split(harness.shard, on: node, harness)
        for half in halves(harness) { _ = try await node.seal(SealRequest(shard: half, takeover: true), context: harness.context()) }
        for key in try await harness.keys("") {
            let bytes = try await harness.store.get(key)
            #expect(!bytes.contains(needle), "\(key)")
        }
        await node.close()
    }

    @Test("a shard past its limit splits by itself")
    func automatic() async throws {
        let harness = try await Harness()
        let node = harness.node { $0.splitPoints = 100 }
        try await harness.upsert((0..<120).map { harness.point($0) }, on: node)
        // It waits for the split that is under way.
        #expect(await failure { try await harness.seal(node) } == .outOfRange)
        let counts = try await halves(harness).asyncMap { half in try await contents(half, node, harness).count }
        #expect(counts.reduce(0, +) == 120 && !counts.contains(0))
        await node.close()
    }

    @Test("layouts tile the hash space, whatever was split", arguments: [1, 3, 7], [1, 2, 3, 4] as [UInt64])
    func layouts(firstCount: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var layout = ShardLayout(firstCount: firstCount)
        for _ in 0..<40 {
            layout = layout.learning(splits: [layout.shards.randomElement(using: &random)!.index])
            #expect(layout.shards.first!.range.first == 0 && layout.shards.last!.range.last == .max)
            #expect(zip(layout.shards, layout.shards.dropFirst()).allSatisfy { $0.range.last + 1 == $1.range.first })
            #expect(Set(layout.shards.map(\.index)).count == layout.shards.count)
            let hash = random.next()
            let found = layout.shards[layout.place(of: hash)]
            #expect(found.range.contains(hash) && ShardLayout.range(of: found.index, firstCount: firstCount) == found.range)
        }
    }
}

extension Array {
    fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}

extension [UInt8] {
    fileprivate func contains(_ text: String) -> Bool {
        let needle = Array(text.utf8)
        guard count >= needle.count else { return false }
        return (0...count - needle.count).contains { self[$0] == needle[0] && Array(self[$0..<$0 + needle.count]) == needle }
    }
}

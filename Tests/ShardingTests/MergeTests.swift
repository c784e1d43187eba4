import Model
import Sharding
import Storage
import Testing

@Suite("Merging two halves (H14)") struct MergeTests {
    /// A collection of one shard that was split into two halves, and what becomes of them.
    private struct Halves {
        let harness: Harness
        let lower: ShardID
        let upper: ShardID
        let merged: ShardID

        init(_ harness: Harness) throws {
            self.harness = harness
            let halves = ShardLayout.children(of: 0, firstCount: 1)
            func id(_ index: Int) -> ShardID { harness.schema.shard(index, of: .default) }
            (lower, upper) = (id(halves.lower), id(halves.upper))
            merged = id(try #require(ShardLayout.merged(halves.lower, halves.upper, firstCount: 1)))
        }

        func split(on node: ShardNode) async throws {
            _ = try await node.seal(SealRequest(shard: harness.shard, takeover: true, split: true), context: harness.context())
        }
        /// The next step of one of the two.
        func step(_ shard: ShardID, on node: ShardNode) async throws {
            let other = shard == lower ? upper : lower
            _ = try await node.seal(SealRequest(shard: shard, takeover: true, mergeWith: other.index), context: harness.context())
        }
        func merge(on node: ShardNode) async throws {
            for shard in [upper, lower, upper] { try await step(shard, on: node) }
        }
        func contents(_ shard: ShardID, _ node: ShardNode, _ consistency: Consistency = .strong) async throws -> [StoredPoint] {
            var context = harness.context()
            context.consistency = consistency
            return try await node.fetch(FetchRequest(shard: shard, selection: .page(from: nil, limit: 10_000, filter: nil), withVector: true), context: context).points
        }
        /// Writes to one shard what belongs there.
        @discardableResult
        func upsert(_ points: [Point], to shard: ShardID, on node: ShardNode, request: String? = nil, bodyHash: UInt128? = nil) async throws -> AppendReply {
            let range = try #require(ShardLayout.range(of: shard.index, firstCount: 1))
            let own = points.filter { range.contains($0.id.hash) }
            return try await node.append(
                AppendRequest(
                    shard: shard, operations: [.upsert(own)], takeover: true, id: request.map { RequestID($0) } ?? .random(), bodyHash: bodyHash), context: harness.context())
        }
        func audit() async throws -> [StoreFinding] {
            var findings: [StoreFinding] = []
            _ = try await StoreAudit(store: harness.store, threads: 1, pause: {}).run { findings += $0.allFindings }
            return findings
        }
    }

    private func code(of body: () async throws -> Void) async -> ClusterError? {
        do {
            try await body()
            return nil
        } catch { return error as? ClusterError }
    }

    @Test("the merged shard keeps every live point in its version, whoever opens it; sealed, it leaves nothing of the halves but fences")
    func contents() async throws {
        let harness = try await Harness()
        let node = harness.node { $0.exactScanThreshold = 0 }
        let halves = try Halves(harness)
        try await harness.upsert((0..<300).map { harness.point($0, Float($0)) }, on: node)
        try await halves.split(on: node)
        for half in [halves.lower, halves.upper] {
            try await halves.upsert((200..<400).map { harness.point($0, Float($0) + 1) }, to: half, on: node)
            _ = try await node.seal(SealRequest(shard: half, takeover: true), context: harness.context())
            try await halves.upsert((350..<450).map { harness.point($0, Float($0) + 2) }, to: half, on: node)
        }
        let before = try await (halves.contents(halves.lower, node) + halves.contents(halves.upper, node)).sorted { $0.id < $1.id }
        try await halves.merge(on: node)
        #expect(before.count == 450)
        for reader in [node, harness.node("b")] {
            #expect(try await halves.contents(halves.merged, reader) == before)
            for half in [halves.lower, halves.upper] {
                let error = await code { _ = try await halves.contents(half, reader) }
                #expect(error?.code == .outOfRange && error?.successor == halves.merged.index, "\(half): \(String(describing: error))")
            }
        }
        #expect(try await halves.audit().allSatisfy { $0.kind == .pending })
        // The first write makes it an owner's, and that seals it whole.
        try await halves.upsert([harness.point(7, 70)], to: halves.merged, on: node)
        _ = try await node.seal(SealRequest(shard: halves.merged, takeover: true), context: harness.context())
        for half in [halves.lower, halves.upper] {
            let left = try await harness.keys(StoreKey.shard(half))
            #expect(left.allSatisfy { $0.hasPrefix(StoreKey.log(half)) } && left.count == 2, "\(left)")
        }
        let cold = harness.node("cold")
        #expect(try await halves.contents(halves.merged, cold).map(\.id) == before.map(\.id))
        #expect(try await halves.audit().allSatisfy { $0.kind == .pending })
        await node.close()
        await cold.close()
    }

    @Test("H14: the owner dies after the first half's end; that half is read on, and who writes to it has the other ended, too")
    func halfMerged() async throws {
        let harness = try await Harness()
        let (a, b) = (harness.node("a"), harness.node("b"))
        let halves = try Halves(harness)
        try await harness.upsert((0..<100).map { harness.point($0) }, on: a)
        try await halves.split(on: a)
        // The upper half has promised, the lower has ended, and whoever asked for it is not heard of any more.
        try await halves.step(halves.upper, on: a)
        try await halves.step(halves.lower, on: a)
        let lower = try await halves.contents(halves.lower, b, .eventual)
        let upper = try await halves.contents(halves.upper, b, .eventual)
        #expect(lower.count + upper.count == 100)
        let error = await code { try await halves.upsert((0..<100).map { harness.point($0, 1) }, to: halves.lower, on: b) }
        #expect(error?.code == .outOfRange && error?.successor == halves.merged.index, "\(String(describing: error))")
        try await halves.upsert((0..<100).map { harness.point($0, 1) }, to: halves.merged, on: b)
        #expect(try await halves.contents(halves.merged, b).allSatisfy { $0.vector[0] == 1 })
        await b.close()
        await a.close()
    }

    @Test("H14: a half that has promised does not split, and goes on with the merge when it is written to be sealed")
    func promised() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let halves = try Halves(harness)
        try await harness.upsert((0..<100).map { harness.point($0) }, on: node)
        try await halves.split(on: node)
        try await halves.step(halves.upper, on: node)
        let error = await code { _ = try await node.seal(SealRequest(shard: halves.upper, takeover: true, split: true), context: harness.context()) }
        #expect(error?.code == .outOfRange && error?.successor == halves.merged.index, "\(String(describing: error))")
        #expect(try await halves.contents(halves.merged, node).count == 100)
        await node.close()
    }

    @Test("H14: a promise to a half that was split since binds nobody")
    func void() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let halves = try Halves(harness)
        try await harness.upsert((0..<100).map { harness.point($0) }, on: node)
        try await halves.split(on: node)
        try await halves.step(halves.upper, on: node)
        _ = try await node.seal(SealRequest(shard: halves.lower, takeover: true, split: true), context: harness.context())
        #expect(await code { try await halves.step(halves.upper, on: node) }?.code == .failedPrecondition)
        _ = try await node.seal(SealRequest(shard: halves.upper, takeover: true), context: harness.context())
        _ = try await node.seal(SealRequest(shard: halves.upper, takeover: true, split: true), context: harness.context())
        #expect(await code { _ = try await halves.contents(halves.upper, node) }?.code == .outOfRange)
        await node.close()
    }

    @Test("H19: of a request that one half had applied only the rest is applied after the merge, and nothing if both had", arguments: [true, false])
    func once(isSealed: Bool) async throws {
        let harness = try await Harness()
        let node = harness.node()
        let halves = try Halves(harness)
        let points = (0..<40).map { harness.point($0, 1) }
        let hash = try AppendRequest.hash(of: [.upsert(points)], schema: harness.schema)
        try await harness.upsert([harness.point(0)], on: node)
        try await halves.split(on: node)
        for half in [halves.lower, halves.upper] { try await halves.upsert(points, to: half, on: node, request: "both", bodyHash: hash) }
        try await halves.upsert(points, to: halves.lower, on: node, request: "one", bodyHash: hash)
        for half in [halves.lower, halves.upper] { try await halves.upsert((0..<40).map { harness.point($0, 2) }, to: half, on: node) }
        try await halves.merge(on: node)
        if isSealed { _ = try await node.seal(SealRequest(shard: halves.merged, takeover: true), context: harness.context()) }
        let reader = harness.node("b")
        try await halves.upsert(points, to: halves.merged, on: reader, request: "both", bodyHash: hash)
        #expect(try await halves.contents(halves.merged, reader).allSatisfy { $0.vector[0] == 2 })
        for _ in 0..<2 { try await halves.upsert(points, to: halves.merged, on: reader, request: "one", bodyHash: hash) }
        let lowerRange = try #require(ShardLayout.range(of: halves.lower.index, firstCount: 1))
        #expect(try await halves.contents(halves.merged, reader).allSatisfy { $0.vector[0] == (lowerRange.contains($0.id.hash) ? 2 : 1) })
        await node.close()
        await reader.close()
    }

    @Test("H19: after a merge a write is refused that one half may have forgotten, though the other remembers it", arguments: [true, false])
    func forgottenByOne(isSealed: Bool) async throws {
        let harness = try await Harness()
        let node = harness.node { $0.rememberedWrites = 2 }
        let halves = try Halves(harness)
        let points = (0..<40).map { harness.point($0, 1) }
        let hash = try AppendRequest.hash(of: [.upsert(points)], schema: harness.schema)
        try await harness.upsert([harness.point(0)], on: node)
        try await halves.split(on: node)
        let ids = (1...4).map { RequestID.ordered(time: $0).rawValue }
        for half in [halves.lower, halves.upper] { try await halves.upsert(points, to: half, on: node, request: ids[0], bodyHash: hash) }
        for id in ids[1...] { try await halves.upsert((0..<40).map { harness.point($0, 2) }, to: halves.lower, on: node, request: id) }
        try await halves.merge(on: node)
        if isSealed { _ = try await node.seal(SealRequest(shard: halves.merged, takeover: true), context: harness.context()) }
        let reader = harness.node("b") { $0.rememberedWrites = 2 }
        let before = try await halves.contents(halves.merged, reader)
        #expect(await code { try await halves.upsert(points, to: halves.merged, on: reader, request: ids[0], bodyHash: hash) }?.reason == .keyExpired)
        #expect(try await halves.contents(halves.merged, reader) == before)
        await node.close()
        await reader.close()
    }

    @Test("what was merged splits and merges again; no index is used twice, and the audit finds nothing wrong", arguments: [1, 2, 3] as [UInt64])
    func again(seed: UInt64) async throws {
        let harness = try await Harness()
        let node = harness.node { $0.exactScanThreshold = 0 }
        var random = SeededRandom(seed: seed)
        var (layout, model, used) = (ShardLayout(firstCount: 1), ShardModel(), Set([0]))
        func shard(_ index: Int) -> ShardID { harness.schema.shard(index, of: .default) }
        for round in 0..<60 {
            let ids = (0..<8).map { _ in UInt64.random(in: 0..<200, using: &random) }
            let operation: AppendRequest.Operation = round % 3 == 2 ? .delete(ids.map(PointID.integer)) : .upsert(ids.map { harness.point($0, Float(round)) })
            model.apply([operation])
            for leaf in layout.shards {
                let own: AppendRequest.Operation =
                    switch operation {
                    case .upsert(let points): .upsert(points.filter { leaf.range.contains($0.id.hash) })
                    case .delete(let ids): .delete(ids.filter { leaf.range.contains($0.hash) })
                    case .deleteWhere: operation
                    }
                _ = try await node.append(AppendRequest(shard: shard(leaf.index), operations: [own], takeover: true), context: harness.context())
            }
            let before = Set(layout.shards.map(\.index))
            let pairs = zip(layout.shards, layout.shards.dropFirst()).compactMap { a, b in
                ShardLayout.merged(a.index, b.index, firstCount: 1).map { (a.index, b.index, $0) }
            }
            if round % 4 == 1, let (lower, upper, merged) = pairs.randomElement(using: &random) {
                for (half, other) in [(upper, lower), (lower, upper), (upper, lower)] {
                    _ = try await node.seal(SealRequest(shard: shard(half), takeover: true, mergeWith: other), context: harness.context())
                }
                layout = layout.learning(merges: [lower: merged])
            } else if round % 4 == 3 {
                let index = layout.shards.randomElement(using: &random)!.index
                _ = try await node.seal(SealRequest(shard: shard(index), takeover: true, split: true), context: harness.context())
                layout = layout.learning(splits: [index])
            }
            let new = Set(layout.shards.map(\.index)).subtracting(before)
            #expect(used.isDisjoint(with: new))
            used.formUnion(new)
        }
        await node.close()
        let cold = harness.node("cold")
        var found: [StoredPoint] = []
        for leaf in layout.shards {
            found += try await cold.fetch(FetchRequest(shard: shard(leaf.index), selection: .page(from: nil, limit: 10_000, filter: nil), withVector: true), context: harness.context()).points
        }
        found.sort { $0.id < $1.id }
        #expect(found.map(\.id) == model.sorted().map(\.id))
        #expect(found.map(\.vector) == model.sorted().map(\.vector))
        let halves = try Halves(harness)
        #expect(try await halves.audit().allSatisfy { $0.kind == .pending })
        await cold.close()
    }

    @Test("H14, erasure: what was deleted in a half leaves no byte once the merged shard is sealed")
    func erased() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let halves = try Halves(harness)
        let needle = "needle-4711"
        try await harness.upsert([harness.point(1_000)], on: node)
        try await halves.split(on: node)
        for half in [halves.lower, halves.upper] {
            try await halves.upsert((0..<40).map { harness.point($0, 0, ["text": .string("\(needle)-\($0)")]) }, to: half, on: node)
            _ = try await node.seal(SealRequest(shard: half, takeover: true), context: harness.context())
            try await halves.upsert((0..<40).map { harness.point($0) }, to: half, on: node)
        }
        try await halves.merge(on: node)
        #expect(try await harness.keys(ErasureMark.prefix).contains { ErasureMark(key: $0)?.shard == halves.merged })
        _ = try await node.seal(SealRequest(shard: halves.merged, takeover: true), context: harness.context())
        for key in try await harness.keys("") {
            let text = String(decoding: try await harness.store.get(key), as: UTF8.self)
            #expect(!text.contains(needle), "\(key)")
        }
        await node.close()
    }

    @Test("H21: a drop ends the merged shard, and what it still needed of the halves goes with it")
    func dropped() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let halves = try Halves(harness)
        try await harness.upsert((0..<50).map { harness.point($0) }, on: node)
        try await halves.split(on: node)
        try await halves.merge(on: node)
        for shard in [halves.lower, halves.upper] {
            let error = await code { try await node.drop(DropRequest(shard: shard), context: harness.context()) }
            #expect(error?.successor == halves.merged.index)
        }
        try await node.drop(DropRequest(shard: halves.merged), context: harness.context())
        for shard in [harness.shard, halves.lower, halves.upper, halves.merged] {
            #expect(try await harness.keys(StoreKey.shard(shard)).allSatisfy { $0.hasPrefix(StoreKey.log(shard)) })
        }
        #expect(await code { try await halves.upsert([harness.point(1)], to: halves.merged, on: harness.node("b")) }?.code == .notFound)
        await node.close()
    }
}

import Model
import Sharding
import Storage
import Synchronization
import Testing

/// Requests larger than a log entry: their operations lie in objects beside the log, which the entry names (protocol, H24, H25).
@Suite("Requests larger than a log entry")
struct BulkTests {
    private static func small(_ configuration: inout ShardConfiguration) { configuration.entryBytes = 4_096 }

    /// The chunks of a document, some 400 bytes each.
    private func document(_ number: UInt64, chunks: Int, text: String = "x") -> [Point] {
        (0..<chunks).map {
            Point(id: .uuid(high: number, low: UInt64($0)), vector: [0, 0, 0, Float($0)], payload: ["text": .string(String(repeating: text, count: 300))])
        }
    }

    @Test("take effect in one entry, are replayed, and leave nothing beside the segment once sealed")
    func oneEntry() async throws {
        let harness = try await Harness()
        var node = harness.node("a", Self.small)
        let first = try await harness.upsert(document(1, chunks: 40), on: node)
        let second = try await node.append(
            AppendRequest(shard: harness.shard, operations: [.delete((30..<40).map { .uuid(high: 1, low: $0) }), .upsert(document(1, chunks: 30, text: "y"))]),
            context: harness.context())
        #expect(second == AppendReply(position: first.position + 1, superseded: 40))
        let bulk = try await harness.keys(StoreKey.bulk(harness.shard))
        #expect(bulk.count > 5)
        for key in bulk + (try await harness.keys(StoreKey.log(harness.shard))) { #expect(try await harness.store.size(key) <= 4_096) }
        func check(_ node: ShardNode) async throws {
            let all = try await harness.contents(node)
            #expect(all.map(\.id) == document(1, chunks: 30).map(\.id))
            #expect(all.map(\.payload) == document(1, chunks: 30, text: "y").map(\.payload))
            #expect(Set(all.map(\.version)) == [second.position])
        }
        try await check(node)
        await node.close()
        node = harness.node("a", Self.small)
        try await check(node)
        try await harness.seal(node)
        #expect(try await harness.keys(StoreKey.bulk(harness.shard)).isEmpty)
        try await check(node)
        await node.close()
        node = harness.node("a", Self.small)
        try await check(node)
        await node.close()
    }

    @Test("come again under the same id and are answered, not applied (H19)")
    func onlyOnce() async throws {
        let harness = try await Harness()
        var node = harness.node("a", Self.small)
        let first = try await harness.upsert(document(1, chunks: 30), on: node, request: "r")
        #expect(try await harness.upsert(document(1, chunks: 30), on: node, request: "r") == first)
        await node.close()
        node = harness.node("a", Self.small)
        #expect(try await harness.upsert(document(1, chunks: 30), on: node, request: "r") == first)
        #expect(try await harness.contents(node).count == 30)
        await node.close()
    }

    @Test("a delete by filter may find more points than one entry can name")
    func largeDelete() async throws {
        let harness = try await Harness()
        var node = harness.node("a", Self.small)
        try await harness.upsert((0..<600).map { harness.point($0, 0, ["even": .bool($0 % 2 == 0)]) }, on: node)
        let reply = try await node.append(
            AppendRequest(shard: harness.shard, operations: [.deleteWhere(Filter(must: [.match(key: "even", anyOf: [true])]))]), context: harness.context())
        #expect(reply.superseded == 300)
        await node.close()
        node = harness.node("a", Self.small)
        #expect(try await harness.contents(node).map(\.id) == stride(from: 1, to: 600, by: 2).map { PointID.integer(UInt64($0)) })
        await node.close()
    }

    @Test("a put that fails between the first object and the entry changes nothing; what it left is deleted by a later seal", arguments: 0..<4)
    func failsBetween(put failing: Int) async throws {
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node("a", Self.small)
        try await harness.upsert(document(1, chunks: 2), on: node)
        let puts = Atomic(0)
        faults.replace { call in
            guard case .put(let key) = call, key.contains("/bulk/") else { return .none }
            return puts.wrappingAdd(1, ordering: .relaxed).oldValue >= failing ? .lost : .none
        }
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert(document(1, chunks: 40, text: "y"), on: node) }
        #expect(error?.code == .unavailable)
        #expect(try await harness.contents(node).map(\.payload) == document(1, chunks: 2).map(\.payload))
        faults.replace { _ in .none }
        #expect(try await harness.keys(StoreKey.bulk(harness.shard)).count == failing)
        // Nothing is undecided: the same owner goes on, at the same position.
        let reply = try await harness.upsert(document(2, chunks: 40), on: node)
        #expect(reply.position == 3)
        await node.close()
        let again = harness.node("a", Self.small)
        #expect(try await harness.contents(again).count == 42)
        try await harness.seal(again)
        #expect(try await harness.keys(StoreKey.bulk(harness.shard)).isEmpty)
        await again.close()
    }

    @Test("an object whose reply was lost is recognized, and nothing is visible before the entry is committed (H5, H8)")
    func lostReplies() async throws {
        let gate = Gate()
        let count = Atomic(0)
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node("a", Self.small)
        try await harness.upsert([harness.point(1)], on: node)
        faults.replace { call in
            guard case .put(let key) = call else { return .none }
            if key.contains("/bulk/") { return count.wrappingAdd(1, ordering: .relaxed).oldValue % 2 == 0 ? .replyLost : .none }
            await gate.wait()
            return .none
        }
        let points = document(1, chunks: 40)
        async let write = harness.upsert(points, on: node)
        await gate.reached()
        #expect(try await harness.contents(node).count == 1)
        gate.open()
        _ = try await write
        #expect(try await harness.contents(node).count == 41)
        await node.close()
    }

    @Test("a deposed owner's objects are never applied, and the new owner's seal deletes them (H16)")
    func deposed() async throws {
        let harness = try await Harness()
        let a = harness.node("a", Self.small)
        let b = harness.node("b", Self.small)
        try await harness.upsert([harness.point(1)], on: a)
        try await harness.upsert([harness.point(2)], on: b)
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert(document(1, chunks: 40), on: a) }
        #expect(error?.code == .aborted)
        #expect(try await harness.keys(StoreKey.bulk(harness.shard)).count > 1)
        #expect(try await harness.contents(b).count == 2)
        try await harness.upsert(document(2, chunks: 40), on: b)
        #expect(try await harness.contents(b).count == 42)
        try await harness.seal(b)
        #expect(try await harness.keys(StoreKey.bulk(harness.shard)).isEmpty)
        await a.close()
        await b.close()
    }

    @Test("what a claimant meets of another's large request is applied before it writes")
    func contended() async throws {
        let harness = try await Harness()
        let a = harness.node("a", Self.small)
        let b = harness.node("b", Self.small)
        _ = try await harness.contents(b)
        try await harness.upsert(document(1, chunks: 40), on: a)
        // b has seen an empty log; its claim meets a's entries.
        #expect(try await harness.upsert(document(1, chunks: 40, text: "y"), on: b).superseded == 40)
        await a.close()
        await b.close()
    }

    @Test("a damaged or missing object is reported by name, the rest is served, writing and sealing are refused", arguments: [true, false])
    func damage(isMissing: Bool) async throws {
        let memory = MemoryObjectStore()
        let harness = try await Harness(store: memory)
        let node = harness.node("a", Self.small)
        try await harness.upsert([harness.point(1)], on: node)
        try await harness.upsert(document(1, chunks: 40), on: node)
        try await harness.upsert([harness.point(2)], on: node)
        await node.close()
        let key = try await harness.keys(StoreKey.bulk(harness.shard))[2]
        var image = memory.contents
        if isMissing { image[key] = nil } else { image[key]![60] ^= 4 }
        let copy = try await Harness(store: MemoryObjectStore(objects: image))
        let other = copy.node("a", Self.small)
        // Of the request nothing is applied: half of a document would be worse than none.
        #expect(try await copy.contents(other).map(\.id) == [.integer(1), .integer(2)])
        #expect(try await copy.status(other).damaged.first?.hasPrefix(key) == true)
        #expect(try await copy.search(other, [0, 0, 0, 0]).work.pointsUnreadable > 0)
        let refused = [
            await #expect(throws: ClusterError.self) { try await copy.upsert([copy.point(9)], on: other) },
            await #expect(throws: ClusterError.self) { try await copy.seal(other) },
        ]
        #expect(refused.allSatisfy { $0?.code == .dataLoss })
        await other.close()
    }

    @Test("a drop erases them (H21)")
    func dropped() async throws {
        let harness = try await Harness()
        let node = harness.node("a", Self.small)
        try await harness.upsert(document(1, chunks: 40), on: node)
        try await node.drop(DropRequest(shard: harness.shard), context: harness.context())
        #expect(try await harness.keys(StoreKey.bulk(harness.shard)).isEmpty)
        await node.close()
    }
}

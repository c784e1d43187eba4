import Model
import Sharding
import Storage
import Testing

/// A client that does not know what became of a write sends it again.
@Suite("Writes that come again (H19)")
struct RepeatedWriteTests {
    @Test("H19: a request that comes again is answered as before and not applied again, also after a restart and a seal")
    func onlyOnce() async throws {
        let harness = try await Harness()
        var node = harness.node()
        let first = try await harness.upsert([harness.point(1, 1)], on: node, request: "r1")
        let second = try await harness.upsert([harness.point(1, 2)], on: node, request: "r2")
        #expect(second.superseded == 1)
        #expect(try await harness.upsert([harness.point(1, 1)], on: node, request: "r1") == first)
        await node.close()
        node = harness.node()
        #expect(try await harness.upsert([harness.point(1, 1)], on: node, request: "r1") == first)
        try await harness.seal(node)
        await node.close()
        node = harness.node()
        #expect(try await harness.upsert([harness.point(1, 2)], on: node, request: "r2") == second)
        #expect(try await harness.contents(node).first?.vector == harness.point(1, 2).vector)
        // Another body under the same id is refused, unless it is another part of the write.
        let error = await failure { try await harness.upsert([harness.point(1, 3)], on: node, request: "r1") }
        #expect(error?.code == .alreadyExists && error?.reason == .keyReused)
        #expect(try await harness.upsert([harness.point(1, 3)], on: node, request: "r1", part: 1).position > second.position)
        #expect(try await harness.contents(node).first?.vector == harness.point(1, 3).vector)
        await node.close()
    }

    @Test("H19: two bodies under one id that share an entry: one is applied")
    func oneOfTwo() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let results = await withTaskGroup(of: ClusterError?.self) { group in
            for value in 0..<8 { group.addTask { await failure { try await harness.upsert([harness.point(1, Float(value))], on: node, request: "r") } } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results.count { $0 == nil } == 1 && results.count { $0?.reason == .keyReused } == 7)
        await node.close()
    }

    @Test("H19: an id that is older than what is remembered is refused, whoever opens the shard; ids without a time and those that are remembered are not")
    func expiredIDs() async throws {
        let harness = try await Harness()
        func open() -> ShardNode { harness.node { $0.rememberedWrites = 4 } }
        func id(_ time: UInt64) -> String { RequestID.ordered(time: 1_000_000 + time).rawValue }
        var node = open()
        let ids = (1...6).map { id($0) }
        for (place, id) in ids.enumerated() { try await harness.upsert([harness.point(UInt64(place), 1)], on: node, request: id) }
        try await harness.upsert([harness.point(9)], on: node, request: "without a time")
        func check(_ node: ShardNode) async throws {
            let before = try await harness.contents(node)
            for (place, id) in ids.enumerated() {
                let error = await failure { try await harness.upsert([harness.point(UInt64(place), 1)], on: node, request: id) }
                if place < 3 { #expect(error?.code == .failedPrecondition && error?.reason == .keyExpired, "\(place)") } else { #expect(error == nil, "\(place)") }
            }
            // One that was never seen, and is as old.
            #expect(await failure { try await harness.upsert([harness.point(1, 7)], on: node, request: id(3)) }?.reason == .keyExpired)
            #expect(try await harness.contents(node) == before)
        }
        try await check(node)
        await node.close()
        node = open()
        try await check(node)
        try await harness.seal(node)
        await node.close()
        node = open()
        try await check(node)
        try await harness.upsert([harness.point(10)], on: node, request: id(7))
        try await harness.upsert([harness.point(11)], on: node)
        await node.close()
    }
}

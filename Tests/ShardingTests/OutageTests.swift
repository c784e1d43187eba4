import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("A node that the store does not answer") struct OutageTests {
    @Test("reads what it has, where that will do, also after a write whose outcome it does not know; afterwards it goes on")
    func reads() async throws {
        let whole = try await Harness()
        let store = FaultObjectStore(whole.store)
        let harness = try await Harness(store: store)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        let isAway = Mutex(true)
        store.replace { _ in isAway.withLock { $0 } ? .lost : .none }
        await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(2)], on: node) }
        for _ in 0..<3 {
            #expect(try await count(harness, node, .eventual) == 1)
            let error = await #expect(throws: ClusterError.self) { try await count(harness, node, .strong) }
            #expect(error?.code == .unavailable)
            await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(3)], on: node) }
        }
        isAway.withLock { $0 = false }
        try await harness.upsert([harness.point(4)], on: node)
        let after = try await count(harness, node, .strong)
        #expect(try await count(harness, node, .eventual) == after)
        #expect(try await harness.contents(node).contains { $0.id == .integer(4) })
        await node.close()
    }

    private func count(_ harness: Harness, _ node: ShardNode, _ consistency: Consistency) async throws -> Int {
        var context = harness.context()
        context.consistency = consistency
        return try await node.count(CountRequest(shard: harness.shard), context: context).count
    }
}

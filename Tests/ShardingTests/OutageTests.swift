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
        // Refused while the attempt that a read began is under way.
        var isBack = false
        for _ in 0..<1_000_000 where !isBack {
            isBack = (try? await harness.upsert([harness.point(4)], on: node)) != nil
            await Task.yield()
        }
        #expect(isBack)
        let after = try await count(harness, node, .strong)
        #expect(try await count(harness, node, .eventual) == after)
        #expect(try await harness.contents(node).contains { $0.id == .integer(4) })
        await node.close()
    }

    @Test("takes no more writes than it could replay while nothing can be sealed, and takes them again once a seal is done")
    func backPressure() async throws {
        let whole = try await Harness()
        let store = FaultObjectStore(whole.store)
        let harness = try await Harness(store: store)
        let node = harness.node { ($0.sealEntries, $0.unsealedEntries) = (4, 8) }
        let isFull = Mutex(true)
        store.replace { call in
            if case .putFile = call, isFull.withLock({ $0 }) { return .lost }
            return .none
        }
        // The claim is the first entry.
        for id in UInt64(1)...7 { try await harness.upsert([harness.point(id)], on: node) }
        let message = "shard \(harness.shard): 8 log entries wait to be sealed, the limit is 8"
        for _ in 0..<3 {
            await #expect(throws: ClusterError(.resourceExhausted, message)) { try await harness.upsert([harness.point(8)], on: node) }
        }
        #expect(try await harness.contents(node).count == 7)
        isFull.withLock { $0 = false }
        var isTaken = false
        for _ in 0..<1_000_000 where !isTaken {
            isTaken = (try? await harness.upsert([harness.point(8)], on: node)) != nil
            await Task.yield()
        }
        #expect(isTaken)
        #expect(try await harness.contents(node).count == 8)
        await node.close()
    }

    private func count(_ harness: Harness, _ node: ShardNode, _ consistency: Consistency) async throws -> Int {
        var context = harness.context()
        context.consistency = consistency
        return try await node.count(CountRequest(shard: harness.shard), context: context).count
    }
}

import Model
import Sharding
import Storage
import Synchronization
import Testing

/// Claims that arrive where the log has been truncated, or is over.
@Suite("Claims that come late (H3)")
struct LateClaimTests {
    @Test("H3: a claim that fills a hole of the truncated log misleads no replica that stood before it", arguments: [UInt64(3), 4])
    func claimInAHole(last: UInt64) async throws {
        let memory = MemoryObjectStore()
        let (slow, late) = (FaultObjectStore(memory), FaultObjectStore(memory))
        let harness = try await Harness(store: memory)
        let (owner, reader) = (harness.node("owner"), harness.node("reader"))
        try await harness.upsert([harness.point(1)], on: owner)
        // The taker sleeps between its claim, at position 3, and its first entry: the others stand at the claim.
        let takerSleeps = Gate()
        let puts = Atomic(0)
        slow.replace { call in
            if case .put = call, puts.wrappingAdd(1, ordering: .relaxed).newValue == 2 { await takerSleeps.wait() }
            return .none
        }
        let taker = try await Harness(store: slow).node("taker")
        let first = Task { try await harness.upsert([harness.point(2)], on: taker) }
        await takerSleeps.reached()
        let candidate = try await Harness(store: late).node("candidate")
        for node in [candidate, reader] { #expect(try await harness.contents(node).count == 1) }
        // One of them is about to put its claim at 4, and sleeps.
        let candidateSleeps = Gate()
        let sleeps = Atomic(true)
        late.replace { call in
            if case .put = call, sleeps.exchange(false, ordering: .relaxed) { await candidateSleeps.wait() }
            return .none
        }
        let write = Task { try await harness.upsert([harness.point(50)], on: candidate) }
        await candidateSleeps.reached()
        takerSleeps.open()
        _ = try await first.value
        for number in 3...last { try await harness.upsert([harness.point(number)], on: taker) }
        try await harness.seal(taker)
        candidateSleeps.open()
        await #expect(throws: ClusterError.self) { try await write.value }
        for node in [reader, candidate] { #expect(try await harness.contents(node).map(\.id) == (1...last).map(PointID.integer)) }
        for node in [owner, taker, candidate, reader] { await node.close() }
    }

    @Test("H3: a claim at a position that was truncated is void")
    func claimOnTruncatedPosition() async throws {
        let gate = Gate()
        let memory = MemoryObjectStore()
        let faults = FaultObjectStore(memory)
        let late = try await Harness(store: faults)
        let harness = try await Harness(store: memory)
        let owner = harness.node("owner")
        try await harness.upsert([harness.point(1)], on: owner)
        let candidate = late.node("candidate")
        _ = try await late.contents(candidate)
        // The candidate has seen position 2 and sleeps before it claims 3.
        let sleeps = Atomic(true)
        faults.replace { call in
            if case .put = call, sleeps.exchange(false, ordering: .relaxed) { await gate.wait() }
            return .none
        }
        let write = Task { try await late.upsert([late.point(50)], on: candidate) }
        await gate.reached()
        for number in UInt64(2)..<10 { try await harness.upsert([harness.point(number)], on: owner) }
        try await harness.seal(owner)
        #expect(try await harness.positions().contains(3) == false)
        gate.open()
        let error = await #expect(throws: ClusterError.self) { try await write.value }
        #expect(error?.code == .aborted)
        try await harness.upsert([harness.point(10)], on: owner)
        #expect(try await harness.contents(owner).count == 10)
        await candidate.close()
        await owner.close()
    }

    @Test("H3: a claim at a truncated position of a shard that was split is void, for who put it and for whoever opens the shard")
    func claimInAnEndedLog() async throws {
        let gate = Gate()
        let memory = MemoryObjectStore()
        let (slow, faults) = (FaultObjectStore(memory), FaultObjectStore(memory))
        let (late, harness) = (try await Harness(store: faults), try await Harness(store: slow))
        let (owner, candidate) = (harness.node("owner"), late.node("candidate"))
        // The candidate has seen the owner's claim, and nothing behind it, and sleeps before it claims position 2.
        slow.replace { call in
            if case .put(let key) = call, StoreKey.number(at: key) == 2 { await gate.wait() }
            return .none
        }
        let first = Task { try await harness.upsert([harness.point(1)], on: owner) }
        await gate.reached()
        #expect(try await late.contents(candidate).isEmpty)
        let sleep = Gate()
        faults.replace { call in
            if case .put = call { await sleep.wait() }
            return .none
        }
        let write = Task { try await late.upsert([late.point(50)], on: candidate) }
        await sleep.reached()
        gate.open()
        try await first.value
        _ = try await owner.seal(SealRequest(shard: harness.shard, takeover: true, split: true), context: harness.context())
        #expect(try await harness.positions() == [1, 3])
        // It does not even learn what came after its claim.
        faults.replace { call in
            if case .list = call { .lost } else { .none }
        }
        sleep.open()
        await #expect(throws: ClusterError.self) { try await write.value }
        #expect(try await harness.positions() == [1, 2, 3])
        faults.replace { _ in .none }
        for node in [candidate, owner, harness.node("cold")] {
            let error = await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(51)], on: node) }
            #expect(error?.code == .outOfRange, "\(String(describing: error))")
            await node.close()
        }
        #expect(try await harness.positions() == [1, 2, 3])
        let cold = harness.node("cold")
        let halves = ShardLayout.children(of: 0, firstCount: 1)
        var found: [StoredPoint] = []
        for half in [halves.lower, halves.upper] {
            let request = FetchRequest(shard: harness.schema.shard(half, of: .default), selection: .page(from: nil, limit: 10, filter: nil), withVector: true)
            found += try await cold.fetch(request, context: harness.context()).points
        }
        #expect(found.map(\.id) == [.integer(1)])
        await cold.close()
    }
}

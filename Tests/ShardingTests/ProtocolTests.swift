import Model
import Sharding
import Storage
import Synchronization
import Testing

/// Rules of the protocol that one shard's nodes and store show, each named after its number; `covey simulate` holds whole clusters to the rest.
@Suite("The cluster's protocol")
struct ProtocolTests {
    private func entry(_ harness: Harness, _ position: UInt64) async throws -> LogEntry {
        try LogEntry(decoding: try await harness.store.get(StoreKey.log(harness.shard, position: position)))
    }

    @Test("H1: the first write claims at the first missing position with the next epoch; reading claims nothing")
    func claims() async throws {
        let harness = try await Harness()
        let first = harness.node("a")
        _ = try await harness.contents(first)
        #expect(try await harness.positions().isEmpty)
        #expect(try await harness.upsert([harness.point(1)], on: first).position == 2)
        await first.close()
        let second = harness.node("a")
        _ = try await harness.contents(second)
        #expect(try await harness.positions() == [1, 2])
        #expect(try await harness.upsert([harness.point(2)], on: second).position == 4)
        let claims = [try await entry(harness, 1), try await entry(harness, 3)]
        #expect(claims.map(\.content) == [.claim, .claim])
        #expect(claims.map(\.epoch) == [1, 2])
        // H7: the same node, another opening.
        #expect(claims[0].writer.node == claims[1].writer.node && claims[0].writer.incarnation != claims[1].writer.incarnation)
        await second.close()
    }

    @Test("H1, H4: of two nodes that claim one shard, the deposed one's write is refused with aborted and never appears")
    func fencing() async throws {
        let harness = try await Harness()
        let a = harness.node("a")
        let b = harness.node("b")
        try await harness.upsert([harness.point(1)], on: a)
        try await harness.upsert([harness.point(2)], on: b)
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(3)], on: a) }
        #expect(error?.code == .aborted)
        #expect(try await harness.contents(b).map(\.id) == [.integer(1), .integer(2)])
        // The deposed node opens the shard anew and sees what the other wrote.
        #expect(try await harness.contents(a).map(\.id) == [.integer(1), .integer(2)])
        try await harness.upsert([harness.point(4)], on: a)
        #expect(try await harness.contents(a).count == 3)
        await a.close()
        await b.close()
    }

    @Test("H2, H3: truncation keeps claims and the log's last entry, so a sleeper's next position is taken")
    func truncation() async throws {
        let harness = try await Harness()
        let sleeper = harness.node("sleeper")
        try await harness.upsert([harness.point(1)], on: sleeper)
        let owner = harness.node("owner")
        for number in UInt64(2)..<10 { try await harness.upsert([harness.point(number)], on: owner) }
        try await harness.seal(owner)
        let left = try await harness.positions()
        #expect(left == [1, 3, 11])
        #expect(try await entry(harness, 3).content == .claim)
        await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(99)], on: sleeper) }
        #expect(try await harness.contents(owner).count == 9)
        await sleeper.close()
        await owner.close()
    }

    @Test("a write whose caller goes away does not wait for the store, and is written all the same")
    func callerGoesAway() async throws {
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        let gate = Gate()
        faults.replace { call in
            if case .put = call { await gate.wait() }
            return .none
        }
        let write = Task { try await harness.upsert([harness.point(2)], on: node) }
        await gate.reached()
        write.cancel()
        let error = await #expect(throws: ClusterError.self) { try await write.value }
        #expect(error?.code == .cancelled)
        gate.open()
        try await harness.upsert([harness.point(3)], on: node)
        #expect(try await harness.contents(node).count == 3)
        await node.close()
    }

    @Test("H11: a strong read that a takeover has brought what it waits for does not wait for the lease, too")
    func readsDuringTakeover() async throws {
        let memory = MemoryObjectStore()
        let faults = FaultObjectStore(memory)
        let harness = try await Harness(store: memory)
        let (owner, reader) = (harness.node("owner"), try await Harness(store: faults).node("reader") { $0.lease = .seconds(8) })
        try await harness.upsert([harness.point(1)], on: owner)
        #expect(try await harness.contents(reader).count == 1)
        try await harness.upsert([harness.point(2)], on: owner)
        // The read's listing shows the second write; before it is told so, a takeover reads it and waits for the owner's lease.
        let gate = Gate()
        let isFirst = Atomic(true)
        faults.follow { call in
            if case .list = call, isFirst.exchange(false, ordering: .relaxed) { await gate.wait() }
        }
        let read = Task { try await harness.contents(reader) }
        await gate.reached()
        let isWritten = Atomic(false)
        let write = Task {
            try await harness.upsert([harness.point(3)], on: reader)
            isWritten.store(true, ordering: .relaxed)
        }
        while try await harness.status(reader).logPosition < 3 { await Task.yield() }
        gate.open()
        #expect(try await read.value.map(\.id) == [.integer(1), .integer(2)])
        let isTooLate = isWritten.load(ordering: .relaxed)
        #expect(!isTooLate)
        try await write.value
        for node in [owner, reader] { await node.close() }
    }

    @Test("H10: a replica whose next entry was truncated finds the newest manifest, and a listing without its own last entry is no proof that nothing is newer")
    func nothingNewer() async throws {
        let harness = try await Harness()
        let (owner, reader) = (harness.node("owner"), harness.node("reader"))
        try await harness.upsert([harness.point(1)], on: owner)
        #expect(try await harness.contents(reader).count == 1)
        let seen = try #require(try await harness.positions().last)
        for number in UInt64(2)..<10 { try await harness.upsert([harness.point(number)], on: owner) }
        try await harness.seal(owner)
        #expect(try await harness.positions().contains(seen + 1) == false)
        #expect(try await harness.contents(reader).count == 9)
        // An entry that no manifest covers is gone from the store: it says 404 for what it had acknowledged.
        try await harness.upsert([harness.point(10)], on: owner)
        #expect(try await harness.contents(reader).count == 10)
        let last = try #require(try await harness.positions().last)
        let key = StoreKey.log(harness.shard, position: last)
        let entry = try await harness.store.get(key)
        try await harness.store.delete([key])
        for _ in 0..<2 {
            let error = await #expect(throws: ClusterError.self) { try await harness.contents(reader) }
            #expect(error?.code == .unavailable && error?.message.hasSuffix("though this node saw \(last) committed") == true, "\(error)")
        }
        try await harness.store.put(key, entry, ifAbsent: true)
        #expect(try await harness.contents(reader).count == 10)
        for node in [owner, reader] { await node.close() }
    }

    @Test("H5: a put whose reply was lost is recognized as one's own; one that was lost is repeated")
    func lostReplies() async throws {
        let count = Atomic(0)
        let faults = FaultObjectStore(MemoryObjectStore()) { call in
            guard case .put(let key) = call, key.contains("/log/") else { return .none }
            switch count.wrappingAdd(1, ordering: .relaxed).newValue % 3 {
            case 0: return .replyLost
            case 1: return .lost
            default: return .none
            }
        }
        let harness = try await Harness(store: faults)
        let node = harness.node()
        for number in UInt64(0)..<20 { try await harness.upsert([harness.point(number)], on: node) }
        #expect(try await harness.contents(node).count == 20)
        await node.close()
        let again = harness.node()
        #expect(try await harness.contents(again).count == 20)
        #expect(try await harness.status(again).logPosition == 21)
        await again.close()
    }

    @Test("H5: while the outcome stays unknown the writer steps down and says so; the next opening decides")
    func stepsDown() async throws {
        let isDown = Atomic(false)
        let faults = FaultObjectStore(MemoryObjectStore()) { call in
            guard case .put(let key) = call, key.contains("/log/"), isDown.load(ordering: .relaxed) else { return .none }
            return .replyLost
        }
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        faults.replace { call in
            switch call {
            case .put(let key) where key.contains("/log/"): .replyLost
            case .get(let key) where key.contains("/log/"): .lost
            default: .none
            }
        }
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(2)], on: node) }
        #expect(error?.code == .aborted)
        #expect(error?.message.contains("not known") == true)
        faults.replace { _ in .none }
        // It had landed: the next opening shows it, and goes on behind it.
        #expect(try await harness.contents(node).map(\.id) == [.integer(1), .integer(2)])
        try await harness.upsert([harness.point(3)], on: node)
        #expect(try await harness.contents(node).count == 3)
        await node.close()
    }

    @Test("H8: nothing is visible before it is committed")
    func invisibleBeforeCommit() async throws {
        let gate = Gate()
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        faults.replace { call in
            if case .put = call { await gate.wait() }
            return .none
        }
        async let write = harness.upsert([harness.point(2)], on: node)
        await gate.reached()
        #expect(try await harness.contents(node).map(\.id) == [.integer(1)])
        gate.open()
        _ = try await write
        #expect(try await harness.contents(node).count == 2)
        await node.close()
    }

    @Test("H4: writes that arrive while a put is in flight share the next entry")
    func groupCommit() async throws {
        let gate = Gate()
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        let before = try await harness.status(node).logPosition
        faults.replace { call in
            if case .put = call { await gate.wait() }
            return .none
        }
        async let first = harness.upsert([harness.point(2)], on: node)
        await gate.reached()
        await withTaskGroup(of: Void.self) { group in
            for number in UInt64(10)..<40 {
                group.addTask { await #expect(throws: Never.self) { try await harness.upsert([harness.point(number)], on: node) } }
            }
            group.addTask { gate.open() }
        }
        _ = try await first
        #expect(try await harness.contents(node).count == 32)
        // All thirty might come after the gate opened, but never in thirty entries one after the other is not promised: at most.
        #expect(try await harness.status(node).logPosition <= before + 31)
        await node.close()
    }

    @Test("H21: an object that a call on its way puts back under a dropped shard goes with the next drop of it")
    func lateObject() async throws {
        let harness = try await Harness()
        let owner = harness.node("owner")
        try await harness.upsert([harness.point(1)], on: owner)
        try await owner.drop(DropRequest(shard: harness.shard), context: harness.context())
        let left = try await harness.keys(StoreKey.shard(harness.shard))
        let late = [
            StoreKey.segment(harness.shard, name: SegmentRecord.name(epoch: 1, incarnation: 9, counter: 1)),
            StoreKey.bulk(harness.shard, name: BulkRecord.name(position: 3, epoch: 1, incarnation: 9, counter: 1)),
            StoreKey.manifest(harness.shard, version: 1), StoreKey.log(harness.shard, position: 2),
        ]
        for key in late { try await harness.store.put(key, Array("needle".utf8), ifAbsent: true) }
        await owner.close()
        let other = harness.node("other")
        try await other.drop(DropRequest(shard: harness.shard), context: harness.context())
        #expect(try await harness.keys(StoreKey.shard(harness.shard)) == left)
        // The same when its schema is gone.
        for key in late { try await harness.store.put(key, Array("needle".utf8), ifAbsent: true) }
        try await harness.store.delete(StoreKey.schema(harness.schema.incarnation, of: .default))
        try await other.drop(DropRequest(shard: harness.shard), context: harness.context())
        #expect(try await harness.keys(StoreKey.shard(harness.shard)) == left)
        await other.close()
    }

    @Test("H20: a delete by filter is resolved where it stands; the log holds the ids")
    func resolvedDeletes() async throws {
        let harness = try await Harness()
        let node = harness.node()
        try await harness.upsert([harness.point(1, 0, ["a": 1]), harness.point(2, 0, ["a": 2])], on: node)
        let reply = try await node.append(
            AppendRequest(
                shard: harness.shard,
                operations: [
                    .upsert([harness.point(3, 0, ["a": 1]), harness.point(1, 0, ["a": 5])]), .deleteWhere(Filter(must: [.match(key: "a", anyOf: [1])])),
                    .upsert([harness.point(4, 0, ["a": 1])]),
                ]), context: harness.context())
        #expect(try await harness.contents(node).map(\.id) == [.integer(1), .integer(2), .integer(4)])
        guard case .data(_, let requests) = try await entry(harness, reply.position).content else { throw ClusterError(.internal, "not data") }
        #expect(requests[0].operations[2] == .delete([.integer(3)]))
        await node.close()
    }

    @Test("H21: after a drop nothing of a user's is left, and no sleeper can write to what is gone")
    func dropping() async throws {
        let harness = try await Harness()
        let sleeper = harness.node("sleeper")
        try await harness.upsert([harness.point(1, 0, ["secret": "needle"])], on: sleeper)
        let owner = harness.node("owner")
        try await harness.upsert([harness.point(2, 0, ["secret": "needle"])], on: owner)
        try await harness.seal(owner)
        try await owner.drop(DropRequest(shard: harness.shard), context: harness.context())
        for key in try await harness.keys(StoreKey.shard(harness.shard)) {
            let entry = try LogEntry(decoding: try await harness.store.get(key))
            #expect(entry.isFence)
        }
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(3)], on: sleeper) }
        #expect(error?.code == .aborted)
        let gone = await #expect(throws: ClusterError.self) { try await harness.contents(owner) }
        #expect(gone?.code == .notFound)
        try await owner.drop(DropRequest(shard: harness.shard), context: harness.context())
        await sleeper.close()
        await owner.close()
    }

    @Test("an entry of a newer release stops the shard by name")
    func newerRelease() async throws {
        let harness = try await Harness()
        let key = StoreKey.log(harness.shard, position: 1)
        try await harness.store.put(key, Frame(kind: "log entry", magic: LogEntry.frame.magic, version: 7).wrap([]), ifAbsent: true)
        let node = harness.node()
        let error = await #expect(throws: ClusterError.self) { try await harness.contents(node) }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains(key) == true)
        await node.close()
    }
}

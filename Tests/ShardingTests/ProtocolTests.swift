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

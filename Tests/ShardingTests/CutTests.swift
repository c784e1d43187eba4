import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("Cuts: one moment of several shards (H23)") struct CutTests {
    private static let cut = Cut(id: Nonce(high: 1, low: 2), begunAt: Harness.began)

    /// Puts a barrier where the next entry would be.
    @discardableResult
    private static func putBarrier(_ harness: Harness, of cut: Cut = cut, at position: UInt64? = nil) async throws -> UInt64 {
        let last = try await harness.positions().last ?? 0
        let position = position ?? last + 1
        let writer = LogWriterID(node: NodeID("snapshot"), incarnation: 1)
        let entry = LogEntry(position: position, epoch: 0, writer: writer, nonce: .random(), content: .barrier(cut))
        try await harness.store.put(StoreKey.log(harness.shard, position: position), entry.encoded(), ifAbsent: true)
        return position
    }

    private static func decide(_ harness: Harness, _ cut: Cut = cut) async throws {
        try await harness.store.put(StoreKey.cut(cut, of: .default), Cut.Decision.made.encoded(), ifAbsent: true)
    }

    private static func decision(_ harness: Harness, _ cut: Cut = cut) async throws -> Cut.Decision {
        try Cut.Decision(decoding: try await harness.store.get(StoreKey.cut(cut, of: .default)))
    }

    enum Work: CaseIterable { case data, bulk, seal, split, merge, release }

    @Test("whatever an owner does that meets a barrier waits until the cut is decided, and is then done once", arguments: Work.allCases, [false, true])
    func waits(work: Work, isAnotherOwner: Bool) async throws {
        let memory = MemoryObjectStore()
        let store = FaultObjectStore(memory)
        let harness = try await Harness(store: store)
        // Only who has a lease gives a shard up; whoever took it over would wait for that.
        guard work != .release || !isAnotherOwner else { return }
        let first = harness.node("first") {
            $0.entryBytes = 4_096
            if work == .release { $0.lease = .seconds(3_600) }
        }
        try await harness.upsert((0..<20).map { harness.point($0, Float($0)) }, on: first)
        if work == .merge { _ = try await first.seal(SealRequest(shard: harness.shard, takeover: true, split: true), context: harness.context()) }
        let shard = work == .merge ? harness.schema.shard(ShardLayout.children(of: 0, firstCount: 1).upper, of: .default) : harness.shard
        let before = try await memory.listAll(prefix: StoreKey.log(shard))
        let parent = try await harness.positions().last ?? 0
        let position = before.last.flatMap { StoreKey.number(at: $0) } ?? parent
        let barrier = LogEntry(
            position: position + 1, epoch: 0, writer: LogWriterID(node: NodeID("snapshot"), incarnation: 1), nonce: .random(), content: .barrier(Self.cut))
        try await memory.put(StoreKey.log(shard, position: position + 1), barrier.encoded(), ifAbsent: true)
        // The third look finds that it was decided, and until then nothing is put after the barrier but a claim.
        let looks = Atomic(0)
        let early = Mutex<[String]>([])
        store.replace { call in
            if case .get(let key) = call, key == StoreKey.cut(Self.cut, of: .default), looks.wrappingAdd(1, ordering: .relaxed).newValue == 3 {
                try? await memory.put(key, Cut.Decision.made.encoded(), ifAbsent: true)
            }
            return .none
        }
        store.follow { call in
            guard looks.load(ordering: .relaxed) < 3, case .put(let key) = call, key.hasPrefix(StoreKey.shard(shard)), !key.contains("/bulk/") else { return }
            if key.hasPrefix(StoreKey.log(shard)), let bytes = try? await memory.get(key), case .claim? = try? LogEntry(decoding: bytes).content { return }
            early.withLock { $0.append(key) }
        }
        let node = isAnotherOwner ? harness.node("second") { $0.entryBytes = 4_096 } : first
        let late = (0..<(work == .bulk ? 10 : 1)).map { harness.point(100 + $0, 1, ["t": .string(String(repeating: "x", count: 900))]) }
        switch work {
        case .data, .bulk: try await harness.upsert(late, on: node)
        case .seal:
            // It is known, so that a seal must look.
            if !isAnotherOwner { try await harness.upsert(late, on: node) }
            try await harness.seal(node)
        case .split: _ = try await node.seal(SealRequest(shard: shard, takeover: true, split: true), context: harness.context())
        case .merge:
            let lower = ShardLayout.children(of: 0, firstCount: 1).lower
            _ = try await node.seal(SealRequest(shard: shard, takeover: true, mergeWith: lower), context: harness.context())
        case .release:
            await node.close()
        }
        #expect(early.withLock { $0 } == [])
        #expect(looks.load(ordering: .relaxed) == 3)
        let after = try await memory.listAll(prefix: StoreKey.log(shard))
        #expect(after.contains(StoreKey.log(shard, position: position + 1)), "a barrier is a fence: \(after)")
        if work == .data || work == .bulk {
            #expect(after.last == StoreKey.log(shard, position: position + (isAnotherOwner ? 3 : 2)))
            #expect(try await harness.contents(harness.node("cold")).count == 20 + late.count)
            try await harness.seal(node)
            #expect(try await harness.contents(harness.node("cold")).count == 20 + late.count)
            #expect(try await memory.listAll(prefix: StoreKey.bulk(shard)).isEmpty)
        }
        await node.close()
        await first.close()
    }

    @Test("a cut that nobody decides is called off, and one that is old is not waited for")
    func patience() async throws {
        for (begunAt, patience) in [(Self.cut.begunAt, Duration.milliseconds(1)), (Self.cut.begunAt - 3_600, .seconds(3_600)), (Self.cut.begunAt + 3_600, .seconds(3_600))] {
            let harness = try await Harness()
            let cut = Cut(id: .random(), begunAt: begunAt)
            try await Self.putBarrier(harness, of: cut)
            let node = harness.node { $0.cutPatience = patience }
            try await harness.upsert([harness.point(1)], on: node)
            #expect(try await Self.decision(harness, cut) == .abandoned)
            try await harness.upsert([harness.point(2)], on: node)
            #expect(try await harness.contents(node).count == 2)
            await node.close()
        }
    }

    @Test("reads and status go on beside a cut that is not decided")
    func reads() async throws {
        let harness = try await Harness()
        let node = harness.node { $0.cutPatience = .seconds(3_600) }
        try await harness.upsert([harness.point(1)], on: node)
        let barrier = try await Self.putBarrier(harness)
        for reader in [node, harness.node("cold")] {
            #expect(try await harness.contents(reader).map(\.id) == [.integer(1)])
            #expect(try await harness.status(reader).logPosition == barrier)
        }
        await node.close()
    }

    @Test("H2: truncation keeps barriers, so that an owner that slept before one meets it, and then who replaced it")
    func sleeper() async throws {
        let harness = try await Harness()
        let sleeper = harness.node("sleeper")
        try await harness.upsert([harness.point(1)], on: sleeper)
        let barrier = try await Self.putBarrier(harness)
        try await Self.decide(harness)
        let owner = harness.node("owner")
        for number in UInt64(2)..<10 { try await harness.upsert([harness.point(number)], on: owner) }
        try await harness.seal(owner)
        #expect(try await harness.positions() == [1, barrier, barrier + 1, 12])
        let error = await #expect(throws: ClusterError.self) { try await harness.upsert([harness.point(99)], on: sleeper) }
        #expect(error?.code == .aborted)
        #expect(try await harness.contents(owner).count == 9)
        await sleeper.close()
        await owner.close()
    }

    @Test("H3: a barrier that fills a hole of the truncated log misleads neither a replica that stood before it nor who opens the shard")
    func barrierInAHole() async throws {
        let memory = MemoryObjectStore()
        let slow = FaultObjectStore(memory)
        let harness = try await Harness(store: memory)
        let (first, reader) = (harness.node("first"), harness.node("reader"))
        try await harness.upsert([harness.point(1)], on: first)
        let owner = try await Harness(store: slow).node("owner")
        // The reader stands at the owner's claim, at position 3, and sees neither 4, which is truncated, nor 5.
        slow.replace { call in
            if call == .put(StoreKey.log(harness.shard, position: 4)) { _ = try? await harness.contents(reader) }
            return .none
        }
        try await harness.upsert([harness.point(2)], on: owner)
        try await harness.upsert([harness.point(3)], on: owner)
        // Another opens it: between its reading of the manifest and that of the log the shard is sealed, and the hole is filled.
        let late = FaultObjectStore(memory)
        let isFirst = Atomic(true)
        late.follow { call in
            guard case .list(let prefix) = call, prefix == StoreKey.manifests(harness.shard), isFirst.exchange(false, ordering: .relaxed) else { return }
            _ = try? await harness.seal(owner)
            _ = try? await Self.putBarrier(harness, at: 4)
        }
        let opener = try await Harness(store: late).node("opener")
        #expect(try await harness.contents(opener).map(\.id) == [1, 2, 3].map(PointID.integer))
        let wasSealed = !isFirst.load(ordering: .relaxed)
        #expect(wasSealed)
        #expect(try await harness.positions() == [1, 3, 4, 5])
        #expect(try await harness.contents(reader).map(\.id) == [1, 2, 3].map(PointID.integer))
        for node in [first, owner, opener, reader] { await node.close() }
    }

    @Test("a decision that is damaged decides nothing for a snapshot, and all the same for an owner")
    func damage() async throws {
        for bytes in [[], [1], Cut.Decision.made.encoded().dropLast() + [0]] as [[UInt8]] {
            #expect(throws: FormatError.self) { try Cut.Decision(decoding: bytes) }
        }
        for decision in [Cut.Decision.made, .abandoned] { #expect(try Cut.Decision(decoding: decision.encoded()) == decision) }
        let harness = try await Harness()
        try await Self.putBarrier(harness)
        try await harness.store.put(StoreKey.cut(Self.cut, of: .default), [7], ifAbsent: true)
        let node = harness.node { $0.cutPatience = .seconds(3_600) }
        try await harness.upsert([harness.point(1)], on: node)
        await node.close()
        // `covey verify` names it.
        let found = Mutex<[StoreFinding]>([])
        _ = try await StoreAudit(store: harness.store, pause: {}).run { tenant in found.withLock { $0 += tenant.allFindings } }
        #expect(found.withLock { $0.filter { $0.kind == .damaged }.map(\.key) } == [StoreKey.cut(Self.cut, of: .default)])
    }
}

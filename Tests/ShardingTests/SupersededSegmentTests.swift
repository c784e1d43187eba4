import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("Segments that a seal superseded (H16)")
struct SupersededSegmentTests {
    @Test("H16, H18: a seal leaves one segment, sixteen manifests and no orphans")
    func collecting() async throws {
        let harness = try await Harness()
        let node = harness.node()
        for number in UInt64(0)..<20 {
            try await harness.upsert([harness.point(number)], on: node)
            try await harness.seal(node)
        }
        #expect(try await harness.keys(StoreKey.segments(harness.shard)).count == 1)
        #expect(try await harness.keys(StoreKey.manifests(harness.shard)).count == 16)
        #expect(try await harness.positions() == [1, 21])
        #expect(try await harness.status(node).manifestVersion == 20)
        await node.close()
    }

    @Test("H16: a reader whose segments were merged and deleted before it had them reads the newest manifest again")
    func collectedWhileOpening() async throws {
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let owner = harness.node("owner")
        try await harness.upsert((0..<50).map { harness.point($0) }, on: owner)
        try await harness.seal(owner)
        let isFirst = Mutex(true)
        let reading = Mutex(false)
        faults.replace { call in
            // What the reader is about to map goes first.
            guard case .localFile = call, reading.withLock({ $0 }), isFirst.withLock({ first in defer { first = false }; return first }) else { return .none }
            reading.withLock { $0 = false }
            _ = try? await harness.upsert([harness.point(99)], on: owner)
            _ = try? await harness.seal(owner)
            return .none
        }
        reading.withLock { $0 = true }
        let reader = harness.node("reader")
        #expect(try await harness.contents(reader).count == 51)
        #expect(try await harness.status(reader).damaged.isEmpty)
        await reader.close()
        await owner.close()
    }

    @Test("H16: a segment that a seal deletes between the finding and the mapping of its file is no damage: the newest manifest is read again")
    func deletedBeforeItIsMapped() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-late-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try LocalObjectStore(root: root)
        let late = FaultObjectStore(store)
        let harness = try await Harness(store: store)
        let (owner, reader) = (harness.node("owner"), try await Harness(store: late).node("reader"))
        try await harness.upsert([harness.point(1)], on: owner)
        try await harness.seal(owner)
        try await harness.upsert([harness.point(2)], on: owner)
        let isFirst = Atomic(true)
        late.follow { call in
            if case .localFile = call, isFirst.exchange(false, ordering: .relaxed) { _ = try? await harness.seal(owner) }
        }
        #expect(try await harness.contents(reader).map(\.id) == [.integer(1), .integer(2)])
        #expect(try await harness.status(reader).damaged.isEmpty && !isFirst.load(ordering: .relaxed))
        for node in [owner, reader] { await node.close() }
    }

    @Test("H16: readers that open beside an owner which seals and deletes see whole states, under seeds", arguments: 1...6 as ClosedRange<UInt64>)
    func openingBesideSeals(seed: UInt64) async throws {
        let random = Mutex(SeededRandom(seed: seed))
        let faults = FaultObjectStore(MemoryObjectStore()) { _ in
            for _ in 0..<random.withLock({ Int.random(in: 0..<4, using: &$0) }) { await Task.yield() }
            return .none
        }
        let harness = try await Harness(store: faults)
        let owner = harness.node("owner") { $0.entryBytes = 2_048 }
        try await harness.upsert([harness.point(0)], on: owner)
        let acknowledged = Mutex(1)
        let isWriting = Mutex(true)
        async let writing: Void = {
            defer { isWriting.withLock { $0 = false } }
            for step in UInt64(1)..<25 {
                try await harness.upsert((0..<20).map { harness.point(step * 20 + $0, Float(step), ["t": .string(String(repeating: "x", count: 100))]) }, on: owner)
                acknowledged.withLock { $0 += 20 }
                if step % 3 == 0 { try await harness.seal(owner) }
            }
        }()
        while isWriting.withLock({ $0 }) {
            let before = acknowledged.withLock { $0 }
            let reader = harness.node("reader") { $0.verifyTimeout = .seconds(60) }
            let count = try await harness.contents(reader).count
            // Each request is whole or not there.
            #expect(count >= before && count % 20 == 1)
            #expect(try await harness.status(reader).damaged.isEmpty)
            await reader.close()
        }
        try await writing
        await owner.close()
    }

    @Test("a store that does not answer is no damage: the shard is opened again by the next call")
    func unavailableSegment() async throws {
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let owner = harness.node("owner")
        try await harness.upsert([harness.point(1)], on: owner)
        try await harness.seal(owner)
        await owner.close()
        faults.replace { if case .localFile = $0 { .lost } else { .none } }
        let node = harness.node()
        let error = await #expect(throws: ClusterError.self) { try await harness.contents(node) }
        #expect(error?.code == .unavailable)
        faults.replace { _ in .none }
        #expect(try await harness.contents(node).count == 1)
        #expect(try await harness.status(node).damaged.isEmpty)
        await node.close()
    }
}

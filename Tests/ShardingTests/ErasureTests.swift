import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

/// Deleted means gone: a scanner reads every byte of the store's folder.
@Suite("Erasure")
struct ErasureTests {
    private static let text = "a-needle-in-the-payload"
    private static let vector: [Float] = [0.123456, -7.654321, 3.1415927, -2.7182817]

    /// Files of a folder that hold the needle's text or the bytes of its vector, two elements of it being enough.
    private func scan(_ root: String) -> [String] {
        let needles = [Data(Self.text.utf8), unsafe Self.vector[0...1].withUnsafeBytes { Data($0) }, unsafe Self.vector[2...3].withUnsafeBytes { Data($0) }]
        let paths = (try? FileManager.default.subpathsOfDirectory(atPath: root)) ?? []
        return paths.sorted().filter { path in
            guard let bytes = FileManager.default.contents(atPath: root + "/" + path) else { return false }
            return needles.contains { bytes.range(of: $0) != nil }
        }
    }

    private func makeStore() throws -> (root: String, store: LocalObjectStore) {
        let root = FileManager.default.temporaryDirectory.path + "/covey-erasure-\(UInt64.random(in: .min ... .max))"
        return (root, try LocalObjectStore(root: root))
    }

    private func needle(_ id: UInt64 = 1) -> Point { Point(id: .integer(id), vector: Self.vector, payload: ["text": .string(Self.text), "group": "g"]) }

    private func marks(_ store: any ObjectStore) async throws -> [ErasureMark] {
        try await store.listAll(prefix: ErasureMark.prefix).compactMap { ErasureMark(key: $0) }
    }

    enum Way: CaseIterable, Sendable {
        case unsealed, sealed, overwritten, byFilter, large, inOneRequest, inOneRequestThenReopened, afterTakeover, sealedInParts, twice
    }

    @Test("after a shard was rewritten no file of the store holds what was deleted or overwritten", arguments: Way.allCases)
    func scanner(way: Way) async throws {
        let (root, store) = try makeStore()
        defer { try? FileManager.default.removeItem(atPath: root) }
        let harness = try await Harness(store: store)
        func make(_ name: String) -> ShardNode { harness.node(name) { if way == .large { $0.entryBytes = 2_048 } } }
        var node = make("a")
        try await harness.upsert((100..<150).map { harness.point($0, Float($0)) }, on: node)
        if way == .sealedInParts { try await harness.seal(node) }
        let others = (200..<230).map { harness.point($0, Float($0), ["t": .string(String(repeating: "y", count: 100))]) }
        switch way {
        case .inOneRequest, .inOneRequestThenReopened:
            _ = try await node.append(AppendRequest(shard: harness.shard, operations: [.upsert([needle()]), .delete([.integer(1)])]), context: harness.context())
        case .large: try await harness.upsert(others + [needle()], on: node)
        default: try await harness.upsert([needle()], on: node)
        }
        if way == .sealed || way == .afterTakeover || way == .byFilter || way == .twice { try await harness.seal(node) }
        #expect(!scan(root).isEmpty)
        let isInside = way == .inOneRequest || way == .inOneRequestThenReopened
        #expect(try await marks(store).count == (isInside ? 1 : 0))
        switch way {
        case .inOneRequest: break
        case .inOneRequestThenReopened:
            await node.close()
            node = make("a")
        case .overwritten: try await harness.upsert([harness.point(1, 5)], on: node)
        case .byFilter:
            let filter = Filter(must: [.match(key: "group", anyOf: ["g"])])
            _ = try await node.append(AppendRequest(shard: harness.shard, operations: [.deleteWhere(filter)]), context: harness.context())
        case .afterTakeover:
            await node.close()
            node = make("b")
            try await harness.delete([1], on: node)
        default: try await harness.delete([1], on: node)
        }
        if way == .twice {
            try await harness.seal(node)
            #expect(scan(root).isEmpty)
            try await harness.upsert([needle(2)], on: node)
            #expect(!scan(root).isEmpty)
            try await harness.delete([2], on: node)
        }
        #expect(try await marks(store).map(\.shard) == Array(repeating: harness.shard, count: way == .twice ? 2 : 1))
        try await harness.seal(node)
        #expect(scan(root).isEmpty)
        let expected = 50 + (way == .overwritten ? 1 : 0) + (way == .large ? 30 : 0)
        #expect(try await harness.contents(node).count == expected)
        await node.close()
        let again = make("c")
        #expect(try await harness.contents(again).count == expected)
        await again.close()
    }

    @Test("what a seal could not delete is told, and goes when it is tried again, also by another process", arguments: [false, true])
    func failedCollecting(restarts: Bool) async throws {
        let (root, store) = try makeStore()
        defer { try? FileManager.default.removeItem(atPath: root) }
        let faults = FaultObjectStore(store)
        let harness = try await Harness(store: faults)
        var node = harness.node()
        try await harness.upsert([needle(), harness.point(2)], on: node)
        try await harness.seal(node)
        try await harness.delete([1], on: node)
        faults.replace { if case .delete = $0 { .lost } else { .none } }
        let error = await #expect(throws: ClusterError.self) { try await harness.seal(node) }
        #expect(error?.code == .unavailable && error?.message.contains("superseded objects remain") == true)
        #expect(!scan(root).isEmpty)
        faults.replace { _ in .none }
        if restarts {
            await node.close()
            node = harness.node()
        }
        try await harness.seal(node)
        #expect(scan(root).isEmpty)
        #expect(try await harness.contents(node).map(\.id) == [.integer(2)])
        await node.close()
    }

    @Test("a deletion while a shard is rewritten is marked again, as that rewriting does not see it")
    func markedAgain() async throws {
        let gate = Gate()
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert((0..<20).map { harness.point($0) }, on: node)
        try await harness.delete([1], on: node)
        try await harness.delete([2], on: node)
        let before = try await marks(faults)
        #expect(before.count == 1)
        faults.replace { call in
            if case .putFile = call { await gate.wait() }
            return .none
        }
        async let sealed = harness.seal(node)
        await gate.reached()
        try await harness.delete([3], on: node)
        gate.open()
        _ = try await sealed
        #expect(try await marks(faults).count == 2)
        await node.close()
    }

    @Test("a write that supersedes is refused while its mark cannot be put, and changes nothing")
    func unmarked() async throws {
        let faults = FaultObjectStore(MemoryObjectStore())
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        faults.replace { $0.key.hasPrefix(ErasureMark.prefix) ? .lost : .none }
        let error = await #expect(throws: ClusterError.self) { try await harness.delete([1], on: node) }
        #expect(error?.code == .unavailable)
        #expect(try await harness.contents(node).count == 1)
        // What supersedes nothing needs none.
        try await harness.upsert([harness.point(2)], on: node)
        try await harness.delete([77], on: node)
        faults.replace { _ in .none }
        try await harness.delete([1], on: node)
        #expect(try await harness.contents(node).map(\.id) == [.integer(2)])
        await node.close()
    }

    @Test("shards that nobody uses are closed, and opened again by the next call")
    func idleShards() async throws {
        let harness = try await Harness()
        let node = harness.node()
        try await harness.upsert([harness.point(1)], on: node)
        try await harness.seal(node)
        await node.letGo(after: .seconds(3_600))
        #expect(try await harness.upsert([harness.point(2)], on: node).position == 3)
        await node.letGo(after: .zero)
        // Another opening claims.
        #expect(try await harness.upsert([harness.point(3)], on: node).position == 5)
        #expect(try await harness.contents(node).count == 3)
        await node.close()
    }

    @Test("dropping a tenant leaves nothing of it but fences and names, then not even these, and no other tenant's")
    func tenant() async throws {
        let (root, store) = try makeStore()
        defer { try? FileManager.default.removeItem(atPath: root) }
        let harness = try await Harness(store: store)
        let (name, registry) = (try CollectionName("test"), SchemaRegistry(store: store))
        try await store.delete(StoreKey.schema(harness.schema.incarnation, of: .default))
        _ = try await registry.create(harness.schema, named: name, tenant: .default)
        let other = try TenantID("other")
        try await store.put(StoreKey.file("file-1", of: other) + "content", Array("kept".utf8), ifAbsent: true)
        let owner = harness.node("owner") { $0.entryBytes = 2_048 }
        try await harness.upsert([needle(), harness.point(2)], on: owner)
        try await harness.seal(owner)
        try await harness.upsert((3..<40).map(needle), on: owner)
        try await harness.delete([5], on: owner)
        try await store.put(StoreKey.file("file-1", of: .default) + "content", Array(Self.text.utf8), ifAbsent: true)
        let shelf = SnapshotShelf(store: store, tenant: .default)
        _ = try await SnapshotWriter(source: store, tenant: .default, target: try shelf.snapshot("s")).write([name], id: "s")
        #expect(scan(root).count > 4)
        let eraser = TenantEraser(store: store, tenant: .default)
        #expect(try await eraser.erase() == 1)
        #expect(scan(root).isEmpty)
        #expect(try await marks(store).isEmpty)
        // The owner, which was not told, cannot write.
        await #expect(throws: ClusterError.self) { try await harness.upsert([needle(99)], on: owner) }
        #expect(scan(root).isEmpty)
        #expect(try await eraser.erase() == 0)
        await owner.close()
        try await eraser.eraseFinally()
        #expect(try await store.listAll(prefix: "") == [StoreKey.file("file-1", of: other) + "content"])
    }
}

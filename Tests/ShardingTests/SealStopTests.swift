import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("stopping a seal")
struct SealStopTests {
    /// Files in the making, below a store's folder; the lock says that the process lives.
    private func scratchFiles(_ root: String) -> [String] {
        (FileManager.default.enumerator(atPath: root + "/.tmp")?.allObjects as? [String] ?? []).filter { name in
            var isFolder: ObjCBool = false
            return !name.hasSuffix("/lock") && FileManager.default.fileExists(atPath: root + "/.tmp/" + name, isDirectory: &isFolder) && !isFolder.boolValue
        }
    }

    private func filled(_ root: String, points: Int) async throws -> (Harness, ShardNode) {
        let harness = try await Harness(store: try LocalObjectStore(root: root), dimension: 64)
        let node = harness.node { $0.searchThreads = 2 }
        var random = SeededRandom(seed: 4)
        try await harness.upsert(
            (0..<UInt64(points)).map { number in
                Point(id: .integer(number), vector: (0..<64).map { _ in Float.random(in: -1...1, using: &random) }, payload: ["text": .string("text \(number)")])
            }, on: node)
        return (harness, node)
    }

    /// Seals, and runs `body` once so much is done; a seal that was faster is over by then.
    private func sealing(_ harness: Harness, _ node: ShardNode, until share: Double, _ body: () async throws -> Void) async throws -> Result<SealReply, any Error> {
        let seal = Task { try await harness.seal(node) }
        var seen = 0.0
        while (try? await harness.status(node).segments) == 0, seen < share {
            seen = try await harness.status(node).sealing ?? 0
            await Task.yield()
        }
        try await body()
        return await seal.result
    }

    @Test("a segment that cannot be stored is not built again with every write, and leaves no file")
    func pause() async throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("covey-seal-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: root) }
        let uploads = Atomic(0)
        let faults = FaultObjectStore(try LocalObjectStore(root: root)) { call in
            guard case .putFile = call else { return .none }
            uploads.add(1, ordering: .relaxed)
            return .lost
        }
        let harness = try await Harness(store: faults)
        let now = ContinuousClock.now
        let node = harness.node { $0.sealPoints = 10 }
        for number in UInt64(0)..<200 { try await harness.upsert([harness.point(number)], on: node) }
        await node.close()
        // One more for each second that it took.
        #expect((1...2 + Int(now.duration(to: .now).components.seconds)).contains(uploads.load(ordering: .relaxed)))
        #expect(scratchFiles(root).isEmpty)
    }

    @Test("a seal ends with its node, wherever it is: no file is left, nothing is lost, and the next start seals", arguments: [0, 0.1, 0.5, 0.8, 0.95])
    func close(share: Double) async throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("covey-seal-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: root) }
        let (harness, node) = try await filled(root, points: 5_000)
        let result = try await sealing(harness, node, until: share) {
            let reply = try await harness.search(node, [Float](repeating: 0.1, count: 64))
            #expect(reply.hits.count == 10)
            await node.close()
        }
        let segments = try await harness.keys(StoreKey.segments(harness.shard))
        switch result {
        case .success(let reply): #expect(reply == SealReply(points: 5_000, segments: 1) && segments.count == 1)
        case .failure(let error):
            #expect([.cancelled, .unavailable].contains(ClusterError(error).code))
            #expect(segments.isEmpty)
        }
        #expect(scratchFiles(root).isEmpty)

        let next = harness.node("b")
        #expect(try await harness.contents(next).count == 5_000)
        #expect(try await harness.seal(next) == SealReply(points: 5_000, segments: 1))
        #expect(try await harness.status(next).sealing == nil)
        await next.close()
    }

    @Test("dropping a shard ends its seal and leaves nothing of it")
    func drop() async throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("covey-seal-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: root) }
        let (harness, node) = try await filled(root, points: 5_000)
        _ = try await sealing(harness, node, until: 0.3) { try await node.drop(DropRequest(shard: harness.shard), context: harness.context()) }
        #expect(try await harness.keys(StoreKey.segments(harness.shard)).isEmpty)
        #expect(scratchFiles(root).isEmpty)
        await node.close()
    }
}

import Foundation
import Model
import Sharding
import Storage
import Testing

@Suite("A shard on a file system that crashes")
struct CrashTests {
    /// Writes until the machine crashes before `step`, restarts, and says what is not as it was promised.
    private func run(step: Int?, seed: UInt64?, ignoring: SyncPurpose? = nil) async throws -> (violations: [String], steps: Int) {
        let files = SimulatedFileSystem(ignoring: ignoring)
        let root = FileManager.default.temporaryDirectory.path + "/covey-crash-\(UInt64.random(in: .min ... .max))"
        if let step { files.crash(beforeStep: step) }
        var model = ShardModel()
        /// The operation whose outcome nobody was told.
        var open: [AppendRequest.Operation]?
        var wasCreated = false
        var node: ShardNode?
        do {
            let harness = try await Harness(store: try LocalObjectStore(root: root, fileSystem: files))
            wasCreated = true
            let first = harness.node { $0.entryBytes = 2_048 }
            node = first
            for number in UInt64(0)..<9 {
                if number == 3 { files.failNextSync(.name) }
                // The sixth and the ninth are larger than an entry: their operations lie in several objects beside the log.
                let text = JSONValue.string(String(repeating: "x", count: number % 3 == 2 && number > 2 ? 700 : 1))
                let operations: [AppendRequest.Operation] =
                    number % 4 == 3
                    ? [.delete([.integer(number - 1), .integer(number - 3)])]
                    : [.upsert([harness.point(number, Float(number), ["t": text]), harness.point(number / 2, 100, ["t": text]), harness.point(50, Float(number), ["t": text])])]
                open = operations
                _ = try await first.append(AppendRequest(shard: harness.shard, operations: operations), context: harness.context())
                model.apply(operations)
                open = nil
                if number == 4 || number == 7 { try await harness.seal(first) }
            }
        } catch {
            if step == nil { throw error }
        }
        await node?.close()
        let steps = files.steps
        files.restart(seed: seed)
        guard wasCreated else { return ([], steps) }
        do {
            let harness = try await Harness(store: try LocalObjectStore(root: root, fileSystem: files))
            let again = harness.node()
            let found = try await harness.contents(again)
            var possible = [model]
            if let open {
                possible.append(model)
                possible[1].apply(open)
            }
            let isPromised = possible.contains { $0.sorted().map(\.id) == found.map(\.id) && $0.sorted().map(\.vector) == found.map(\.vector) }
            var violations = isPromised ? [] : ["promised \(possible.map { $0.sorted().map(\.id) }), found \(found.map(\.id))"]
            // The shard goes on.
            try await harness.upsert([harness.point(77)], on: again)
            try await harness.seal(again)
            if try await harness.contents(again).count != found.count + 1 { violations.append("cannot go on") }
            violations += try await harness.status(again).damaged
            violations += try await harness.keys(StoreKey.bulk(harness.shard)).map { "\($0) was left behind" }
            await again.close()
            return (violations, steps)
        } catch { return (["\(error)"], steps) }
    }

    @Test("nothing acknowledged is lost and nothing deleted comes back, wherever it crashes", arguments: [nil, 1] as [UInt64?])
    func crashes(seed: UInt64?) async throws {
        let total = try await run(step: nil, seed: seed).steps
        #expect(total > 100)
        for step in 0...total {
            let violations = try await run(step: step, seed: seed.map { $0 &* 1_000 &+ UInt64(step) }).violations
            #expect(violations.isEmpty, "crash before step \(step)")
        }
    }

    @Test("without any one synchronization before the acknowledgement a write is lost", arguments: [SyncPurpose.contents, .name, .folder, .existing])
    func everySyncIsNeeded(purpose: SyncPurpose) async throws {
        let total = try await run(step: nil, seed: nil, ignoring: purpose).steps
        var violations: [String] = []
        for step in stride(from: 0, through: total, by: 3) { violations += try await run(step: step, seed: nil, ignoring: purpose).violations }
        violations += try await run(step: total, seed: nil, ignoring: purpose).violations
        #expect(!violations.isEmpty)
    }

    @Test("what a drop erased stays erased after a crash, and not without its synchronization (H21)", arguments: [false, true])
    func dropSurvivesCrash(ignoresSync: Bool) async throws {
        let files = SimulatedFileSystem(ignoring: ignoresSync ? .removal : nil)
        let root = FileManager.default.temporaryDirectory.path + "/covey-crash-\(UInt64.random(in: .min ... .max))"
        let harness = try await Harness(store: try LocalObjectStore(root: root, fileSystem: files))
        let node = harness.node { $0.entryBytes = 2_048 }
        try await harness.upsert([harness.point(1, 0, ["secret": "needle"])], on: node)
        try await harness.seal(node)
        try await harness.upsert([harness.point(2, 0, ["secret": "needle"])], on: node)
        try await harness.upsert((3..<40).map { harness.point($0, 0, ["secret": "needle"]) }, on: node)
        #expect(try await !harness.keys(StoreKey.bulk(harness.shard)).isEmpty)
        try await node.drop(DropRequest(shard: harness.shard), context: harness.context())
        await node.close()
        files.restart(seed: nil)
        let store = try LocalObjectStore(root: root, fileSystem: files)
        var found = false
        for key in try await store.listAll(prefix: StoreKey.shard(harness.shard)) {
            let bytes = try await store.get(key)
            found = found || String(decoding: bytes, as: UTF8.self).contains("needle")
        }
        #expect(found == ignoresSync)
    }
}

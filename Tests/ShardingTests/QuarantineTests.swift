import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

/// What a process that died leaves behind is written here as it writes it itself: the real deaths are in `test_quarantine.py`.
@Suite("A shard that processes died at") struct QuarantineTests {
    /// A node in a process that came after those that died.
    private struct Next {
        let harness: Harness
        let folder: String
        let now: Clock

        final class Clock: Sendable {
            let seconds = Mutex<Int64>(1_000)
        }

        init() async throws {
            harness = try await Harness()
            folder = FileManager.default.temporaryDirectory.path + "/covey-quarantine-" + UUID().uuidString
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            now = Clock()
        }

        func node() -> ShardNode {
            harness.node { [folder, now] in
                $0.quarantineFolder = folder
                $0.now = { now.seconds.withLock { $0 } }
            }
        }

        func leave(_ line: String, _ work: String = "open", index: Int = 0) throws {
            try line.write(toFile: "\(folder)/\(work)+default+0000000000000abc+\(index)", atomically: false, encoding: .utf8)
        }

        var notes: [String: String] {
            get throws {
                try Dictionary(uniqueKeysWithValues: FileManager.default.contentsOfDirectory(atPath: folder).map {
                    ($0, try String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8))
                })
            }
        }

        func end() { try? FileManager.default.removeItem(atPath: folder) }
    }

    @Test("nothing is left of what went well, and a death before is forgiven then", arguments: [nil, "0 0 running", "1 900 waiting"])
    func success(left: String?) async throws {
        let next = try await Next()
        defer { next.end() }
        if let left { try next.leave(left) }
        let node = next.node()
        for id in UInt64(1)...40 { try await next.harness.upsert([next.harness.point(id)], on: node) }
        try await next.harness.seal(node)
        await node.close()
        let again = next.node()
        #expect(try await next.harness.contents(again).count == 40)
        await again.close()
        #expect(try next.notes.isEmpty)
    }

    @Test("it is refused after the third death, and tried again an hour later", arguments: ["2 900 running", "3 1000 waiting"])
    func refused(left: String) async throws {
        let next = try await Next()
        defer { next.end() }
        let before = next.harness.node()
        try await next.harness.upsert([next.harness.point(1)], on: before)
        await before.close()
        try next.leave(left)
        let node = next.node()
        let error = await #expect(throws: ClusterError.self) { try await next.harness.contents(node) }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("3 processes in a row died as they were to open it; tried again in 3600 s, or after a restart without the file that the node's log names") == true)
        #expect(try next.notes.values.sorted() == ["3 1000 waiting"])
        next.now.seconds.withLock { $0 += 3_599 }
        await #expect(throws: ClusterError.self) { try await next.harness.contents(node) }
        next.now.seconds.withLock { $0 += 1 }
        #expect(try await next.harness.contents(node).count == 1)
        #expect(try next.notes.isEmpty)
        await node.close()
    }

    @Test("deaths of long ago at other shards are forgotten, and concern nobody else")
    func others() async throws {
        let next = try await Next()
        defer { next.end() }
        next.now.seconds.withLock { $0 = 5_000_000 }
        try next.leave("7 1000 waiting", index: 4)
        try next.leave("7 4900000 waiting", index: 5)
        try "nonsense".write(toFile: next.folder + "/open+what", atomically: false, encoding: .utf8)
        let node = next.node()
        try await next.harness.upsert([next.harness.point(1)], on: node)
        #expect(try Set(next.notes.values) == ["7 4900000 waiting", "nonsense"])
        await node.close()
    }

    @Test("one that cannot be sealed is read and written")
    func seals() async throws {
        let next = try await Next()
        defer { next.end() }
        try next.leave("2 900 running", "seal")
        let node = next.node()
        try await next.harness.upsert([next.harness.point(1)], on: node)
        let error = await #expect(throws: ClusterError.self) { try await next.harness.seal(node) }
        #expect(error?.message.contains("died as they were to seal it") == true)
        try await next.harness.upsert([next.harness.point(2)], on: node)
        #expect(try await next.harness.contents(node).count == 2)
        next.now.seconds.withLock { $0 += 3_600 }
        #expect(try await next.harness.seal(node).points == 2)
        #expect(try next.notes.isEmpty)
        await node.close()
    }
}

import Foundation
import Model
import Sharding
import Storage
import Synchronization
import Testing

@Suite("covey verify")
struct StoreAuditTests {
    private func audit(_ store: any ObjectStore) async throws -> (tenants: [TenantAudit], findings: [StoreFinding]) {
        let found = Mutex<[TenantAudit]>([])
        let outside = try await StoreAudit(store: store, pause: {}).run { tenant in found.withLock { $0.append(tenant) } }
        let tenants = found.withLock { $0 }
        return (tenants, outside + tenants.flatMap(\.allFindings))
    }

    /// A named collection with segments, deletions, a log with bulk objects, two owners, a dropped predecessor, and an uploaded file.
    private func goodStore(_ store: any ObjectStore = MemoryObjectStore()) async throws -> Harness {
        let harness = try await Harness(store: store)
        let registry = SchemaRegistry(store: store)
        let old = CollectionSchema(name: try CollectionName("test"), incarnation: Incarnation(0xdead), dimension: 4, metric: .euclid, shardCount: 1, createdAt: 0)
        _ = try await registry.create(old, named: try CollectionName("test"), tenant: .default)
        let first = harness.node { $0.entryBytes = 2_048 }
        let oldShard = old.shard(0, of: .default)
        _ = try await first.append(AppendRequest(shard: oldShard, operations: [.upsert([harness.point(1)])]), context: harness.context())
        _ = try await registry.drop(try CollectionName("test"), tenant: .default)
        try await first.drop(DropRequest(shard: oldShard), context: harness.context())
        try await registry.forget(old.incarnation, named: try CollectionName("test"), tenant: .default)
        // The harness has put the schema.
        try await store.delete(StoreKey.schema(harness.schema.incarnation, of: .default))
        _ = try await registry.create(harness.schema, named: try CollectionName("test"), tenant: .default)
        try await harness.upsert((0..<300).map { harness.point($0, Float($0)) }, on: first)
        try await harness.seal(first)
        await first.close()
        let second = harness.node("b") { $0.entryBytes = 2_048 }
        try await harness.upsert((400..<420).map { harness.point($0, Float($0), ["t": .string(String(repeating: "x", count: 300))]) }, on: second)
        try await harness.delete([1, 2, 3], on: second)
        try await harness.upsert([harness.point(5, 7)], on: second)
        await second.close()
        let content = Array("an uploaded document".utf8)
        let folder = StoreKey.file("file-0123456789abcdef01234567", of: .default)
        try await store.put(folder + "content", content, ifAbsent: true)
        try await store.put(folder + "about/" + StoreKey.twentyDigits(7), Array("{\"sha256\":\"\(hex(sha256(content)))\"}".utf8), ifAbsent: true)
        try await store.put(folder + "attached/\(harness.schema.incarnation)", Array("{}".utf8), ifAbsent: true)
        return harness
    }

    @Test("finds nothing wrong with a good store, and says what is in it")
    func good() async throws {
        let harness = try await goodStore()
        let (tenants, findings) = try await audit(harness.store)
        // It was the log's last entry when the segment was made.
        #expect(findings.map(\.key).contains(StoreKey.log(harness.shard, position: 2)))
        #expect(findings.count == 2 && findings.allSatisfy { $0.kind == .pending } && findings.contains { $0.key.hasPrefix(ErasureMark.prefix) })
        #expect(tenants.map(\.tenant) == [.default] && tenants[0].files == 1)
        let live = try #require(tenants[0].collections.first { $0.standing == .live })
        #expect(live.name == "test" && live.shards == 1 && live.segments == 1 && live.sealedPoints == 300 && live.logEntries == 4)
        #expect(tenants[0].collections.map(\.standing.rawValue).sorted() == ["dropped", "live"])
    }

    /// One object of every kind: changed, shortened or deleted, each must be named.
    @Test("names each object that was damaged or deleted", arguments: ["flip", "shorten", "delete"])
    func damage(how: String) async throws {
        let image = (try await goodStore().store as! MemoryObjectStore).contents
        let harness = try await Harness(store: MemoryObjectStore(objects: image))
        let shard = harness.shard
        let oldPrefix = StoreKey.collection(Incarnation(0xdead), of: .default)
        var victims = image.keys.filter { !$0.hasPrefix(oldPrefix) && !$0.hasPrefix(ErasureMark.prefix) }.sorted()
        // Of a name's records only the newest is needed; what says what an upload is, is needed by nobody else; an attachment holds no reference.
        victims.removeAll { how == "delete" && ($0.hasPrefix(StoreKey.names(of: .default)) || $0.contains("/about/")) || $0.contains("/attached/") || $0 == StoreKey.log(shard, position: 2) }
        let lastBulk = victims.filter { $0.hasPrefix(StoreKey.bulk(shard)) }
        #expect(lastBulk.count > 1 && victims.contains { $0.hasPrefix(StoreKey.segments(shard)) } && victims.contains { $0.hasPrefix(StoreKey.manifests(shard)) })
        for key in victims {
            // Without its only manifest a shard's truncated log is what is wrong; a description may name another hash.
            let others = key.hasPrefix(StoreKey.manifests(shard)) && how == "delete" ? StoreKey.bulk(shard) : key.contains("/about/") ? StoreKey.files(of: .default) : key
            // The last entry of a log may not have been written yet: nothing names it.
            if how == "delete", key == victims.last(where: { $0.hasPrefix(StoreKey.log(shard)) }) { continue }
            var objects = image
            var bytes = image[key]!
            switch how {
            case "flip": bytes[bytes.count / 2] ^= 0x10
            case "shorten": bytes.removeLast()
            default: break
            }
            objects[key] = how == "delete" ? nil : bytes
            let problems = try await audit(MemoryObjectStore(objects: objects)).findings.filter(\.isProblem)
            #expect(problems.contains { $0.key.hasPrefix(others) }, "\(how) \(key): \(problems)")
            let isExpected = how == "delete" ? StoreFinding.Kind.missing : .damaged
            #expect(problems.allSatisfy { $0.kind == isExpected || $0.key != key }, "\(problems)")
        }
    }

    @Test("an entry in another's place, and a segment that is another's, are damage in spite of their checksums")
    func misplaced() async throws {
        let image = (try await goodStore().store as! MemoryObjectStore).contents
        let shard = try await Harness().shard
        let entries = image.keys.filter { $0.hasPrefix(StoreKey.log(shard)) }.sorted()
        var objects = image
        objects[entries[entries.count - 1]] = image[entries[entries.count - 2]]
        #expect(try await audit(MemoryObjectStore(objects: objects)).findings.filter(\.isProblem).map(\.key) == [entries[entries.count - 1]])
        let other = try await Harness()
        let node = other.node()
        try await other.upsert((0..<300).map { other.point($0, 1) }, on: node)
        try await other.seal(node)
        await node.close()
        let foreign = try await other.store.get(try await other.keys(StoreKey.segments(shard))[0])
        let segment = try #require(image.keys.first { $0.hasPrefix(StoreKey.segments(shard)) })
        objects = image
        objects[segment] = foreign
        #expect(try await audit(MemoryObjectStore(objects: objects)).findings.filter(\.isProblem).map(\.key) == [segment])
    }

    @Test("names what nothing refers to, and is not alarmed by it")
    func orphans() async throws {
        let harness = try await goodStore()
        let shard = harness.shard
        let gone = ShardID(tenant: .default, incarnation: Incarnation(0xdead), index: 0)
        let nobodys = ShardID(tenant: .default, incarnation: Incarnation(0xbeef), index: 0)
        let fence = try await harness.store.get(StoreKey.log(shard, position: 1))
        let planted = [
            StoreKey.segment(shard, name: SegmentRecord.name(epoch: 0, incarnation: 9, counter: 1)), StoreKey.segment(shard, name: "stray"),
            StoreKey.bulk(shard, name: BulkRecord.name(position: 4, epoch: 1, incarnation: 9, counter: 1)),
            StoreKey.segment(gone, name: SegmentRecord.name(epoch: 1, incarnation: 9, counter: 1)), StoreKey.bulk(gone, name: BulkRecord.name(position: 2, epoch: 1, incarnation: 9, counter: 1)),
            StoreKey.log(gone, position: 9), StoreKey.segment(nobodys, name: SegmentRecord.name(epoch: 1, incarnation: 9, counter: 1)),
            StoreKey.tenant(.default) + "something", StoreKey.shard(harness.schema.shard(7, of: .default)) + "log/" + StoreKey.twentyDigits(1),
            StoreKey.file("file-lost", of: .default) + "content", StoreKey.file("file-0123456789abcdef01234567", of: .default) + "attached/\(Incarnation(0xdead))",
            "0000/default/names/x/" + StoreKey.twentyDigits(1), "elsewhere",
        ]
        for key in planted { try await harness.store.put(key, key == planted[8] ? fence : [1, 2, 3], ifAbsent: true) }
        // Beside them, what a running cluster may be about to name.
        let pending = [
            StoreKey.segment(shard, name: SegmentRecord.name(epoch: 9, incarnation: 9, counter: 1)),
            StoreKey.bulk(shard, name: BulkRecord.name(position: 99, epoch: 2, incarnation: 9, counter: 1)),
        ]
        for key in pending { try await harness.store.put(key, [1], ifAbsent: true) }
        let findings = try await audit(harness.store).findings
        #expect(findings.allSatisfy { !$0.isProblem })
        let orphans = findings.filter { $0.kind == .orphan }.map(\.key)
        for key in planted { #expect(orphans.contains { key.hasPrefix($0) }, "\(key)") }
        #expect(orphans.count == planted.count)
        #expect(Set(findings.filter { $0.kind == .pending && !$0.key.hasPrefix(ErasureMark.prefix) }.map(\.key)) == Set(pending + [StoreKey.log(shard, position: 2)]))
    }

    @Test("a folder's files that are no objects are named; files in the making are not")
    func strays() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-audit-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try LocalObjectStore(root: root)
        _ = try await goodStore(store)
        #expect(try await audit(store).findings.allSatisfy { $0.kind == .pending })
        #expect(try await store.strays().isEmpty)
        _ = FileManager.default.createFile(atPath: root + "/core", contents: Data([1]))
        let folder = root + "/" + StoreKey.tenant(.default).dropLast()
        _ = FileManager.default.createFile(atPath: folder + "/copy.tmp", contents: Data([1]))
        _ = FileManager.default.createFile(atPath: try await store.scratchPath(), contents: Data([1]))
        #expect(try await store.strays() == [StoreKey.tenant(.default) + "copy.tmp", "core"].sorted())
    }

    /// The store hands its calls to the audit and the writers in an order that the seed decides.
    @Test("is not alarmed beside writers, seals, takeovers and drops", arguments: 1...12 as ClosedRange<UInt64>)
    func beside(seed: UInt64) async throws {
        let random = Mutex(SeededRandom(seed: seed))
        let faults = FaultObjectStore(MemoryObjectStore()) { _ in
            for _ in 0..<random.withLock({ Int.random(in: 0..<4, using: &$0) }) { await Task.yield() }
            return .none
        }
        let harness = try await Harness(store: faults)
        try await faults.delete(StoreKey.schema(harness.schema.incarnation, of: .default))
        let (registry, name) = (SchemaRegistry(store: faults), try CollectionName("test"))
        _ = try await registry.create(harness.schema, named: name, tenant: .default)
        let isWriting = Mutex(true)
        async let writing: Void = {
            defer { isWriting.withLock { $0 = false } }
            var random = SeededRandom(seed: seed &+ 1_000)
            func configure(_ configuration: inout ShardConfiguration) {
                configuration.sealPoints = 25
                configuration.entryBytes = 2_048
            }
            var node = harness.node("a", configure)
            for step in UInt64(0)..<60 {
                let text = JSONValue.string(String(repeating: "x", count: Int.random(in: 0..<600, using: &random)))
                try await harness.upsert((0..<6).map { harness.point(step * 3 + $0, Float(step), ["t": text]) }, on: node)
                if step % 7 == 3 { try await harness.delete([step, step * 2], on: node) }
                if step % 17 == 9 { try await harness.seal(node) }
                if step % 23 == 11 {
                    await node.close()
                    node = harness.node("b", configure)
                }
            }
            if seed % 2 == 0 {
                _ = try await registry.drop(name, tenant: .default)
                try await node.drop(DropRequest(shard: harness.shard), context: harness.context())
                try await registry.forget(harness.schema.incarnation, named: name, tenant: .default)
            }
            await node.close()
        }()
        var audits = 0
        while isWriting.withLock({ $0 }) || audits == 0 {
            let findings = try await audit(faults).findings.filter { $0.kind != .pending }
            #expect(findings.isEmpty, "audit \(audits)")
            audits += 1
        }
        try await writing
        let findings = try await audit(faults).findings.filter { $0.kind != .pending }
        #expect(findings.isEmpty && audits > 1, "\(audits) audits")
    }
}

import Model
import Storage
import Testing

@Suite("Log entries and manifests")
struct FormatTests {
    static let writer = LogWriterID(node: NodeID("shard-1"), incarnation: 7)
    static let data = LogEntry(
        position: 42, epoch: 3, writer: writer, nonce: Nonce(high: 1, low: 2),
        content: .data(
            dimension: 2,
            [
                LoggedRequest(
                    WritePart(id: RequestID("r1"), number: 300, bodyHash: Nonce(high: 5, low: 6)),
                    operations: [
                        .upsert(LoggedPoint(id: .integer(9), vector: [1, -2.5], payload: Array("{\"a\":1}".utf8), contentHash: 77)),
                        .delete([.uuid(high: 1, low: 2), .integer(3)]),
                    ])
            ]))
    static let manifest = Manifest(
        version: 4, position: 42, epoch: 3, writer: writer, fences: [1, 17],
        segments: [SegmentRecord(name: "a-b-1", from: 0, to: 42, byteCount: 9_000, checksum: 5, rowCount: 100_000, deletedRows: [0, 5, 99_999])],
        requests: [RememberedRequest(WritePart(id: RequestID("r"), bodyHash: Nonce(high: 3, low: 4)), position: 40, superseded: 2)], forgotten: 1_700_000_000_000)

    static let bulkRequest = BulkRequest(
        WritePart(id: RequestID("r1"), number: 1 << 40, bodyHash: Nonce(high: 5, low: 6)),
        objects: [BulkRecord(name: "p-e-i-1", byteCount: 9_000, checksum: 8), BulkRecord(name: "p-e-i-2", byteCount: 10, checksum: 9)])

    @Test("a bulk object is read as it was written; every flipped bit, every cut and another object in its place is noticed")
    func bulkObjects() throws {
        guard case .data(_, let requests) = Self.data.content else { throw ClusterError(.internal, "not data") }
        let object = BulkObject(dimension: 2, operations: requests[0].operations)
        let bytes = object.encoded()
        let record = BulkRecord(name: "n", of: bytes)
        #expect(try BulkObject(decoding: bytes, of: record) == object)
        #expect(hex(bytes.prefix(12)) == "4356424b" + "0100" + "0100" + "4c000000")
        for offset in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[offset] ^= 1 << bit
                #expect(throws: FormatError.self) { try BulkObject(decoding: damaged, of: record) }
            }
            #expect(throws: FormatError.self) { try BulkObject(decoding: Array(bytes[..<offset]), of: record) }
        }
        let other = BulkObject(dimension: 2, operations: [.delete([.uuid(high: 1, low: 2), .integer(4)]), object.operations[0]]).encoded()
        #expect(other.count == bytes.count)
        #expect(throws: FormatError.self) { try BulkObject(decoding: other, of: record) }
    }

    @Test("operations are cut into pieces that hold them all, in order, each within the limit", arguments: [64, 100, 1_000])
    func pieces(limit: Int) {
        let operations: [LoggedOperation] = (0..<40).map { number in
            number % 3 == 0
                ? .delete((0..<UInt64(number)).map(PointID.integer))
                : .upsert(LoggedPoint(id: .integer(UInt64(number)), vector: [1, 2], payload: [], contentHash: 0))
        }
        let pieces = BulkObject.pieces(of: operations, limit: limit)
        #expect(pieces.allSatisfy { $0.reduce(0) { $0 + $1.byteCount } <= limit && !$0.isEmpty })
        func ids(_ operations: [LoggedOperation]) -> [PointID] {
            operations.flatMap { operation in
                switch operation {
                case .upsert(let point): [point.id]
                case .delete(let ids): ids
                }
            }
        }
        #expect(ids(pieces.flatMap(\.self)) == ids(operations))
        #expect(BulkRecord.position(of: BulkRecord.name(position: 77, epoch: 1, incarnation: 2, counter: 3)) == 77)
    }

    @Test("entries of every kind are read as they were written")
    func entries() throws {
        for content in [Self.data.content, .bulk(dimension: 2, Self.bulkRequest), .claim, .release, .terminal, .promise(with: 7), .merge(with: 1 << 42), .barrier(Cut(id: Nonce(high: 5, low: 6), begunAt: 7))] as [LogEntry.Content] {
            var entry = Self.data
            entry.content = content
            #expect(try LogEntry(decoding: entry.encoded()) == entry)
        }
    }

    @Test("a claim has the bytes of the documented table")
    func goldenClaim() {
        let claim = LogEntry(position: 1, epoch: 1, writer: LogWriterID(node: NodeID("n"), incarnation: 2), nonce: Nonce(high: 3, low: 4), content: .claim)
        #expect(
            hex(claim.encoded().dropLast(4))
                == "43564c47" + "0200" + "0200" + "2b000000" + "0100000000000000" + "0100000000000000" + "0200000000000000" + "0300000000000000"
                + "0400000000000000" + "01" + "016e")
    }

    @Test("manifests are read as they were written")
    func manifests() throws {
        #expect(try Manifest(decoding: Self.manifest.encoded()) == Self.manifest)
        var partly = Self.manifest
        partly.requests += [
            RememberedRequest(WritePart(id: RequestID("p"), bodyHash: Nonce(high: 1, low: 2)), position: 3, superseded: 4, ranges: [HashRange(first: 5, last: 6), HashRange(first: 8, last: .max)])
        ]
        #expect(try Manifest(decoding: partly.encoded()) == partly)
    }

    @Test("what an earlier release wrote in another form is refused by its format's number")
    func olderFormats() {
        let old = Frame(kind: "log entry", magic: LogEntry.frame.magic, version: 1).wrap([1, 2, 3])
        let error = #expect(throws: FormatError.self) { try LogEntry(decoding: old) }
        #expect(error.map { "\($0)" } == "a log entry of format 1, this release reads 2 and later")
    }

    @Test("every flipped bit and every cut is noticed")
    func damage() {
        for bytes in [Self.data.encoded(), Self.manifest.encoded()] {
            for offset in bytes.indices {
                for bit in 0..<8 {
                    var damaged = bytes
                    damaged[offset] ^= 1 << bit
                    #expect(throws: FormatError.self) { try LogEntry(decoding: damaged) }
                    #expect(throws: FormatError.self) { try Manifest(decoding: damaged) }
                }
                #expect(throws: FormatError.self) { try LogEntry(decoding: Array(bytes[..<offset])) }
                #expect(throws: FormatError.self) { try Manifest(decoding: Array(bytes[..<offset])) }
            }
        }
    }

    @Test("what needs a newer reader, or is of an unknown kind, is named and not guessed at")
    func newerReader() {
        let newer = Frame(kind: "log entry", magic: LogEntry.frame.magic, version: 9).wrap([1, 2, 3])
        #expect(throws: FormatError.needsNewerReader(kind: "log entry", needs: 9, has: 2)) { try LogEntry(decoding: newer) }
        var body = Array(Self.data.encoded().dropFirst(12).dropLast(4))
        body[40] = 9
        #expect(throws: FormatError.needsNewerReader(kind: "log entry of kind 9", needs: 3, has: 2)) { try LogEntry(decoding: LogEntry.frame.wrap(body)) }
    }

    @Test("counts that the bytes cannot hold do not reserve memory")
    func hugeCounts() {
        var body = Array(Self.data.encoded().dropFirst(12).dropLast(4))
        let count = body.count
        for offset in 49..<min(count, 80) {
            body.replaceSubrange(offset..<min(offset + 4, count), with: [0xff, 0xff, 0xff, 0xff].prefix(min(4, count - offset)))
            _ = try? LogEntry(decoding: LogEntry.frame.wrap(body))
        }
    }

    @Test("digests equal the published test vectors")
    func digests() {
        #expect(hex(sha256(Array("abc".utf8))) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(crc32c(Array("123456789".utf8)) == 0xe306_9283)
    }

    @Test("keys order as their numbers do, and the newest manifest comes first")
    func keys() throws {
        let shard = ShardID(tenant: .default, incarnation: Incarnation(1), index: 0)
        #expect(StoreKey.log(shard, position: 9) < StoreKey.log(shard, position: 10))
        #expect(StoreKey.manifest(shard, version: 10) < StoreKey.manifest(shard, version: 9))
        #expect(StoreKey.manifestVersion(at: StoreKey.manifest(shard, version: 12)) == 12)
        #expect(StoreKey.number(at: StoreKey.log(shard, position: .max)) == .max)
        #expect(StoreKey.tenant(.default).split(separator: "/").map(String.init)[0].count == 4)
        try StoreKey.validate(StoreKey.segment(shard, name: SegmentRecord.name(epoch: 1, incarnation: 2, counter: 3)))
    }
}

@Suite("A local store on a file system that crashes")
struct CrashingStoreTests {
    /// Puts and deletes until the machine crashes before `step`; returns what was promised and what is there afterwards.
    private func run(step: Int?, seed: UInt64?, ignoring: SyncPurpose?) async throws -> (violations: [String], steps: Int) {
        let files = SimulatedFileSystem(ignoring: ignoring)
        if let step { files.crash(beforeStep: step) }
        var promised: [String: [UInt8]?] = [:]
        do {
            let store = try LocalObjectStore(root: "/store", fileSystem: files)
            for number in 0..<4 {
                let key = "t/\(number % 2)/\(number)"
                try await store.put(key, [UInt8(number)], ifAbsent: true)
                promised[key] = [UInt8(number)]
            }
            try await store.put("t/0/0", [9], ifAbsent: false)
            promised["t/0/0"] = [9]
            promised["t/1/1"] = nil
            try await store.delete("t/1/1")
            promised["t/1/1"] = .some(nil)
            // The name's folder cannot be synchronized; the repeated put finds the object.
            files.failNextSync(.name)
            try? await store.put("t/0/8", [8], ifAbsent: true)
            do { try await store.put("t/0/8", [8], ifAbsent: true) } catch StoreError.alreadyExists { promised["t/0/8"] = [8] }
        } catch {
            if step == nil { throw error }
        }
        let steps = files.steps
        files.restart(seed: seed)
        let store = try LocalObjectStore(root: "/store", fileSystem: files)
        var violations: [String] = []
        for (key, bytes) in promised {
            let found = try? await store.get(key)
            // An overwrite in flight may or may not have happened.
            if found != bytes && !(key == "t/0/0" && found == [9]) { violations.append("\(key): promised \(String(describing: bytes)), found \(String(describing: found))") }
        }
        return (violations, steps)
    }

    @Test("keeps every promise, wherever it crashes", arguments: [nil, 1, 2] as [UInt64?])
    func crashes(seed: UInt64?) async throws {
        let total = try await run(step: nil, seed: seed, ignoring: nil).steps
        for step in 0...total {
            let violations = try await run(step: step, seed: seed.map { $0 &* 1_000 &+ UInt64(step) }, ignoring: nil).violations
            #expect(violations.isEmpty, "crash before step \(step)")
        }
    }

    @Test("without any one synchronization a promise is broken", arguments: SyncPurpose.allCases)
    func everySyncIsNeeded(purpose: SyncPurpose) async throws {
        let total = try await run(step: nil, seed: nil, ignoring: purpose).steps
        var violations: [String] = []
        for step in 0...total { violations += try await run(step: step, seed: nil, ignoring: purpose).violations }
        #expect(!violations.isEmpty)
    }
}

import Embedding
import Foundation
import Model
import Storage
import VectorIndex
import VectorMath

extension FuzzTarget {
    static let storage: [FuzzTarget] = [
        // Without their checksums, which no fuzzer guesses: the body is framed here.
        FuzzTarget("log-entry", seeds: logEntries().map(body)) { bytes in
            let object = LogEntry.frame.wrap(bytes)
            guard let entry = try? LogEntry(decoding: object) else { return }
            let written = entry.encoded()
            guard let again = try? LogEntry(decoding: written) else { fatalError("not read as it was written: \(entry)") }
            precondition(again.encoded() == written, "changes: \(entry), \(again)")
        },
        FuzzTarget("manifest", seeds: [body(manifest().encoded())]) { bytes in
            guard let manifest = try? Manifest(decoding: Manifest.frame.wrap(bytes)) else { return }
            let written = manifest.encoded()
            guard let again = try? Manifest(decoding: written) else { fatalError("not read as it was written: \(manifest)") }
            precondition(again.encoded() == written, "changes: \(manifest), \(again)")
        },
        FuzzTarget("bulk-object", seeds: [body(bulk().encoded())]) { bytes in
            let object = BulkObject.frame.wrap(bytes)
            guard let bulk = try? BulkObject(decoding: object, of: BulkRecord(name: "n", of: object)) else { return }
            let written = bulk.encoded()
            guard let again = try? BulkObject(decoding: written, of: BulkRecord(name: "n", of: written)) else { fatalError("not read as it was written: \(bulk)") }
            precondition(again.encoded() == written, "changes: \(bulk), \(again)")
        },
        FuzzTarget("stored-records", seeds: storedRecords()) { bytes in
            guard let (index, rest) = choice(bytes, of: 2) else { return }
            if index == 0 {
                guard let schema = try? CollectionSchema(stored: CollectionSchema.frame.wrap(rest)) else { return }
                _ = try? schema.stored()
            } else {
                _ = try? ClusterRegistry.record(at: StoreKey.clusterRecord(7), Frame(kind: "cluster record", magic: 0x4c43_5643, version: 1).wrap(rest))
            }
        },
        // With its framing and checksums as they come.
        FuzzTarget("framed", seeds: logEntries().map { $0 } + [manifest().encoded()]) { bytes in
            _ = try? LogEntry(decoding: bytes)
            _ = try? Manifest(decoding: bytes)
            _ = try? BulkObject(decoding: bytes, of: BulkRecord(name: "n", of: bytes))
        },
        FuzzTarget("segment", maximumBytes: 1 << 16, seeds: segments()) { bytes in
            var image = bytes
            repairChecksums(of: &image)
            withFile(image) { path in
                guard let file = try? SegmentFile(path: path) else { return }
                _ = try? file.verify()
                guard let index = try? SegmentIndex(file) else { return }
                search(index)
            }
        },
        FuzzTarget("safetensors", seeds: [safetensors()]) { bytes in
            withFile(bytes) { path in
                guard let file = try? TensorFile(path: path) else { return }
                for (name, shape) in [("a", [2, 2]), ("b", [2]), ("c", [])] {
                    guard let tensor = try? file.tensor(name, shape: shape) else { continue }
                    precondition(tensor.elements().count == shape.reduce(1, *))
                }
            }
        },
        FuzzTarget("vocabulary", seeds: [Array("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\nowl\n##s\n.\n".utf8) + [0] + Array("Owls, a.b\u{e9}".utf8)]) { bytes in
            let end = bytes.firstIndex(of: 0) ?? bytes.count
            guard let tokenizer = try? WordPieceTokenizer(vocabulary: Array(bytes[..<end])) else { return }
            let text = String(decoding: bytes[min(bytes.count, end + 1)...], as: UTF8.self)
            let count = tokenizer.count(text)
            precondition(tokenizer.encode(text, maximumTokens: 16).count == min(16, count), "\(count) tokens")
            for token in tokenizer.tokens(of: text) { precondition(token.byteOffset <= text.utf8.count, "at \(token.byteOffset)") }
        },
    ]
}

private func body(_ object: [UInt8]) -> [UInt8] { Array(object[12..<object.count - 4]) }

private let writer = LogWriterID(node: NodeID("shard-1"), incarnation: 7)

private func bulk() -> BulkObject {
    BulkObject(
        dimension: 2,
        operations: [
            .upsert(LoggedPoint(id: .integer(9), vector: [1, -2.5], payload: Array("{\"a\":1}".utf8), contentHash: 77)), .delete([.uuid(high: 1, low: 2), .integer(3)]),
        ])
}

private func logEntries() -> [[UInt8]] {
    let request = LoggedRequest(WritePart(id: RequestID("r1"), number: 300, bodyHash: Nonce(high: 5, low: 6)), operations: bulk().operations)
    let bulkRequest = BulkRequest(WritePart(id: RequestID("r1"), bodyHash: Nonce(high: 5, low: 6)), objects: [BulkRecord(name: "p-e-i-1", byteCount: 9_000, checksum: 8)])
    var half = manifest()
    half.version = 0
    let contents: [LogEntry.Content] = [
        .data(dimension: 2, [request]), .bulk(dimension: 2, bulkRequest), .claim, .release, .terminal, .split(lower: half, upper: half), .promise(with: 7),
        .merge(with: 7), .barrier(Cut(id: Nonce(high: 3, low: 4), begunAt: 1_700_000_000)),
    ]
    return contents.map { LogEntry(position: 42, epoch: 3, writer: writer, nonce: Nonce(high: 1, low: 2), content: $0).encoded() }
}

private func manifest() -> Manifest {
    Manifest(
        version: 4, position: 42, epoch: 3, writer: writer, fences: [1, 17],
        segments: [SegmentRecord(name: "a-b-1", from: 0, to: 42, byteCount: 9_000, checksum: 5, rowCount: 100_000, deletedRows: [0, 5, 99_999])],
        requests: [RememberedRequest(WritePart(id: RequestID("r"), bodyHash: Nonce(high: 3, low: 4)), position: 40, superseded: 2)], forgotten: 7)
}

private func storedRecords() -> [[UInt8]] {
    let cluster = #"{"replicas":2,"members":[{"name":"shard-1","address":"a:1","weight":1,"zone":"z"}]}"#
    let schema = #"{"dimension":2,"metric":"cosine","shardCount":1,"incarnation":7}"#
    return [[0] + Array(schema.utf8), [1] + Array(cluster.utf8)]
}

private func safetensors() -> [UInt8] {
    let header = Array(#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},"c":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}"#.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) } + header + [UInt8](repeating: 0x3f, count: 28)
}

// MARK: Segments

private func segments() -> [[UInt8]] {
    [(40, 3, Metric.cosine, VectorDatatype.float32, false), (30, 2, .euclid, .int8, false), (30, 4, .dot, .float16, false), (40, 3, .euclid, .float32, true)].compactMap {
        count, dimension, metric, datatype, spills in
        var random = SplitMix64(seed: 5)
        var vectors = (0..<count * dimension).map { _ in Float(Int(random.next() % 200)) - 100 }
        if metric == .cosine {
            for row in 0..<count {
                let range = row * dimension..<(row + 1) * dimension
                let norm = max(1, vectors[range].reduce(0) { $0 + $1 * $1 }.squareRoot())
                for index in range { vectors[index] /= norm }
            }
        }
        let path = temporaryPath()
        defer { unlink(path) }
        guard let writer = try? SegmentWriter(path: path) else { return nil }
        let stored = vectors
        let rows = VectorSource(count: count) { row, out in
            for element in 0..<dimension { out[element] = stored[row * dimension + element] }
        }
        var parameters = IndexParameters()
        if spills { (parameters.spills, parameters.listSize) = (true, 8) }
        guard (try? IndexBuilder(dimension: dimension, metric: metric, datatype: datatype, parameters: parameters, seed: 1).build(rows, into: writer)) != nil, (try? writer.finish()) != nil
        else { return nil }
        return FileManager.default.contents(atPath: path).map(Array.init)
    }
}

/// Makes the checksums of a file right again, where its table can be read at all.
private func repairChecksums(of image: inout [UInt8]) {
    guard image.count >= 4_096 else { return }
    func load(_ offset: Int, _ count: Int) -> UInt64 { (0..<count).reduce(0) { $0 | UInt64(image[offset + $1]) << (8 * UInt64($1)) } }
    func store(_ value: UInt32, at offset: Int) { for index in 0..<4 { image[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) } }
    for index in 0..<min(62, Int(load(12, 4))) {
        let entry = 64 + 64 * index
        let (start, length) = (load(entry + 32, 8), load(entry + 40, 8))
        guard start <= UInt64(image.count), length <= UInt64(image.count) - start else { continue }
        let end = min(image.count, Int(start) + (Int(length) + 63) & ~63)
        store(crc32c(Array(image[Int(start)..<max(Int(start), end)])), at: entry + 48)
    }
    for index in 0..<8 { image[16 + index] = UInt8(truncatingIfNeeded: image.count >> (8 * index)) }
    for index in 60..<64 { image[index] = 0 }
    store(crc32c(Array(image[..<4_096])), at: 60)
}

private func search(_ index: SegmentIndex) {
    guard index.dimension <= 64 else { return }
    var scratch = SearchScratch()
    let query = (0..<index.dimension).map { Float($0 % 3) - 1 }
    for exactBelow in [0, Int.max] {
        let found = index.search(query.span, limit: 5, exactBelow: exactBelow, scratch: &scratch)
        for hit in found.hits { precondition((0..<index.count).contains(hit.row), "row \(hit.row) of \(index.count)") }
    }
    for row in [0, index.count - 1] { precondition(index.vector(row).count == index.dimension) }
}

private func temporaryPath() -> String { "/dev/shm/covey-fuzz-\(getpid())-\(UInt64.random(in: 0...UInt64.max))" }

private func withFile(_ bytes: [UInt8], _ body: (String) -> Void) {
    let path = temporaryPath()
    let descriptor = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
    guard descriptor >= 0 else { return }
    _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    close(descriptor)
    defer { unlink(path) }
    body(path)
}

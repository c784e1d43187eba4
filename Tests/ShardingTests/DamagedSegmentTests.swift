import Foundation
import Model
import Sharding
import Storage
import Testing

/// Segments as shards write them: with ids, versions, payloads and what filters look up, beside the index that `VectorIndexTests` damages.
@Suite("a damaged segment of a shard")
struct DamagedSegmentTests {
    private static let indexSections = ["index.", "regions.", "lists.", "rows."]

    /// A shard of one small segment, everything sealed, and nobody's.
    private struct Sealed {
        let harness: Harness
        let objects: [String: [UInt8]]
        let segment: String
        let manifest: String

        init() async throws {
            let store = MemoryObjectStore()
            let harness = try await Harness(store: store, dimension: 3)
            let node = harness.node()
            var points = (0..<9).map { harness.point($0 * $0, Float($0), ["n": .integer(Int64($0)), "t": .string("text \($0 % 3)"), "list": [1, true, ["a.b": nil]]]) }
            for high in 1...3 as ClosedRange<UInt64> { points.append(Point(id: .uuid(high: high, low: 7), vector: [1, 2, 3], payload: [:])) }
            try await harness.upsert(points, on: node)
            try await harness.seal(node)
            await node.close()
            let (objects, shard) = (store.contents, harness.shard)
            segment = try #require(objects.keys.first { $0.hasPrefix(StoreKey.segments(shard)) })
            manifest = try #require(objects.keys.filter { $0.hasPrefix(StoreKey.manifests(shard)) }.min())
            self.harness = harness
            self.objects = objects
        }

        func audited(_ bytes: [UInt8]) async throws -> [StoreFinding] {
            let store = MemoryObjectStore(objects: objects.merging([segment: bytes]) { $1 })
            var findings: [StoreFinding] = []
            let outside = try await StoreAudit(store: store, threads: 1, pause: {}).run { findings += $0.allFindings }
            return (outside + findings).filter(\.isProblem)
        }
    }

    @Test("each byte flipped and each length cut is damage, in an error that names the segment")
    func noticed() async throws {
        let sealed = try await Sealed()
        let bytes = try #require(sealed.objects[sealed.segment])
        #expect(try await sealed.audited(bytes) == [])
        for place in bytes.indices {
            var flipped = bytes
            flipped[place] ^= UInt8(1 << (place % 8))
            for damaged in [flipped, Array(bytes[..<place])] {
                let findings = try await sealed.audited(damaged)
                #expect(findings.map(\.kind) == [.damaged] && findings.map(\.key) == [sealed.segment], "at \(place): \(findings)")
            }
        }
    }

    @Test("each byte of ids, payloads and filters changed under right checksums is refused, or read without harm")
    func changed() async throws {
        let sealed = try await Sealed()
        let bytes = try #require(sealed.objects[sealed.segment])
        let filter = Filter(must: [.range(key: "n", Filter.Range(greaterOrEqual: 2))], should: [.match(key: "t", anyOf: ["text 1", "text 2"]), .match(key: "list", anyOf: [true])])
        var (read, refused) = (0, 0)
        for section in table(bytes) where !Self.indexSections.contains(where: section.name.hasPrefix) {
            for place in section.range {
                var changed = bytes
                changed[place] ^= UInt8(1 << (place % 8))
                let checksum = makeChecksumsRight(&changed)
                var manifest = try Manifest(decoding: try #require(sealed.objects[sealed.manifest]))
                manifest.segments[0].checksum = checksum
                let harness = try await Harness(
                    store: MemoryObjectStore(objects: sealed.objects.merging([sealed.segment: changed, sealed.manifest: manifest.encoded()]) { $1 }), dimension: 3)
                let node = harness.node()
                do throws(ClusterError) {
                    for filter in [nil, filter] {
                        let context = harness.context()
                        let reply = try await node.search(SearchRequest(shard: harness.shard, [ShardSearch(vector: [1, 2, 3], limit: 20, filter: filter)]), context: context)
                        #expect(reply.results[0].hits.count <= 12)
                        _ = try await node.fetch(FetchRequest(shard: harness.shard, selection: .page(from: nil, limit: 100, filter: filter), withVector: true), context: context)
                    }
                    read += 1
                } catch {
                    refused += 1
                    #expect(error.code == .dataLoss, "byte \(place) of \(section.name): \(error)")
                }
                await node.close()
            }
        }
        #expect(read > 0 && refused > 0)
    }
}

/// The table of ``SegmentFile``.
private func table(_ bytes: [UInt8]) -> [(name: String, entry: Int, range: Range<Int>)] {
    func load(_ offset: Int, _ count: Int) -> Int { (0..<count).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) } }
    return (0..<load(12, 4)).map { index in
        let entry = 64 + 64 * index
        let start = load(entry + 32, 8)
        return (String(decoding: bytes[entry..<entry + 32].prefix { $0 != 0 }, as: UTF8.self), entry, start..<start + load(entry + 40, 8))
    }
}

/// - Returns: What a manifest says of the file: the checksum of its sections' names, lengths and checksums.
private func makeChecksumsRight(_ bytes: inout [UInt8]) -> UInt32 {
    func store(_ value: UInt32, at offset: Int) { for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) } }
    var writer = ByteWriter()
    for (name, entry, range) in table(bytes) {
        let checksum = crc32c(Array(bytes[range.lowerBound..<(range.upperBound + 63) & ~63]))
        store(checksum, at: entry + 48)
        writer.append(short: name)
        writer.append(UInt64(range.count))
        writer.append(checksum)
    }
    store(0, at: 60)
    store(crc32c(Array(bytes[..<4_096])), at: 60)
    return crc32c(writer.bytes)
}

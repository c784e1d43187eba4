import Model
import Testing

@Suite("point ids")
struct PointIDTests {
    @Test("a UUID is read in each of Qdrant's forms", arguments: [
        "550e8400-e29b-41d4-a716-446655440000", "550e8400e29b41d4a716446655440000", "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29B-41D4-A716-446655440000",
    ])
    func readsUUIDs(text: String) throws {
        let id = try #require(PointID(uuid: text))
        #expect(id == .uuid(high: 0x550e_8400_e29b_41d4, low: 0xa716_4466_5544_0000))
        #expect(id.description == "550e8400-e29b-41d4-a716-446655440000")
    }

    @Test("what is no UUID is refused", arguments: ["", "1", "550e8400-e29b-41d4-a716-44665544000", "550e8400-e29b-41d4-a716-44665544000g", "550e8400e-29b-41d4-a716-446655440000"])
    func refuses(text: String) { #expect(PointID(uuid: text) == nil) }

    @Test("integers come before UUIDs, each ascending")
    func order() {
        let ids: [PointID] = [.uuid(high: 1, low: 0), .integer(.max), .uuid(high: 0, low: 2), .integer(0), .uuid(high: 0, low: 1)]
        #expect(ids.sorted() == [.integer(0), .integer(.max), .uuid(high: 0, low: 1), .uuid(high: 0, low: 2), .uuid(high: 1, low: 0)])
    }

    @Test("the chunks of a document share a hash")
    func chunksShareAHash() {
        #expect(PointID.uuid(high: 7, low: 0).hash == PointID.uuid(high: 7, low: 99).hash)
        #expect(PointID.uuid(high: 7, low: 0).hash != PointID.uuid(high: 8, low: 0).hash)
    }
}

@Suite("the hash space")
struct HashRangeTests {
    @Test("tiles exactly once", arguments: [1, 2, 3, 4, 5, 7, 64, 255, 256])
    func tiles(count: Int) {
        let ranges = HashRange.tiling(count)
        #expect(ranges.count == count)
        #expect(ranges.first?.first == 0 && ranges.last?.last == .max)
        for (a, b) in zip(ranges, ranges.dropFirst()) { #expect(a.last + 1 == b.first) }
    }

    @Test("a schema finds the range that holds a point", arguments: [1, 2, 3, 5, 7, 100], [1, 2, 3] as [UInt64])
    func findsShard(count: Int, seed: UInt64) throws {
        let schema = CollectionSchema(
            name: try CollectionName("c"), incarnation: Incarnation(1), dimension: 2, metric: .dot, shardCount: count, createdAt: 0)
        let ranges = HashRange.tiling(count)
        for i in 0..<500 {
            let id = PointID.integer(seed &* 1_000 &+ UInt64(i))
            #expect(ranges[schema.firstShardIndex(of: id)].contains(id.hash))
        }
    }
}

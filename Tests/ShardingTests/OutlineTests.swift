import Model
import Sharding
import Storage
import Testing
import VectorMath

@Suite("a shard's outline")
struct OutlineTests {
    private func outline(_ harness: Harness, _ node: ShardNode, maximumBytes: Int = 1 << 20) async throws -> OutlineReply {
        try await node.outline(OutlineRequest(shard: harness.shard, maximumBytes: maximumBytes), context: harness.context())
    }

    /// Whether no point of the shard is better than the outline allows, for some queries.
    private func holds(_ outline: ShardOutline, _ harness: Harness, _ node: ShardNode) async throws -> Bool {
        let metric = harness.schema.metric
        for value in [-5, 0, 3.5, 40, 300] as [Float] {
            let query = (0..<harness.schema.dimension).map { value + Float($0 % 2) }
            let request = SearchRequest(shard: harness.shard, [ShardSearch(vector: query, limit: 1, effort: SearchEffort(exact: true))])
            guard let best = try await node.search(request, context: harness.context()).results[0].hits.first else { continue }
            if metric.isBetter(best.score, than: outline.bestScore(for: query, under: metric)) { return false }
        }
        return true
    }

    @Test("it holds the tail's and the segments' points at the position that it names", arguments: VectorDatatype.allCases, Metric.allCases)
    func holdsAll(datatype: VectorDatatype, metric: Metric) async throws {
        let harness = try await Harness(dimension: 6, metric: metric, datatype: datatype)
        let node = harness.node { $0.exactScanThreshold = 0 }
        let empty = try await outline(harness, node)
        #expect(empty.outline?.isEmpty == true && empty.range == .all)

        func points(_ ids: Range<UInt64>) -> [Point] { ids.map { harness.point($0, Float($0 % 90)) } }
        var reply = try await harness.upsert(points(0..<500), on: node)
        for step in 0..<4 {
            let whole = try await outline(harness, node)
            #expect(whole.position == reply.position)
            #expect(try await holds(try #require(whole.outline), harness, node), "step \(step)")
            // Coarser ones hold them, too.
            for bytes in [2_000, 500, 200] {
                let coarse = try await outline(harness, node, maximumBytes: bytes)
                if let outline = coarse.outline {
                    #expect(outline.byteCount <= bytes)
                    #expect(try await holds(outline, harness, node), "step \(step), \(bytes) bytes")
                }
            }
            switch step {
            case 0: try await harness.seal(node)
            case 1: reply = try await harness.upsert(points(480..<520), on: node)
            default: reply = try await harness.delete(Array(0..<300), on: node)
            }
        }
        await node.close()
    }

    @Test("one that does not fit, or of a file that cannot be read, there is none")
    func none() async throws {
        let store = MemoryObjectStore()
        let harness = try await Harness(store: store)
        let node = harness.node()
        try await harness.upsert((0..<50).map { harness.point($0, Float($0)) }, on: node)
        #expect(try await outline(harness, node, maximumBytes: 10).outline == nil)
        try await harness.seal(node)
        await node.close()
        let key = try #require(store.contents.keys.first { $0.hasPrefix(StoreKey.segments(harness.shard)) })
        var objects = store.contents
        objects[key]![5_000] ^= 1
        let damaged = try await Harness(store: MemoryObjectStore(objects: objects))
        let other = damaged.node("b")
        #expect(try await outline(damaged, other).outline == nil)
        await other.close()
    }
}

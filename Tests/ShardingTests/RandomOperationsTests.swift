import Model
import Sharding
import Storage
import Testing

@Suite("A shard against an exact model")
struct RandomOperationsTests {
    @Test("any operations, seals and restarts leave what the model holds", arguments: 1...8 as ClosedRange<UInt64>)
    func randomOperations(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let harness = try await Harness()
        func configure(_ configuration: inout ShardConfiguration) {
            configuration.sealPoints = 60
            configuration.exactScanThreshold = 0
            configuration.entryBytes = 2_048  // many requests are larger than an entry
        }
        var node = harness.node("a", configure)
        var model = ShardModel()
        for step in 0..<150 {
            var operations: [AppendRequest.Operation] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<6:
                    operations.append(.upsert((0..<Int.random(in: 1...20, using: &random)).map { _ in randomPoint(&random) }))
                case 6..<9: operations.append(.delete((0..<Int.random(in: 1...8, using: &random)).map { _ in randomID(&random) }))
                default: operations.append(.deleteWhere(randomFilter(&random)))
                }
            }
            _ = try await node.append(AppendRequest(shard: harness.shard, operations: operations), context: harness.context())
            model.apply(operations)
            switch Int.random(in: 0..<20, using: &random) {
            case 0: try await harness.seal(node)
            case 1:
                await node.close()
                node = harness.node("a", configure)
            default: break
            }
            if step % 15 == 14 { try await check(harness, node, model, &random) }
        }
        try await harness.seal(node)
        try await check(harness, node, model, &random)
        #expect(try await harness.status(node).segments <= 1)
        await node.close()
    }

    private func check(_ harness: Harness, _ node: ShardNode, _ model: ShardModel, _ random: inout SeededRandom) async throws {
        let all = try await harness.contents(node)
        #expect(all.map(\.id) == model.sorted().map(\.id))
        #expect(all.map(\.vector) == model.sorted().map(\.vector))
        #expect(all.map(\.payload) == model.sorted().map(\.payload))
        for _ in 0..<3 {
            let filter = Bool.random(using: &random) ? randomFilter(&random) : nil
            let query = (0..<4).map { _ in Float.random(in: -1...1, using: &random) }
            let reply = try await harness.search(node, query, limit: 7, filter: filter, effort: SearchEffort(exact: true))
            #expect(reply.hits.map(\.id) == model.nearest(query, limit: 7, filter: filter))
            #expect(reply.work.pointsHeld == model.points.count && reply.work.pointsByCode + reply.work.pointsExactly == model.points.count)
            #expect(try await node.count(CountRequest(shard: harness.shard, filter: filter), context: harness.context()).count == model.sorted(filter).count)
            let start = randomID(&random)
            let page = try await node.fetch(
                FetchRequest(shard: harness.shard, selection: .page(from: start, limit: 5, filter: filter)), context: harness.context())
            #expect(page.points.map(\.id) == Array(model.sorted(filter).map(\.id).filter { $0 >= start }.prefix(5)))
            // A hit's version is the one that a fetch hands out (protocol, H22).
            let versions = reply.hits.map { PointVersion(id: $0.id, version: $0.version) }
            #expect(try await node.fetch(FetchRequest(shard: harness.shard, selection: .versions(versions)), context: harness.context()).points.count == versions.count)
            let stale = versions.map { PointVersion(id: $0.id, version: $0.version + 1) }
            #expect(try await node.fetch(FetchRequest(shard: harness.shard, selection: .versions(stale)), context: harness.context()).points.isEmpty)
        }
    }

    private func randomID(_ random: inout SeededRandom) -> PointID {
        let number = UInt64.random(in: 0..<80, using: &random)
        return number % 3 == 0 ? .uuid(high: number / 10, low: number) : .integer(number)
    }

    private func randomPoint(_ random: inout SeededRandom) -> Point {
        Point(
            id: randomID(&random), vector: (0..<4).map { _ in Float.random(in: -1...1, using: &random) },
            payload: [
                "color": .string(["red", "green", "blue \"ü\n"].randomElement(using: &random)!), "size": .integer(.random(in: 0..<10, using: &random)),
                "tags": .array((0..<Int.random(in: 0...2, using: &random)).map { .integer(Int64($0)) }),
                "nested": ["a": ["b": .number(.random(in: 0...1, using: &random))]], "text": .string("t\(Int.random(in: 0..<5, using: &random))"),
            ])
    }

    private func randomFilter(_ random: inout SeededRandom) -> Filter {
        let condition: Filter.Condition =
            switch Int.random(in: 0..<6, using: &random) {
            case 0: .match(key: "color", anyOf: ["red"])
            case 1: .range(key: "size", Filter.Range(greaterOrEqual: Double(Int.random(in: 6..<12, using: &random))))
            case 2: .match(key: "tags[]", anyOf: [1, 5])
            case 3: .range(key: "nested.a.b", Filter.Range(lessThan: 0.2))
            case 4: .hasID([randomID(&random), randomID(&random)])
            default: .isEmpty(key: "tags")
            }
        return Bool.random(using: &random) ? Filter(must: [condition, .range(key: "size", Filter.Range(lessThan: 8))]) : Filter(must: [condition], mustNot: [.match(key: "color", anyOf: ["green"])])
    }

    @Test("writes during a seal are neither lost nor undone (H9)")
    func sealConcurrentWithWrites() async throws {
        let gate = Gate()
        let faults = FaultObjectStore(MemoryObjectStore()) { call in
            // The new segment waits here, built but not yet served.
            if case .putFile = call { await gate.wait() }
            return .none
        }
        let harness = try await Harness(store: faults)
        let node = harness.node()
        try await harness.upsert((0..<100).map { harness.point($0, Float($0)) }, on: node)
        async let sealed = harness.seal(node)
        await gate.reached()
        try await harness.delete([5, 6], on: node)
        try await harness.upsert([harness.point(7, 1_000), harness.point(200, 200)], on: node)
        try await harness.delete([200], on: node)
        gate.open()
        #expect(try await sealed.points == 97)
        var expected = Set((0..<100).map(UInt64.init)).subtracting([5, 6])
        #expect(Set(try await harness.contents(node).map(\.id)) == Set(expected.map(PointID.integer)))
        #expect(try await harness.search(node, harness.point(7, 1_000).vector, limit: 1).hits.first?.id == .integer(7))
        await node.close()
        // The same from the store alone.
        let again = harness.node("a")
        #expect(Set(try await harness.contents(again).map(\.id)) == Set(expected.map(PointID.integer)))
        try await harness.seal(again)
        expected.remove(50)
        try await harness.delete([50], on: again)
        #expect(Set(try await harness.contents(again).map(\.id)) == Set(expected.map(PointID.integer)))
        await again.close()
    }
}

/// Holds callers up until it is opened, and tells when the first has come.
final class Gate: Sendable {
    private let (arrivals, arrived) = AsyncStream<Void>.makeStream()
    private let (openings, opened) = AsyncStream<Void>.makeStream()

    func wait() async {
        arrived.yield()
        for await _ in openings { return }
    }
    func reached() async { for await _ in arrivals { return } }
    /// Everyone may pass from now on.
    func open() { opened.finish() }
}

import Coordination
import Model
import Testing

@Suite("Writing to a collection") struct WriteTests {
    @Test("each point goes to the shard of its hash, and is found there")
    func splitting() async throws {
        let cluster = try FakeCluster(nodes: 3)
        let name = try await cluster.make("c", shards: 6)
        var random = SplitMix64(seed: 1)
        let points = (0..<200).map { Point(id: $0 % 2 == 0 ? .integer(UInt64($0)) : .uuid(high: random.next(), low: 1), vector: [1, Float($0)]) }
        let outcome = try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        #expect(outcome.results.map(\.shard.index) == Array(0..<6) && outcome.superseded == 0 && outcome.position == 1)
        let schema = try await cluster.coordinator.schema(of: name, context: cluster.context)
        for node in cluster.nodes {
            for append in node.appends {
                for case .upsert(let points) in append.operations { #expect(points.allSatisfy { schema.firstShardIndex(of: $0.id) == append.shard.index }) }
            }
        }
        let ids = points.map(\.id).shuffled(using: &random)
        let found = try await cluster.coordinator.retrieve(ids + [.integer(999)], from: name, context: cluster.context)
        #expect(found.map(\.id) == ids)
        let deletion = try await cluster.coordinator.write([.delete(Array(ids.prefix(50)))], to: name, context: cluster.context)
        #expect(deletion.superseded == 50)
        #expect(try await cluster.coordinator.count(name, context: cluster.context).count == 150)
    }

    @Test("a document's points and the deletions before them are one log entry, however small entries are")
    func documents() async throws {
        let cluster = try FakeCluster(nodes: 1) { $0.maximumEntryBytes = 1_000 }
        let name = try await cluster.make("c")
        func document(_ number: UInt64) -> [Point] {
            (0..<20).map { Point(id: .uuid(high: number, low: $0), vector: [1, 1], payload: ["text": .string(String(repeating: "x", count: 100))]) }
        }
        let stale = Filter(must: [.match(key: "document", anyOf: ["b"])])
        try await cluster.coordinator.write(
            [.upsert(document(1)), .deleteWhere(stale), .delete([.uuid(high: 2, low: 99)]), .upsert(document(2)), .upsert([Point(id: .integer(5), vector: [1, 1])])],
            to: name, context: cluster.context)
        let entries = cluster.nodes[0].appends.map(\.operations)
        #expect(entries.count == 3)
        #expect(entries[0] == [.upsert(document(1))])
        #expect(entries[1] == [.deleteWhere(stale), .delete([.uuid(high: 2, low: 99)]), .upsert(document(2))])
        #expect(entries[2] == [.upsert([Point(id: .integer(5), vector: [1, 1])])])
    }

    @Test("a document too large for a message between nodes is refused with its size and the limit, before anything is written")
    func largeDocument() async throws {
        let cluster = try FakeCluster(nodes: 1) { $0.maximumDocumentBytes = 10_000 }
        let name = try await cluster.make("c")
        let points = (0..<100).map { Point(id: .uuid(high: 1, low: UInt64($0)), vector: [1, 1], payload: ["text": .string(String(repeating: "x", count: 100))]) }
        let error = await #expect(throws: ClusterError.self) { try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("100 points") == true && error?.message.contains("limit is 10000") == true)
        #expect(cluster.nodes[0].appends.isEmpty)
        // Points that are no document's are divided as they come.
        let others = points.enumerated().map { Point(id: .integer(UInt64($0.offset)), vector: $0.element.vector, payload: $0.element.payload) }
        try await cluster.coordinator.write([.upsert(others)], to: name, context: cluster.context)
    }

    @Test("the order of operations stays, and small neighbours share an entry")
    func order() async throws {
        let cluster = try FakeCluster(nodes: 1)
        let name = try await cluster.make("c")
        let one = Point(id: .integer(1), vector: [1, 1])
        let two = Point(id: .integer(2), vector: [1, 1])
        try await cluster.coordinator.write(
            [.upsert([one]), .upsert([two]), .delete([.integer(1)]), .upsert([one]), .delete([.integer(2)])], to: name, context: cluster.context)
        #expect(cluster.nodes[0].appends.map(\.operations) == [[.upsert([one, two]), .delete([.integer(1)]), .upsert([one]), .delete([.integer(2)])]])
        #expect(try await cluster.coordinator.scroll(name, limit: 10, context: cluster.context).points.map(\.id) == [.integer(1)])
    }

    @Test("a deletion by filter goes to all shards, unless the filter names ids")
    func deletionByFilter() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("c")
        let everywhere = try await cluster.coordinator.write([.deleteWhere(Filter(must: [.isEmpty(key: "a")]))], to: name, context: cluster.context)
        #expect(everywhere.results.count == 4)
        let somewhere = try await cluster.coordinator.write([.deleteWhere(Filter(must: [.hasID([.integer(1)])]))], to: name, context: cluster.context)
        #expect(somewhere.results.count == 1)
    }

    @Test("a write is repeated when the connection broke, with the same request id, and given up when it goes on breaking")
    func repeating() async throws {
        let cluster = try FakeCluster(nodes: 1)
        let name = try await cluster.make("c")
        let node = cluster.nodes[0]
        node.fail { method, earlier in method == "append" && earlier % 2 == 0 ? .error(ClusterError(.unavailable, "connection reset")) : nil }
        try await cluster.coordinator.write([.upsert([Point(id: .integer(1), vector: [1, 1])])], to: name, context: cluster.context)
        #expect(node.calls.count { $0 == "append" } == 2)
        node.fail { method, _ in method == "append" ? .error(ClusterError(.unavailable, "connection reset")) : nil }
        await #expect(throws: ClusterError(.unavailable, "0 of 1 shards of \"c\" wrote; shard 0 on node node-0: unavailable: connection reset")) {
            try await cluster.coordinator.write([.deleteWhere(Filter())], to: name, context: cluster.context)
        }
        #expect(node.calls.count { $0 == "append" } == 14)
    }

    @Test("however many writes wait, there is room for reads; one write more is refused with the limit")
    func room() async throws {
        let cluster = try FakeCluster(nodes: 1) { $0.maximumWrites = 2 }
        let name = try await cluster.make("c")
        let node = cluster.nodes[0]
        node.fail { method, _ in method == "append" ? .hang : nil }
        let waiting = (0..<2).map { id in Task { try await cluster.coordinator.write([.delete([.integer(id)])], to: name, context: cluster.context) } }
        while node.calls.count(where: { $0 == "append" }) < 2 { await Task.yield() }
        await #expect(throws: ClusterError(.unavailable, "2 writes are at work, which is the limit; try again")) {
            try await cluster.coordinator.write([.delete([.integer(3)])], to: name, context: cluster.context)
        }
        #expect(try await cluster.coordinator.count(name, context: cluster.context).count == 0)
        for task in waiting { task.cancel() }
        for task in waiting { _ = await task.result }
        node.heal()
        try await cluster.coordinator.write([.delete([.integer(3)])], to: name, context: cluster.context)
    }

    @Test("a tenant whose writes wait leaves room for other tenants' writes")
    func share() async throws {
        let cluster = try FakeCluster(nodes: 1) { $0.maximumWrites = 9 }
        let name = try await cluster.make("c")
        let other = CallContext(requestID: RequestID("other"), tenant: try TenantID("other"))
        _ = try await cluster.coordinator.createCollection(name, dimension: 2, metric: .dot, context: other)
        let node = cluster.nodes[0]
        node.fail { method, earlier in method == "append" && earlier < 8 ? .hang : nil }
        let waiting = (0..<8).map { id in Task { try await cluster.coordinator.write([.delete([.integer(id)])], to: name, context: cluster.context) } }
        while node.calls.count(where: { $0 == "append" }) < 8 { await Task.yield() }
        await #expect(throws: ClusterError(.resourceExhausted, "8 writes of this tenant are at work, which is its share; try again")) {
            try await cluster.coordinator.write([.delete([.integer(8)])], to: name, context: cluster.context)
        }
        try await cluster.coordinator.write([.delete([.integer(1)])], to: name, context: other)
        for task in waiting { task.cancel() }
        for task in waiting { _ = await task.result }
    }

    @Test("a failed shard is named; the others have written")
    func partialFailure() async throws {
        let cluster = try FakeCluster()
        let name = try await cluster.make("c")
        cluster.nodes[1].fail { _, _ in .error(ClusterError(.resourceExhausted, "too many waiting writes")) }
        let error = await #expect(throws: ClusterError.self) {
            try await cluster.coordinator.write([.upsert((0..<100).map { Point(id: .integer($0), vector: [1, 1]) })], to: name, context: cluster.context)
        }
        #expect(error?.code == .resourceExhausted)
        #expect(error?.message.hasPrefix("3 of 4 shards of \"c\" wrote; shard ") == true)
        #expect(error?.message.hasSuffix("on node node-1: resourceExhausted: too many waiting writes") == true)
        #expect(cluster.nodes.filter { $0.pointCount > 0 }.count == 3)
        // The same, told part by part.
        let outcome = try await cluster.coordinator.writeEach([.upsert((0..<100).map { Point(id: .integer($0), vector: [1, 1]) })], to: name, context: cluster.context)
        #expect(outcome.results.count == 3 && outcome.results.allSatisfy { $0.superseded > 0 })
        #expect(outcome.failures.map(\.node) == [NodeID("node-1")] && outcome.failures[0].error.code == .resourceExhausted)
        #expect(outcome.error == error)
    }

    @Test("a bad point is named by place and id, and nothing is written", arguments: [
        (Point(id: .integer(7), vector: [1]), "point 1 (id 7): expected 2 dimensions, found 1"),
        (Point(id: .integer(7), vector: [1, .infinity]), "point 1 (id 7): element 1 of the vector is inf"),
        (Point(id: .uuid(high: 1, low: 2), vector: [0, 0]), "point 1 (id 00000000-0000-0001-0000-000000000002): a vector of zeros has no direction, which cosine needs"),
        (Point(id: .integer(7), vector: [1, 1], payload: ["a": .string(String(repeating: "x", count: 100))]), "point 1 (id 7): payload has 109 bytes, the limit is 50"),
    ])
    func validation(point: Point, message: String) async throws {
        let cluster = try FakeCluster { $0.maximumPayloadBytes = 50 }
        let name = try await cluster.make("c", metric: .cosine)
        await #expect(throws: ClusterError(.invalidArgument, message)) {
            try await cluster.coordinator.write([.upsert([Point(id: .integer(1), vector: [1, 1]), point])], to: name, context: cluster.context)
        }
        #expect(cluster.nodes.allSatisfy { $0.appends.isEmpty })
    }

    @Test("a batch is bounded")
    func bounds() async throws {
        let cluster = try FakeCluster { $0.maximumBatchPoints = 3 }
        let name = try await cluster.make("c")
        let error = ClusterError(.invalidArgument, "a batch may have 3 points, found at least 4")
        await #expect(throws: error) { try await cluster.coordinator.write([.delete((0..<4).map { .integer($0) })], to: name, context: cluster.context) }
    }

    @Test("a page is in the order of ids over all shards, and pages follow each other without gap or repetition", arguments: [1, 2, 3] as [UInt64], [1, 7, 64])
    func scrolling(seed: UInt64, limit: Int) async throws {
        let cluster = try FakeCluster(nodes: 3)
        let name = try await cluster.make("c", shards: 5)
        var random = SplitMix64(seed: seed)
        // Half of the ids crowd in one document, so one shard has far more than its share.
        let points = (0..<150).map { index in
            let id: PointID = index % 2 == 0 ? .uuid(high: 4, low: UInt64(index)) : .integer(random.next() % 1_000)
            return Point(id: id, vector: [1, 1], payload: ["even": .bool(random.next() % 2 == 0)])
        }
        try await cluster.coordinator.write([.upsert(points)], to: name, context: cluster.context)
        for filter in [nil, Filter(must: [.match(key: "even", anyOf: [true])])] {
            let expected = Dictionary(points.map { ($0.id, $0) }) { $1 }.values
                .filter { filter?.passes(id: $0.id, payload: $0.payload) ?? true }.map(\.id).sorted()
            var found: [PointID] = []
            var from: PointID?
            repeat {
                let page = try await cluster.coordinator.scroll(name, from: from, limit: limit, filter: filter, context: cluster.context)
                #expect(page.points.count == limit || page.next == nil)
                found += page.points.map(\.id)
                from = page.next
            } while from != nil
            #expect(found == expected)
        }
    }
}

import Model
import Testing
import Wire

@Suite struct WireRoundTripTests {
    static let seeds: [UInt64] = Array(1...40)

    @Test("every request survives the wire with its tenant", arguments: seeds)
    func requests(seed: UInt64) throws {
        var random = RandomModel(seed: seed)
        try roundTrip(random.appendRequest(), random.tenant)
        try roundTrip(random.searchRequest(), random.tenant)
        try roundTrip(random.explainRequest(), random.tenant)
        try roundTrip(random.fetchRequest(), random.tenant)
        try roundTrip(CountRequest(shard: random.shard(), filter: random.optional { $0.filter() }), random.tenant)
        try roundTrip(StatusRequest(shards: random.list { $0.shard() }), random.tenant)
        try roundTrip(OutlineRequest(shard: random.shard(), maximumBytes: random.count()), random.tenant)
        try roundTrip(SealRequest(shard: random.shard(), split: true), random.tenant)
        try roundTrip(SealRequest(shard: random.shard(), takeover: true, mergeWith: 1 << 42 | 3), random.tenant)
        try roundTrip(DropRequest(shard: random.shard()), random.tenant)
        try roundTrip(random.answerRequest(), random.tenant)
    }

    @Test("every reply survives the wire", arguments: seeds)
    func replies(seed: UInt64) throws {
        var random = RandomModel(seed: seed)
        try roundTrip(AppendReply(position: random.next(), superseded: random.count()))
        try roundTrip(random.searchReply())
        try roundTrip(ExplainReply(explanations: random.list { $0.explanation() }))
        try roundTrip(FetchReply(points: random.list { $0.storedPoint() }))
        try roundTrip(CountReply(count: random.count()))
        try roundTrip(random.statusReply())
        try roundTrip(random.outlineReply())
        try roundTrip(SealReply(points: random.count(), segments: random.count()))
        try roundTrip(AnswerEvent.prompt(random.text()))
        try roundTrip(AnswerEvent.text(random.text()))
        try roundTrip(AnswerEvent.finished(random.answerSummary()))
    }

    @Test("a request cut off or changed anywhere is read or refused, never a crash", arguments: seeds.prefix(10))
    func damaged(seed: UInt64) throws {
        var random = RandomModel(seed: seed)
        let bytes = try random.appendRequest().encoded(for: random.tenant)
        for length in 0..<bytes.count { _ = try? AppendRequest.decode(Array(bytes.prefix(length))) }
        for position in bytes.indices {
            var changed = bytes
            changed[position] ^= 1 << UInt8(position % 8)
            do throws(ClusterError) {
                _ = try AppendRequest.decode(changed)
            } catch {
                #expect(error.code == .invalidArgument || error.code == .permissionDenied, "\(error)")
            }
        }
    }

    @Test("a shard of another tenant is refused")
    func tenants() throws {
        let shard = ShardID(tenant: try TenantID("theirs"), incarnation: Incarnation(7), index: 0)
        let bytes = try CountRequest(shard: shard).encoded(for: TenantID("ours"))
        let error = #expect(throws: ClusterError.self) { _ = try CountRequest.decode(bytes) }
        #expect(error?.code == .permissionDenied)
        #expect(error?.message.contains("theirs") == true && error?.message.contains("ours") == true)
    }

    @Test("what is missing is named")
    func missing() throws {
        let noTenant = #expect(throws: ClusterError.self) { _ = try CountRequest.decode([]) }
        #expect(noTenant == ClusterError(.invalidArgument, "tenant is empty"))
        var message = AppendRequest(shard: RandomModel.shard, operations: []).message
        message.tenant = RandomModel.shard.tenant.rawValue
        message.operations = [Covey_V1_AppendRequest.Operation()]
        let noOperation = #expect(throws: ClusterError.self) { _ = try AppendRequest(message) }
        #expect(noOperation?.message.contains("operation") == true)
        let noID = #expect(throws: ClusterError.self) { _ = try Point(Covey_V1_Point()) }
        #expect(noID == ClusterError(.invalidArgument, "point id is missing"))
    }

    @Test("a filter nested deeper than the decoder goes is refused")
    func deepFilter() throws {
        var filter = Filter()
        for _ in 0..<200 { filter = Filter(must: [.nested(filter)]) }
        let bytes = try CountRequest(shard: RandomModel.shard, filter: filter).encoded(for: RandomModel.shard.tenant)
        let error = #expect(throws: ClusterError.self) { _ = try CountRequest.decode(bytes) }
        #expect(error?.code == .invalidArgument)
    }

    private func roundTrip<Request: WireRequest & Equatable>(_ request: Request, _ tenant: TenantID) throws {
        let decoded = try Request.decode(request.encoded(for: tenant))
        #expect(decoded.request == request)
        #expect(decoded.tenant == tenant)
    }
    private func roundTrip<Value: WireValue & Equatable>(_ value: Value) throws {
        #expect(try Value(decoding: value.encoded()) == value)
    }
}

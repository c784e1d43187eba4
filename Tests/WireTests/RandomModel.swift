import Model

/// Values of the model drawn from a seed: small, with every case and every optional both ways.
struct RandomModel {
    private var state: UInt64
    let tenant: TenantID = try! TenantID("tenant-1")

    static let shard: ShardID = ShardID(tenant: try! TenantID("tenant-1"), incarnation: Incarnation(0xfeed), index: 3)

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    mutating func flag() -> Bool { below(2) == 0 }
    /// Mostly small; sometimes as large as an `Int` goes.
    mutating func count() -> Int { below(8) == 0 ? Int.max : below(100_000) }
    mutating func number() -> Double { Double(Int64(bitPattern: next() & 0xffff_ffff) - 0x8000_0000) / 1_024 + 0.5 / 4_096 }
    mutating func score() -> Float { Float(number()) }
    mutating func optional<Value>(_ make: (inout RandomModel) -> Value) -> Value? { flag() ? make(&self) : nil }
    mutating func list<Value>(_ make: (inout RandomModel) -> Value) -> [Value] { (0..<below(5)).map { _ in make(&self) } }
    mutating func text() -> String { ["", "a", "naïve “quotes”\n", "日本語", "{\"not\": json", "x\u{0}y", "🪿"][below(7)] + String(below(1_000)) }
    mutating func vector() -> [Float] { (0..<below(20)).map { _ in score() } }

    mutating func shard() -> ShardID { ShardID(tenant: tenant, incarnation: Incarnation(next()), index: below(256)) }
    mutating func id() -> PointID { flag() ? .integer(next()) : .uuid(high: next(), low: next()) }
    mutating func range() -> HashRange {
        let (a, b) = (next(), next())
        return HashRange(first: min(a, b), last: max(a, b))
    }

    mutating func json(depth: Int = 0) -> JSONValue {
        switch below(depth < 3 ? 7 : 5) {
        case 0: .null
        case 1: .bool(flag())
        case 2: .integer(Int64(bitPattern: next()))
        case 3: .number(number())
        case 4: .string(text())
        case 5: .array(list { $0.json(depth: depth + 1) })
        default: .object(payload(depth: depth + 1))
        }
    }
    mutating func payload(depth: Int = 0) -> Payload {
        Dictionary(list { ($0.text(), $0.json(depth: depth)) }) { first, _ in first }
    }
    mutating func filter(depth: Int = 0) -> Filter {
        Filter(must: list { $0.condition(depth) }, should: list { $0.condition(depth) }, mustNot: list { $0.condition(depth) })
    }
    private mutating func condition(_ depth: Int) -> Filter.Condition {
        switch below(depth < 2 ? 6 : 5) {
        case 0: .match(key: text(), anyOf: list { $0.json(depth: 3) })
        case 1: .matchExcept(key: text(), noneOf: list { $0.json(depth: 3) })
        case 2:
            .range(
                key: text(),
                Filter.Range(
                    greaterThan: optional { $0.number() }, greaterOrEqual: optional { $0.number() }, lessThan: optional { $0.number() },
                    lessOrEqual: optional { $0.number() }))
        case 3: .hasID(list { $0.id() })
        case 4: .isEmpty(key: text())
        default: .nested(filter(depth: depth + 1))
        }
    }

    mutating func appendRequest() -> AppendRequest {
        AppendRequest(
            shard: shard(),
            operations: list { random in
                switch random.below(3) {
                case 0: .upsert(random.list { Point(id: $0.id(), vector: $0.vector(), payload: $0.payload()) })
                case 1: .delete(random.list { $0.id() })
                default: .deleteWhere(random.filter())
                }
            }, id: RequestID("r\(count())"), part: UInt64(count()) << 32)
    }
    mutating func shardSearch() -> ShardSearch {
        ShardSearch(
            vector: vector(), limit: count(), filter: optional { $0.filter() }, scoreThreshold: optional { $0.score() },
            effort: SearchEffort(exact: flag(), targetRecall: optional { Double($0.count()) }, probes: optional { $0.count() }, candidates: optional { $0.count() }))
    }
    mutating func searchRequest() -> SearchRequest { SearchRequest(shard: shard(), list { $0.shardSearch() }) }
    mutating func explainRequest() -> ExplainRequest { ExplainRequest(shard: shard(), search: shardSearch(), ids: list { $0.id() }) }
    mutating func rank() -> Rank { Rank(count(), of: count()) }
    mutating func explanation() -> Explanation {
        let steps: [SearchStep] = [.hit, .unknown, .deleted, .unreadable, .filter, .list, .code, .bytes, .rank, .scoreThreshold]
        return Explanation(
            id: id(), step: steps[below(steps.count)], score: optional { $0.score() }, version: next(), contentHash: next(),
            exact: optional { $0.rank() }, segment: optional { $0.count() },
            index: optional {
                IndexTrace(
                    region: $0.count(), list: $0.count(), regionRank: $0.rank(), listRank: $0.rank(), listsProbed: $0.count(), isProbed: $0.flag(),
                    byCode: $0.optional { $0.rank() }, byBytes: $0.optional { $0.rank() }, rescored: $0.count())
            })
    }
    mutating func fetchRequest() -> FetchRequest {
        let selection: FetchRequest.Selection =
            switch below(3) {
            case 0: .ids(list { $0.id() })
            case 1: .versions(list { PointVersion(id: $0.id(), version: $0.next()) })
            default: .page(from: optional { $0.id() }, limit: count(), filter: optional { $0.filter() })
            }
        let payload: PayloadSelection =
            switch below(4) {
            case 0: .none
            case 1: .all
            case 2: .only(list { $0.text() })
            default: .except(list { $0.text() })
            }
        return FetchRequest(shard: shard(), selection: selection, withPayload: payload, withVector: flag())
    }
    mutating func storedPoint() -> StoredPoint { StoredPoint(id: id(), version: next(), vector: vector(), payload: payload()) }
    mutating func searchReply() -> SearchReply {
        SearchReply(
            results: list { random in
                SearchReply.Result(
                    hits: random.list { Hit(id: $0.id(), score: $0.score(), version: $0.next(), contentHash: $0.next()) },
                    work: SearchWork(
                        pointsHeld: random.count(), pointsByCode: random.count(), pointsExactly: random.count(), codesScanned: random.count(),
                        candidatesRescored: random.count(), pointsUnreadable: random.count(), listsScanned: random.count(),
                        recall: random.optional { Double($0.count()) }))
            },
            range: range(), position: next(), manifestVersion: next())
    }
    mutating func outlineReply() -> OutlineReply {
        OutlineReply(
            range: range(), position: next(), manifestVersion: next(),
            outline: optional { random in
                ShardOutline(balls: random.list { random in
                    let mean = random.vector()
                    let count = Int(random.next() % 4)
                    return ShardOutline.Balls(
                        mean: mean, bytes: (0..<count * mean.count).map { _ in UInt8(truncatingIfNeeded: random.next()) }, scales: (0..<count).map { _ in random.score() },
                        radii: (0..<count).map { _ in random.score() }, leastLength: random.score(), greatestLength: random.score())
                })
            })
    }
    mutating func statusReply() -> StatusReply {
        StatusReply(
            node: NodeID(text()),
            shards: list {
                ShardStatus(
                    shard: $0.shard(), range: $0.range(), points: $0.count(), pointsByCode: $0.count(), segments: $0.count(),
                    logPosition: $0.next(), epoch: $0.next(), manifestVersion: $0.next(), indexBytes: $0.count(), fileBytes: $0.count(),
                    damaged: $0.list { $0.text() }, sealing: $0.next() % 2 == 0 ? nil : Double($0.next() % 101) / 100,
                    quantizationError: $0.optional { Double($0.count()) }, newPointsError: $0.optional { Double($0.count()) })
            }, codesScanned: next())
    }

    mutating func answerRequest() -> AnswerRequest {
        AnswerRequest(
            question: text(),
            history: list { ChatTurn(speaker: [.system, .user, .assistant][$0.below(3)], text: $0.text()) },
            sources: list {
                Source(
                    document: $0.text(), title: $0.text(), headings: $0.list { $0.text() }, text: $0.text(), start: $0.count(), end: $0.count(),
                    score: $0.score())
            },
            options: AnswerOptions(
                maximumTokens: optional { $0.count() }, temperature: optional { $0.number() }, showPrompt: flag(), extractive: flag()))
    }
    mutating func answerSummary() -> AnswerSummary {
        AnswerSummary(
            model: text(), reason: flag() ? .stop : .length, refused: flag(),
            citations: list { Citation(source: $0.count(), start: $0.count(), end: $0.count(), quote: $0.text()) },
            citationsRemoved: count(), sourcesUsed: list { $0.count() }, promptTokens: count(), completionTokens: count())
    }
}

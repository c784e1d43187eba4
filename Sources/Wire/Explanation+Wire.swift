import Model

extension Covey_V1_ExplainRequest: TenantMessage {}

extension ExplainRequest: WireRequest {
    package init(_ message: Covey_V1_ExplainRequest) throws(ClusterError) {
        self.init(shard: try ShardID(message.shard), search: try ShardSearch(message.search), ids: try convert(message.ids, PointID.init))
    }

    package var message: Covey_V1_ExplainRequest {
        var message = Covey_V1_ExplainRequest()
        message.shard = shard.message
        message.search = search.message
        message.ids = ids.map(\.message)
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension ExplainReply: WireValue {
    package init(_ message: Covey_V1_ExplainReply) throws(ClusterError) {
        self.init(explanations: try convert(message.explanations, Explanation.init))
    }

    package var message: Covey_V1_ExplainReply {
        var message = Covey_V1_ExplainReply()
        message.explanations = explanations.map(\.message)
        return message
    }
}

extension Explanation: WireValue {
    package init(_ message: Covey_V1_Explanation) throws(ClusterError) {
        self.init(
            id: try PointID(message.id), step: try SearchStep(message.step), score: message.hasScore ? message.score : nil, version: message.version,
            contentHash: message.contentHash, exact: message.hasExact ? Rank(message.exact) : nil,
            segment: message.hasSegment ? Int(message.segment) : nil, index: message.hasIndex ? IndexTrace(message.index) : nil)
    }

    package var message: Covey_V1_Explanation {
        var message = Covey_V1_Explanation()
        message.id = id.message
        message.step = step.message
        if let score { message.score = score }
        message.version = version
        message.contentHash = contentHash
        if let exact { message.exact = exact.message }
        if let segment { message.segment = Int64(segment) }
        if let index { message.index = index.message }
        return message
    }
}

extension IndexTrace: WireValue {
    package init(_ message: Covey_V1_IndexTrace) {
        self.init(
            region: Int(message.region), list: Int(message.list), regionRank: Rank(message.regionRank), listRank: Rank(message.listRank),
            listsProbed: Int(message.listsProbed), isProbed: message.isProbed, byCode: message.hasByCode ? Rank(message.byCode) : nil,
            byBytes: message.hasByBytes ? Rank(message.byBytes) : nil, rescored: Int(message.rescored))
    }

    package var message: Covey_V1_IndexTrace {
        var message = Covey_V1_IndexTrace()
        message.region = Int64(region)
        message.list = Int64(list)
        message.regionRank = regionRank.message
        message.listRank = listRank.message
        message.listsProbed = Int64(listsProbed)
        message.isProbed = isProbed
        if let byCode { message.byCode = byCode.message }
        if let byBytes { message.byBytes = byBytes.message }
        message.rescored = Int64(rescored)
        return message
    }
}

extension Rank {
    fileprivate init(_ message: Covey_V1_Rank) { self.init(Int(message.place), of: Int(message.count)) }

    fileprivate var message: Covey_V1_Rank {
        var message = Covey_V1_Rank()
        message.place = Int64(place)
        message.count = Int64(count)
        return message
    }
}

extension SearchStep {
    fileprivate init(_ message: Covey_V1_SearchStep) throws(ClusterError) {
        switch message {
        case .hit: self = .hit
        case .unknown: self = .unknown
        case .deleted: self = .deleted
        case .unreadable: self = .unreadable
        case .filter: self = .filter
        case .list: self = .list
        case .code: self = .code
        case .bytes: self = .bytes
        case .rank: self = .rank
        case .scoreThreshold: self = .scoreThreshold
        case .unspecified, .UNRECOGNIZED: throw ClusterError(.invalidArgument, "search step \(message.rawValue) is unknown")
        }
    }

    fileprivate var message: Covey_V1_SearchStep {
        switch self {
        case .hit: .hit
        case .unknown: .unknown
        case .deleted: .deleted
        case .unreadable: .unreadable
        case .filter: .filter
        case .list: .list
        case .code: .code
        case .bytes: .bytes
        case .rank: .rank
        case .scoreThreshold: .scoreThreshold
        case .shard, .merge, .duplicate, .offset, .changed: preconditionFailure("\(self) is no step of a shard")
        }
    }
}

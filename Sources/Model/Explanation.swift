/// Where a search left a point: the step that dropped it, or ``hit``.
package enum SearchStep: String, Hashable, Sendable, CaseIterable {
    /// In the result.
    case hit
    /// No such point is known; one that was erased leaves no trace.
    case unknown
    /// Only superseded versions of it are left.
    case deleted
    /// Not found, but a part of the shard cannot be read and may hold it.
    case unreadable
    /// Its shard did not answer.
    case shard
    /// The filter refuses it.
    case filter
    /// Its list was not among those probed.
    case list
    /// Its codes did not make it a candidate.
    case code
    /// Its bytes say that it is surely worse than the last hit.
    case bytes
    /// Scored with its full vector; enough points of its shard are better.
    case rank
    /// Its score is worse than the threshold.
    case scoreThreshold = "score_threshold"
    /// Among the best of its shard; enough points of other shards are better.
    case merge
    /// A better hit was made from the same text.
    case duplicate
    /// Better than the first hit wanted.
    case offset
    /// Found, but overwritten or deleted while the search ran.
    case changed
}

/// Which points a search is to be explained for.
package struct ExplainRequest: Hashable, Sendable {
    package var shard: ShardID
    package var search: ShardSearch
    /// At most ``maximumCount``.
    package var ids: [PointID]

    /// Reason: each costs the scores of the lists probed; a person asks about one.
    package static let maximumCount = 16

    package init(shard: ShardID, search: ShardSearch, ids: [PointID]) {
        self.shard = shard
        self.search = search
        self.ids = ids
    }
}

package struct ExplainReply: Hashable, Sendable {
    /// In the order of the request's ids.
    package var explanations: [Explanation]
    package init(explanations: [Explanation]) { self.explanations = explanations }
}

/// A place in an order, from 1, and how many have one.
package struct Rank: Hashable, Sendable {
    package var place: Int
    package var count: Int

    package init(_ place: Int, of count: Int) {
        self.place = place
        self.count = count
    }
}

/// What became of one point in one search.
package struct Explanation: Hashable, Sendable {
    package var id: PointID
    package var step: SearchStep
    /// The live version's; `nil` without one, and then nothing below is known.
    package var score: Float?
    package var version: UInt64
    package var contentHash: UInt64
    /// Among the shard's points that the filter admits, all scored with their full vectors; `nil` if the filter refuses the point.
    package var exact: Rank?
    /// Which segment holds it, from 0, the oldest first; `nil` for the newest points, which no segment holds yet and which are scored exactly.
    package var segment: Int?
    /// `nil` if codes did not choose the segment's candidates.
    package var index: IndexTrace?

    package init(
        id: PointID, step: SearchStep, score: Float? = nil, version: UInt64 = 0, contentHash: UInt64 = 0, exact: Rank? = nil, segment: Int? = nil,
        index: IndexTrace? = nil
    ) {
        self.id = id
        self.step = step
        self.score = score
        self.version = version
        self.contentHash = contentHash
        self.exact = exact
        self.segment = segment
        self.index = index
    }
}

/// What became of one row in an index that was searched by code. A rank that the row never got is `nil`.
package struct IndexTrace: Hashable, Sendable {
    /// Numbers within the segment, from 0.
    package var region: Int
    package var list: Int
    /// Among all regions and all lists of the segment, by what their bytes promise for the query.
    package var regionRank: Rank
    package var listRank: Rank
    package var listsProbed: Int
    package var isProbed: Bool
    /// Among the admitted rows of the lists probed.
    package var byCode: Rank?
    /// Among the candidates that codes chose.
    package var byBytes: Rank?
    /// Candidates scored with their full vectors.
    package var rescored: Int

    package init(
        region: Int, list: Int, regionRank: Rank, listRank: Rank, listsProbed: Int, isProbed: Bool, byCode: Rank? = nil, byBytes: Rank? = nil,
        rescored: Int = 0
    ) {
        self.region = region
        self.list = list
        self.regionRank = regionRank
        self.listRank = listRank
        self.listsProbed = listsProbed
        self.isProbed = isProbed
        self.byCode = byCode
        self.byBytes = byBytes
        self.rescored = rescored
    }
}

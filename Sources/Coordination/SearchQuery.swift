import Model

/// A search of one collection, as a client means it.
package struct SearchQuery: Hashable, Sendable {
    /// `[dimension]`, finite, of any length; brought to unit length when the metric is cosine.
    package var vector: [Float]
    /// Hits wanted, 1…``CoordinatorConfiguration/maximumLimit``.
    package var limit: Int
    /// Best hits to leave out, 0…``CoordinatorConfiguration/maximumLimit``.
    package var offset: Int
    package var filter: Filter?
    /// Hits with a worse score are left out.
    package var scoreThreshold: Float?
    package var effort: SearchEffort
    package var withPayload: PayloadSelection
    package var withVector: Bool
    package var partial: PartialPolicy
    /// Of hits made from the same text only the best stays. Hits without text are never collapsed.
    package var collapseDuplicates: Bool
    /// Points to say of where the search left them, at most ``ExplainRequest/maximumCount``.
    package var explain: [PointID]

    package init(
        vector: [Float], limit: Int, offset: Int = 0, filter: Filter? = nil, scoreThreshold: Float? = nil,
        effort: SearchEffort = SearchEffort(), withPayload: PayloadSelection = .all, withVector: Bool = false,
        partial: PartialPolicy = .degrade, collapseDuplicates: Bool = false, explain: [PointID] = []
    ) {
        self.vector = vector
        self.limit = limit
        self.offset = offset
        self.filter = filter
        self.scoreThreshold = scoreThreshold
        self.effort = effort
        self.withPayload = withPayload
        self.withVector = withVector
        self.partial = partial
        self.collapseDuplicates = collapseDuplicates
        self.explain = explain
    }
}

package struct ScoredPoint: Hashable, Sendable {
    package var point: StoredPoint
    package var score: Float

    package init(point: StoredPoint, score: Float) {
        self.point = point
        self.score = score
    }
}

package struct SearchAnswer: Sendable {
    /// Best first; equal scores by id, integers before UUIDs.
    package var hits: [ScoredPoint]
    package var coverage: Coverage
    /// Hits left out because the point was overwritten or deleted between the search and the fetch of its payload; the
    /// next best took their places where there were any (protocol, H22).
    package var superseded: Int
    package var took: Duration
    /// In the order of the query's ids.
    package var explanations: [PointExplanation]

    package init(hits: [ScoredPoint], coverage: Coverage, superseded: Int = 0, took: Duration, explanations: [PointExplanation] = []) {
        self.hits = hits
        self.coverage = coverage
        self.superseded = superseded
        self.took = took
        self.explanations = explanations
    }
}

/// A part of a collection in the order of ids.
package struct ScrollPage: Sendable {
    package var points: [StoredPoint]
    /// Where the next page begins; `nil` if this was the last.
    package var next: PointID?
    /// Points of the shards in its gaps are missing from the page.
    package var coverage: Coverage

    package init(points: [StoredPoint], next: PointID?, coverage: Coverage) {
        self.points = points
        self.next = next
        self.coverage = coverage
    }
}

/// What a write did. Shards acknowledge independently of each other: there is no atomicity between them (protocol, H24).
package struct WriteOutcome: Hashable, Sendable {
    package struct ShardResult: Hashable, Sendable {
        package var shard: ShardID
        package var node: NodeID
        /// Position in the shard's log of the last entry written.
        package var position: UInt64
        /// Points that existed before and were deleted or replaced.
        package var superseded: Int
    }
    /// A shard that did not write, or of which nobody knows whether it did.
    package struct ShardFailure: Hashable, Sendable {
        package var shard: ShardID
        package var node: NodeID
        package var error: ClusterError
    }
    package var collection: CollectionName
    /// In the order of shard indices; only shards that the write concerned.
    package var results: [ShardResult] = []
    package var failures: [ShardFailure] = []

    package var superseded: Int { results.reduce(0) { $0 + $1.superseded } }
    /// The highest log position written, 0 if nothing was.
    package var position: UInt64 { results.map(\.position).max() ?? 0 }

    /// The first failing shard's code and reason with a message that says which shards failed and how many wrote; `nil` if all of them did.
    package var error: ClusterError? {
        guard let first = failures.first else { return nil }
        let named = failures.prefix(8).map { "shard \($0.shard.index) on node \($0.node): \($0.error)" }.joined(separator: "; ")
        return ClusterError(first.error.code, "\(results.count) of \(results.count + failures.count) shards of \"\(collection)\" wrote; \(named)", reason: first.error.reason)
    }
}

/// A shard node as its callers see it, whether it runs in this process or behind a network.
///
/// Every call may throw `unavailable`, `deadlineExceeded` or `cancelled`; `notFound` means that the collection is not (or no longer) in the store.
package protocol ShardService: Sendable {
    /// Makes the operations durable, then visible, in order and all together.
    ///
    /// A node that is not the owner writes nothing and names the owner in its reply, unless it is told to take over.
    ///
    /// - Throws: `invalidArgument` for a vector of the wrong dimension; `aborted` if the outcome is not known or the node is no longer the owner.
    func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply
    func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply
    /// Runs a search and says where it left some points.
    ///
    /// - Complexity: That of the search for each of them, and the score of every point that the filter admits.
    /// - Throws: as `search`; `invalidArgument` for too many ids.
    func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply
    func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply
    func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply
    func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply
    /// Balls that hold all vectors of a shard, of whatever position the node has: with them a caller can say later what a silent shard could have.
    func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply
    /// Turns everything appended so far into one searchable-by-code segment; returns when it serves.
    func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply
    /// Ends a shard of a dropped collection: a terminal entry in its log, then its objects are deleted.
    func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError)
    /// Takes what a shard's owner committed, if the shard is open here. Nothing depends on it: a replica that misses some reads it from
    /// the store when it has to know.
    func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError)
}

package struct AppendRequest: Hashable, Sendable {
    package var shard: ShardID
    package var operations: [Operation]
    /// Whether the node is to claim the shard from the owner that the log names, which does not answer.
    package var takeover: Bool
    /// The write of a client that this belongs to, and which part of it this is: a shard applies a part once (protocol, H19).
    package var id: RequestID
    package var part: UInt64
    /// Hash of the body of which this is one shard's part, so that it stays the same when the shard is split between two attempts.
    /// `nil`: the hash of these operations.
    package var bodyHash: UInt128?

    package init(shard: ShardID, operations: [Operation], takeover: Bool = false, id: RequestID = .random(), part: UInt64 = 0, bodyHash: UInt128? = nil) {
        self.id = id
        self.part = part
        self.bodyHash = bodyHash
        self.takeover = takeover
        self.shard = shard
        self.operations = operations
    }

    package enum Operation: Hashable, Sendable {
        case upsert([Point])
        case delete([PointID])
        /// The owner resolves the filter to ids at the position of this entry; the log carries the ids (protocol, H20).
        case deleteWhere(Filter)
    }
}

package struct AppendReply: Hashable, Sendable {
    /// Position in the shard's log of the entry that holds the operations.
    package var position: UInt64
    /// Points that existed before and were deleted or replaced.
    package var superseded: Int
    /// The owner, if it is another node: then nothing was written.
    package var owner: NodeID?

    package init(position: UInt64, superseded: Int, owner: NodeID? = nil) {
        self.position = position
        self.superseded = superseded
        self.owner = owner
    }
}

/// How much work a search may spend. `nil` leaves the choice to the shard's defaults.
///
/// Without `probes` every segment spends what its calibration says that `targetRecall` takes.
package struct SearchEffort: Hashable, Sendable {
    /// Recall that searches aim at which say nothing.
    package static let defaultRecall = 0.97

    /// Share of the true best points that answers should have on average, above 0 and at most 1; 1 asks for the exact scan.
    package var targetRecall: Double?
    /// Score every point with its full vector.
    package var exact: Bool
    /// Coarse lists probed, per segment.
    package var probes: Int?
    /// Candidates by code that are scored again with their full vectors, per segment.
    package var candidates: Int?

    package init(exact: Bool = false, targetRecall: Double? = nil, probes: Int? = nil, candidates: Int? = nil) {
        self.targetRecall = targetRecall
        self.exact = exact
        self.probes = probes
        self.candidates = candidates
    }
}

/// The nearest points of a shard, as one search wants them.
package struct ShardSearch: Hashable, Sendable {
    /// `[dimension]`; of unit length when the metric is cosine.
    package var vector: [Float]
    package var limit: Int
    package var filter: Filter?
    /// Hits with a worse score are left out.
    package var scoreThreshold: Float?
    package var effort: SearchEffort

    package init(vector: [Float], limit: Int, filter: Filter? = nil, scoreThreshold: Float? = nil, effort: SearchEffort = SearchEffort()) {
        self.vector = vector
        self.limit = limit
        self.filter = filter
        self.scoreThreshold = scoreThreshold
        self.effort = effort
    }
}

/// Searches of one shard that are answered from one snapshot of it, all or none.
package struct SearchRequest: Hashable, Sendable {
    package var shard: ShardID
    /// 1…``maximumCount``, with limits that add up to at most ``maximumHits``.
    package var searches: [ShardSearch]

    /// Reason: they keep one thread of the node until the last is done, and a reply has the hits of all.
    package static let maximumCount = 256
    /// Most hits that searches of one request may ask for together. Reason: bounds the memory of a reply.
    package static let maximumHits = 100_000

    package init(shard: ShardID, _ searches: [ShardSearch]) {
        self.shard = shard
        self.searches = searches
    }
}

package struct SearchReply: Hashable, Sendable {
    package struct Result: Hashable, Sendable {
        /// Best first, in the total order of ``Hit``.
        package var hits: [Hit]
        package var work: SearchWork

        package init(hits: [Hit], work: SearchWork) {
            self.hits = hits
            self.work = work
        }
    }

    /// In the order of the request's searches.
    package var results: [Result]
    /// The part of the hash space that was searched.
    package var range: HashRange
    /// Log position and manifest version that the answer reflects.
    package var position: UInt64
    package var manifestVersion: UInt64
    /// Time since the store last confirmed that nothing newer was committed; `nil` if it never did.
    package var age: Duration?

    package init(results: [Result], range: HashRange, position: UInt64, manifestVersion: UInt64, age: Duration? = nil) {
        self.results = results
        self.range = range
        self.position = position
        self.manifestVersion = manifestVersion
        self.age = age
    }
}

/// What a search touched.
package struct SearchWork: Hashable, Sendable {
    /// Live points of the shard when the search began.
    package var pointsHeld: Int
    /// Live points in segments that were searched through their codes. Probing some lists of a segment counts all its points.
    package var pointsByCode: Int
    /// Live points scored with their full vectors.
    package var pointsExactly: Int
    package var codesScanned: Int
    package var candidatesRescored: Int
    /// Live points in parts of the shard that cannot be read (damaged files).
    package var pointsUnreadable: Int
    /// Coarse lists whose codes were looked at.
    package var listsScanned: Int
    /// Expected share of the true best points among the hits, by the segments' calibrations; `nil` where that is not known.
    package var recall: Double?

    package init(
        pointsHeld: Int = 0, pointsByCode: Int = 0, pointsExactly: Int = 0, codesScanned: Int = 0, candidatesRescored: Int = 0,
        pointsUnreadable: Int = 0, listsScanned: Int = 0, recall: Double? = nil
    ) {
        self.listsScanned = listsScanned
        self.recall = recall
        self.pointsHeld = pointsHeld
        self.pointsByCode = pointsByCode
        self.pointsExactly = pointsExactly
        self.codesScanned = codesScanned
        self.candidatesRescored = candidatesRescored
        self.pointsUnreadable = pointsUnreadable
    }

    /// Adds what another part took. The parts' recalls count by the points searched in them.
    package static func += (a: inout SearchWork, b: SearchWork) {
        let (first, second) = (a.pointsByCode + a.pointsExactly, b.pointsByCode + b.pointsExactly)
        if first == 0 {
            a.recall = b.recall
        } else if second > 0 {
            a.recall = a.recall.flatMap { one in b.recall.map { (one * Double(first) + $0 * Double(second)) / Double(first + second) } }
        }
        a.listsScanned += b.listsScanned
        a.pointsHeld += b.pointsHeld
        a.pointsByCode += b.pointsByCode
        a.pointsExactly += b.pointsExactly
        a.codesScanned += b.codesScanned
        a.candidatesRescored += b.candidatesRescored
        a.pointsUnreadable += b.pointsUnreadable
    }
}

package struct FetchRequest: Hashable, Sendable {
    package var shard: ShardID
    package var selection: Selection
    package var withPayload: PayloadSelection
    package var withVector: Bool

    package init(shard: ShardID, selection: Selection, withPayload: PayloadSelection = .all, withVector: Bool = false) {
        self.shard = shard
        self.selection = selection
        self.withPayload = withPayload
        self.withVector = withVector
    }

    package enum Selection: Hashable, Sendable {
        /// These ids, whatever version they have; missing ones are left out.
        case ids([PointID])
        /// These ids at exactly these versions; one that has another version now is left out.
        case versions([PointVersion])
        /// The first `limit` points in the order of ids, from `from` on (inclusive), that pass the filter.
        case page(from: PointID?, limit: Int, filter: Filter?)
    }
}

package struct PointVersion: Hashable, Sendable {
    package var id: PointID
    package var version: UInt64
    package init(id: PointID, version: UInt64) {
        self.id = id
        self.version = version
    }
}

package struct FetchReply: Hashable, Sendable {
    /// In the order asked; for a page, in the order of ids.
    package var points: [StoredPoint]
    package init(points: [StoredPoint]) { self.points = points }
}

package struct CountRequest: Hashable, Sendable {
    package var shard: ShardID
    package var filter: Filter?
    package init(shard: ShardID, filter: Filter? = nil) {
        self.shard = shard
        self.filter = filter
    }
}

package struct CountReply: Hashable, Sendable {
    package var count: Int
    package init(count: Int) { self.count = count }
}

package struct StatusRequest: Hashable, Sendable {
    /// Shards to describe (they are opened if need be); empty asks for all that are open.
    package var shards: [ShardID]
    /// Only whether the node answers, and its counters; with a shard, also whether the store answers the node (else it throws `unavailable`).
    package var nodeOnly: Bool
    package init(shards: [ShardID] = [], nodeOnly: Bool = false) {
        self.shards = shards
        self.nodeOnly = nodeOnly
    }
}

package struct StatusReply: Hashable, Sendable {
    package var node: NodeID
    package var shards: [ShardStatus]
    /// Codes scanned by this node since it started: it stands still when a cancelled search has stopped.
    package var codesScanned: UInt64

    package init(node: NodeID, shards: [ShardStatus], codesScanned: UInt64) {
        self.node = node
        self.shards = shards
        self.codesScanned = codesScanned
    }
}

package struct ShardStatus: Hashable, Sendable {
    package var shard: ShardID
    package var range: HashRange
    package var points: Int
    /// Of those, the ones in sealed segments that are searched by code.
    package var pointsByCode: Int
    package var segments: Int
    package var logPosition: UInt64
    package var epoch: UInt64
    package var manifestVersion: UInt64
    /// Bytes of memory held for codes, coarse lists and ids; raw vectors and payloads are mapped files.
    package var indexBytes: Int
    /// Bytes of segment files.
    package var fileBytes: Int
    /// Files that could not be read, each with the reason; their points are not served.
    package var damaged: [String]
    /// Share that is done of the segment being built, 0…1; `nil` if none is.
    package var sealing: Double?
    /// Mean squared error of the codes of the newest segment that is searched by code, over its mean squared norm; `nil` without one.
    package var quantizationError: Double?
    /// The same of points that no segment holds yet, described by that segment's codes; `nil` where too few of them were measured.
    package var newPointsError: Double?

    /// How much worse codes describe new points than those that they were made for; about 1 as long as they fit.
    package var drift: Double? {
        guard let quantizationError, let newPointsError, quantizationError > 0 else { return nil }
        return newPointsError / quantizationError
    }

    package init(
        shard: ShardID, range: HashRange, points: Int, pointsByCode: Int, segments: Int, logPosition: UInt64, epoch: UInt64,
        manifestVersion: UInt64, indexBytes: Int, fileBytes: Int, damaged: [String] = [], sealing: Double? = nil,
        quantizationError: Double? = nil, newPointsError: Double? = nil
    ) {
        self.shard = shard
        self.range = range
        self.points = points
        self.pointsByCode = pointsByCode
        self.segments = segments
        self.logPosition = logPosition
        self.epoch = epoch
        self.manifestVersion = manifestVersion
        self.indexBytes = indexBytes
        self.fileBytes = fileBytes
        self.damaged = damaged
        self.sealing = sealing
        self.quantizationError = quantizationError
        self.newPointsError = newPointsError
    }
}

package struct SealRequest: Hashable, Sendable {
    package var shard: ShardID
    /// As for ``AppendRequest``.
    package var takeover: Bool
    /// Whether two shards are to take its place, each with half its range: then the segments are theirs.
    package var split: Bool
    /// Index of the other half of the shard that both come from: this one takes the next step of merging with it. The upper half promises, the
    /// lower ends, the upper ends: so three calls, in that order, each of which means that the one before was answered (protocol, H14).
    package var mergeWith: Int?
    package init(shard: ShardID, takeover: Bool = false, split: Bool = false, mergeWith: Int? = nil) {
        self.split = split
        self.mergeWith = mergeWith
        self.shard = shard
        self.takeover = takeover
    }
}

package struct SealReply: Hashable, Sendable {
    /// Points in segments afterwards, and how many segments there are.
    package var points: Int
    package var segments: Int
    /// The owner, if it is another node: then nothing was sealed.
    package var owner: NodeID?
    package init(points: Int, segments: Int, owner: NodeID? = nil) {
        self.points = points
        self.segments = segments
        self.owner = owner
    }
}

package struct DropRequest: Hashable, Sendable {
    package var shard: ShardID
    package init(shard: ShardID) { self.shard = shard }
}

/// What an owner committed since the last such message.
package struct FollowRequest: Hashable, Sendable {
    package var shard: ShardID
    /// Log entries as they lie in the store, ascending and without a gap.
    package var entries: [[UInt8]]
    /// The newest manifest.
    package var manifestVersion: UInt64

    package init(shard: ShardID, entries: [[UInt8]], manifestVersion: UInt64) {
        self.shard = shard
        self.entries = entries
        self.manifestVersion = manifestVersion
    }
}

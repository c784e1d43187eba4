import Model

/// What a coordinator allows and how long it waits.
package struct CoordinatorConfiguration: Sendable {
    /// Time for a read of a request that brings no deadline of its own. Default: 5 s; a healthy answer takes
    /// milliseconds, so this is how long a caller waits for a node that hangs before the others' answer is given.
    package var readTimeout: Duration = .seconds(5)
    /// Part of a search's time kept back from the shards, for merging and for fetching the winners' payloads; at most a
    /// quarter of what is left. Default: 250 ms.
    package var mergeMargin: Duration = .milliseconds(250)
    /// Time for a write without a deadline. Default: 30 s: a durable write may wait for a disk that is busy.
    package var writeTimeout: Duration = .seconds(30)
    /// Time for sealing. Default: 2 h: it trains and builds an index over everything that was written.
    package var sealTimeout: Duration = .seconds(7_200)
    /// Time for a node to say how it is. Default: 2 s: an operator is looking at the screen.
    package var statusTimeout: Duration = .seconds(2)
    /// A collection's schema is looked up again after so long; a collection dropped through another coordinator may
    /// answer for this long. Default: 1 s: one small listing a second and collection in use.
    package var schemaStaleness: Duration = .seconds(1)
    /// How long a call to the store may be on its way, at most: so long after a collection was erased it is looked at once more, as such a
    /// call may have put an object back. Default: 2 h, the time for a seal, whose upload is the longest.
    package var longestCall: Duration = .seconds(7_200)
    /// Time after which no object holds a point that was deleted or overwritten, while nodes and store work. Default: 24 h: each
    /// shard concerned is rewritten whole, at most once in half of that.
    package var erasureDeadline: Duration = .seconds(86_400)
    /// Ended collections looked at in one sweep of a tenant. Default: 1,000, so that a sweep is over in seconds.
    package var dropsPerSweep: Int = 1_000
    /// Time for that look; after it the schema last known is used. Default: 1 s: while the store is away reads go on.
    package var schemaTimeout: Duration = .seconds(1)
    /// Schemas kept in memory. Default: 10,000, a few kilobytes each.
    package var schemaCacheLimit: Int = 10_000
    /// Writes at work at once; one more is refused with `unavailable`. Default: 256, half of the requests that a gateway lets in: however many
    /// writes wait for a store that is away, there is room for reads that need not wait.
    package var maximumWrites: Int = 256
    /// Points below which two halves of a shard are merged again; 0 never. Default: 2.5 million, an eighth of those past which a shard splits, so
    /// that neither leads to the other.
    package var mergePoints: Int = 2_500_000
    /// Bytes that one shard's outline takes at most. Default: 512 KiB, the lists of 64,000 points of 384 dimensions; it gets coarser until it fits.
    package var outlineBytes: Int = 512 << 10
    /// Bytes that all outlines take at most; 0 keeps none. Default: 64 MiB.
    package var outlinesBytes: Int = 64 << 20
    /// Time between two outlines of a shard that changes. Default: 10 s, so that a shard that is searched and written all the time spends a thousandth of
    /// its time on it.
    package var outlineInterval: Duration = .seconds(10)
    /// Time after which an outline that no answer of the shard confirmed is dropped: an hour, a quarter of the erasure's deadline at most, as half of it may
    /// pass before a shard is rewritten without what was deleted.
    package var outlineLifetime: Duration { min(.seconds(3_600), erasureDeadline / 4) }
    /// Shards of a new collection that does not say; `nil`: one per shard node.
    package var defaultShardCount: Int?

    /// Largest `limit` and largest `offset` of a search, and largest `limit` of a scroll. Default: 10,000, Qdrant's
    /// recommended bound: every shard returns offset + limit hits.
    package var maximumLimit: Int = 10_000
    /// Points or ids in one write, retrieve or delete. Default: 50,000: one large document's chunks.
    package var maximumBatchPoints: Int = 50_000
    /// Size of one point's payload as JSON, in bytes. Default: 1 MiB: a payload is read whole for every hit.
    package var maximumPayloadBytes: Int = 1 << 20
    /// Estimated size of one log entry, in bytes; a larger batch becomes several entries, one after the other, but for the
    /// points of one document. Default: 4 MiB, half of what a log entry may have in the store.
    package var maximumEntryBytes: Int = 4 << 20
    /// Estimated size of one document's points, in bytes: vectors and payloads. Default: 56 MiB, which fits a message between
    /// nodes: some 20,000 chunks of 384 dimensions, or 20 MB of text.
    package var maximumDocumentBytes: Int = 56 << 20

    package init() {}

    /// - Throws: `invalidArgument` that names the setting, its limit and its value.
    package func validate() throws(ClusterError) {
        let durations: [(String, Duration)] = [
            ("readTimeout", readTimeout), ("writeTimeout", writeTimeout), ("sealTimeout", sealTimeout), ("statusTimeout", statusTimeout),
            ("schemaTimeout", schemaTimeout), ("erasureDeadline", erasureDeadline),
        ]
        for (name, value) in durations where value <= .zero { throw ClusterError(.invalidArgument, "\(name) must be above 0, found \(value)") }
        for (name, value) in [("mergeMargin", mergeMargin), ("schemaStaleness", schemaStaleness), ("longestCall", longestCall), ("outlineInterval", outlineInterval)] where value < .zero {
            throw ClusterError(.invalidArgument, "\(name) must not be negative, found \(value)")
        }
        for (name, value) in [("mergePoints", mergePoints), ("outlineBytes", outlineBytes), ("outlinesBytes", outlinesBytes)] where value < 0 {
            throw ClusterError(.invalidArgument, "\(name) must not be negative, found \(value)")
        }
        let counts: [(String, Int)] = [
            ("schemaCacheLimit", schemaCacheLimit), ("dropsPerSweep", dropsPerSweep), ("maximumLimit", maximumLimit), ("maximumBatchPoints", maximumBatchPoints),
            ("maximumWrites", maximumWrites),
            ("maximumPayloadBytes", maximumPayloadBytes), ("maximumEntryBytes", maximumEntryBytes), ("maximumDocumentBytes", maximumDocumentBytes),
        ]
        for (name, value) in counts where value < 1 { throw ClusterError(.invalidArgument, "\(name) must be at least 1, found \(value)") }
        if let defaultShardCount, !(1...CollectionSchema.maximumShardCount).contains(defaultShardCount) {
            throw ClusterError(.invalidArgument, "defaultShardCount must be 1…\(CollectionSchema.maximumShardCount), found \(defaultShardCount)")
        }
    }
}

import Foundation

/// How a shard node keeps and searches its shards.
package struct ShardConfiguration: Sendable {
    /// Appended points after which a shard seals by itself. Default: 20,000, an exact scan of a few milliseconds.
    package var sealPoints: Int = 20_000
    /// Bytes of log after which a shard seals by itself. Default: 64 MiB, so that a restart replays within a second.
    package var sealBytes: Int = 64 << 20
    /// Log entries after which a shard seals by itself. Default: 256: who opens the shard reads each of them from the store, and after a node's
    /// death all of its shards are opened at once.
    package var sealEntries: Int = 256
    /// Points of a shard from which on it splits by itself. Default: 20 million; 0 never.
    package var splitPoints: Int = 20_000_000
    /// Live points of a segment up to which it is scanned exactly instead of by code. Default: 2,000, where both
    /// take well below a millisecond and the exact scan loses nothing. 0 always searches by code.
    package var exactScanThreshold: Int = 2_000
    /// Bytes of one log entry or bulk object. Default: 8 MiB, what every object store takes in a single put (protocol, H25).
    package var entryBytes: Int = 8 << 20
    /// Bytes of one request, which takes effect whole; above ``entryBytes`` they lie in bulk objects beside the log. Default: 64 MiB,
    /// the largest message between nodes.
    package var requestBytes: Int = 64 << 20
    /// Bytes of writes that may wait for a shard's log. Default: 64 MiB; one more is refused with `resourceExhausted`.
    package var queueBytes: Int = 64 << 20
    /// Bytes of points in memory that no segment holds yet. Default: 1 GiB; writes beyond are refused with
    /// `resourceExhausted` until a seal is done.
    package var unsealedBytes: Int = 1 << 30
    /// Log entries that no segment holds yet. Default: 4,096, sixteen times ``sealEntries``; writes beyond are refused with `resourceExhausted`
    /// until a seal is done: who opens the shard has to read all of them.
    package var unsealedEntries: Int = 4_096
    /// Pause before a store call without an outcome is repeated; doubles each time, six calls in all. Default: 20 ms.
    package var retryDelay: Duration = .milliseconds(20)
    /// Mean time between log entries of a shard that is written all the time; what comes meanwhile shares the next one. Default: 0, none. See ``CommitPace``.
    package var commitInterval: Duration = .zero
    /// Time after a write in which its owner answers `strong` reads without asking the store, and which a node that takes the shard over
    /// waits for; the same on all nodes. Default: 1 s, what a takeover may cost. 0 asks the store for each read.
    package var lease: Duration = .seconds(1)
    /// Time that a `strong` read waits for the store to say that nothing newer was committed. Default: 1 s, which leaves a coordinator
    /// time to ask elsewhere.
    package var verifyTimeout: Duration = .seconds(1)
    /// Shards kept open; beyond, the one idle for longest is closed. Default: 1,024.
    package var openShards: Int = 1_024
    /// Threads for searches, and as many of a lower priority for building segments. Default: 2; the executable sets the number of cores.
    package var searchThreads: Int = 2
    /// Searches that may wait for a thread. Default: 1,024; one more is refused with `resourceExhausted`.
    package var searchQueue: Int = 1_024
    /// Manifests kept for readers that are behind. Default: 16 (protocol, H18).
    package var manifestsKept: Int = 16
    /// Writes that a shard remembers, so that one that comes again takes effect once (protocol, H19); the same on all nodes. Default: 4,096, some 300 kB
    /// of a manifest where ids are UUIDs.
    package var rememberedWrites: Int = 4_096
    /// Longest time that a write waits for a snapshot to decide on a cut, before it calls it off.
    package var cutPatience: Duration = .seconds(3)
    /// Folder of the node's own in which it notes what it opens and seals, so that a shard that kills it is told by the next start. Default: `nil`, nobody counts.
    package var quarantineFolder: String?
    /// Seconds since 1970, which erasure marks carry: a deadline is measured with it, nothing else. Default: the system's clock.
    package var now: @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970) }

    package init() {}

    /// Room for the fields around a request and a few of its operations.
    private static let minimumEntryBytes = 2_048

    /// - Throws: words for an operator that name the field and its value.
    package func validate() throws(ShardConfigurationError) {
        let positive = [
            ("seal points", sealPoints), ("seal bytes", sealBytes), ("seal entries", sealEntries), ("unsealed bytes", unsealedBytes), ("unsealed entries", unsealedEntries), ("entry bytes", entryBytes), ("request bytes", requestBytes), ("queue bytes", queueBytes),
            ("open shards", openShards), ("search threads", searchThreads), ("search queue", searchQueue), ("manifests kept", manifestsKept), ("remembered writes", rememberedWrites),
        ]
        for (field, value) in positive where value < 1 { throw ShardConfigurationError("\(field) must be at least 1, found \(value)") }
        guard lease >= .zero else { throw ShardConfigurationError("lease must not be negative, found \(lease)") }
        guard commitInterval >= .zero else { throw ShardConfigurationError("commit interval must not be negative, found \(commitInterval)") }
        guard verifyTimeout > .zero else { throw ShardConfigurationError("verify timeout must be above 0, found \(verifyTimeout)") }
        guard splitPoints >= 0 else { throw ShardConfigurationError("split points must be at least 0, found \(splitPoints)") }
        guard exactScanThreshold >= 0 else { throw ShardConfigurationError("exact scan threshold must be at least 0, found \(exactScanThreshold)") }
        guard entryBytes <= 8 << 20 else { throw ShardConfigurationError("entry bytes must be at most \(8 << 20), found \(entryBytes)") }
        guard entryBytes >= Self.minimumEntryBytes else {
            throw ShardConfigurationError("entry bytes must be at least \(Self.minimumEntryBytes), found \(entryBytes)")
        }
        guard sealEntries <= unsealedEntries else {
            throw ShardConfigurationError("unsealed entries \(unsealedEntries) must be at least seal entries \(sealEntries)")
        }
        guard entryBytes <= queueBytes else { throw ShardConfigurationError("queue bytes \(queueBytes) must be at least entry bytes \(entryBytes)") }
    }
}

package struct ShardConfigurationError: Error, Hashable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

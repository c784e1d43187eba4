import Model
import Storage

/// One shard's objects in the store: what they mean, and in which order they are read and written.
struct LogStore: Sendable {
    let shard: ShardID
    let store: any ObjectStore
    /// Pause before an undecided call is repeated; doubles each time.
    let retryDelay: Duration
    var clock: DeadlineClock = .continuous

    // MARK: - Reading

    /// The newest manifest, if there is one.
    ///
    /// - Throws: `dataLoss` naming the object if it is damaged, `failedPrecondition` if a newer release wrote it.
    func newestManifest() async throws(ClusterError) -> Manifest? {
        // Between the listing and the reading an owner may have collected what was listed: list again.
        for _ in 0..<8 {
            let newest = try await stored { () throws(StoreError) in
                try await store.list(prefix: StoreKey.manifests(shard), after: nil, limit: 1)
            }
            guard let key = newest.first else { return nil }
            guard let bytes = try await get(key) else { continue }
            do throws(FormatError) {
                let manifest = try Manifest(decoding: bytes)
                guard StoreKey.manifestVersion(at: key) == manifest.version else { throw .malformed("it holds version \(manifest.version)") }
                return manifest
            } catch { throw ClusterError(error, in: key) }
        }
        throw ClusterError(.unavailable, "the newest manifest of shard \(shard) keeps changing")
    }

    /// Positions in the log from `first` on, ascending.
    func positions(from first: UInt64) async throws(ClusterError) -> [UInt64] {
        let after = first == 0 ? nil : StoreKey.log(shard, position: first - 1)
        let keys = try await stored { () throws(StoreError) in try await store.listAll(prefix: StoreKey.log(shard), after: after) }
        return keys.compactMap { StoreKey.number(at: $0) }
    }

    /// The same, unless it takes too long: a listing whose answer is lost is given up, so that the next one goes another way.
    func positions(from first: UInt64, within timeout: Duration) async throws(ClusterError) -> [UInt64] {
        let error = ClusterError(.unavailable, "the store did not list the log of shard \(shard) within \(timeout)")
        return try await clock.limited(until: clock.now() + timeout, else: error) { () throws(ClusterError) in try await positions(from: first) }
    }

    enum Found: Sendable {
        /// - Parameter byteCount: Of all objects that it is made of.
        case entry(LogEntry, byteCount: Int)
        case missing(key: String)
        case damaged(key: String, String)
    }

    /// The entry at a position, with the operations that its bulk objects hold.
    ///
    /// - Throws: `failedPrecondition` naming the object if a newer release wrote it: it is never skipped.
    func entry(at position: UInt64) async throws(ClusterError) -> Found {
        let found = try await bareEntry(at: position)
        guard case .entry(var entry, var byteCount) = found, case .bulk(let dimension, let request) = entry.content else { return found }
        var operations: [LoggedOperation] = []
        for record in request.objects {
            let key = StoreKey.bulk(shard, name: record.name)
            guard let bytes = try await get(key) else { return .missing(key: key) }
            do throws(FormatError) {
                let object = try BulkObject(decoding: bytes, of: record)
                guard object.dimension == dimension else { throw .malformed("it holds vectors of \(object.dimension) elements, its entry says \(dimension)") }
                operations += object.operations
            } catch {
                if case .needsNewerReader = error { throw ClusterError(error, in: key) }
                return .damaged(key: key, error.description)
            }
            byteCount += bytes.count
        }
        entry.content = .data(dimension: dimension, [LoggedRequest(request.part, operations: operations)])
        return .entry(entry, byteCount: byteCount)
    }

    /// The entry as it stands in the log.
    private func bareEntry(at position: UInt64) async throws(ClusterError) -> Found {
        let key = StoreKey.log(shard, position: position)
        guard let bytes = try await get(key) else { return .missing(key: key) }
        do throws(FormatError) {
            let entry = try LogEntry(decoding: bytes)
            guard entry.position == position else { return .damaged(key: key, "it holds position \(entry.position)") }
            return .entry(entry, byteCount: bytes.count)
        } catch {
            if case .needsNewerReader = error { throw ClusterError(error, in: key) }
            return .damaged(key: key, error.description)
        }
    }

    /// The entry as it stands in the log, or why it cannot be read, for those who read many at once.
    func bareResult(at position: UInt64) async -> Result<Found, ClusterError> {
        do throws(ClusterError) {
            let found = try await bareEntry(at: position)
            return .success(found)
        } catch { return .failure(error) }
    }

    /// Positions of claims, terminal entries and barriers, found by reading the whole log: for a shard that cannot be opened.
    func fences() async throws(ClusterError) -> [UInt64] {
        var fences: [UInt64] = []
        for position in try await positions(from: 0) {
            if case .entry(let entry, _) = try await bareEntry(at: position), entry.isFence { fences.append(position) }
        }
        return fences
    }

    // MARK: - Writing

    enum Outcome {
        case committed
        case defeated(by: LogEntry)
        /// The entry may be in the log now or later; the writer must not go on.
        case unknown(StoreError)
    }

    /// Brings an entry into the log, repeating the same bytes at the same position until that is decided (protocol, H5).
    func append(_ entry: LogEntry, bytes: [UInt8]) async -> Outcome {
        let key = StoreKey.log(shard, position: entry.position)
        // A release that did not arrive costs the next owner a wait, nothing else; who writes one is about to end.
        var attempt = if case .release = entry.content { AppendAttempt(entry, patience: 1) } else { AppendAttempt(entry) }
        var action = AppendAttempt.Action.put
        var lastError = StoreError.unavailable("no reply")
        var delay = retryDelay
        while true {
            switch action {
            case .committed: return .committed
            case .defeated(let foreign): return .defeated(by: foreign)
            case .stepDown: return .unknown(lastError)
            case .put:
                do throws(StoreError) {
                    try await store.put(key, bytes, ifAbsent: true)
                    action = attempt.putReplied(.created)
                } catch {
                    if case .alreadyExists = error {
                        action = attempt.putReplied(.exists)
                    } else {
                        lastError = error
                        action = attempt.putReplied(.undecided)
                        await pause(&delay)
                    }
                }
            case .read:
                let found = try? await bareEntry(at: entry.position)
                if case .entry(let foreign, _) = found { action = attempt.readReplied(foreign) } else { action = attempt.readReplied(nil) }
            }
        }
    }

    /// Adds a version to the chain of manifests.
    ///
    /// - Returns: False if another writer has this version: then the newest must be read again (protocol, H1).
    func add(_ manifest: Manifest) async throws(ClusterError) -> Bool {
        try await create(StoreKey.manifest(shard, version: manifest.version), manifest.encoded())
    }

    /// Puts an object of a large request, before the entry that names it.
    func put(_ bulk: BulkRecord, bytes: [UInt8]) async throws(ClusterError) {
        guard try await create(StoreKey.bulk(shard, name: bulk.name), bytes) else {
            throw ClusterError(.internal, "\(StoreKey.bulk(shard, name: bulk.name)) exists with other bytes")
        }
    }

    func put(_ mark: ErasureMark) async throws(ClusterError) {
        guard try await create(mark.key, []) else { throw ClusterError(.internal, "\(mark.key) exists with content") }
    }

    /// Creates an object, repeating a put without an outcome.
    ///
    /// - Returns: False if it exists with other bytes.
    private func create(_ key: String, _ bytes: [UInt8]) async throws(ClusterError) -> Bool {
        var delay = retryDelay
        var lastError = StoreError.unavailable("no reply")
        for _ in 0..<6 {
            do throws(StoreError) {
                try await store.put(key, bytes, ifAbsent: true)
                return true
            } catch {
                lastError = error
                // A repeated put meets the first one, whose reply was lost.
                if case .alreadyExists = error, let found = try await get(key) { return found == bytes }
            }
            await pause(&delay)
        }
        throw ClusterError(lastError)
    }

    // MARK: - Cuts

    func isDecided(_ cut: Cut) async throws(ClusterError) -> Bool { try await get(StoreKey.cut(cut, of: shard.tenant)) != nil }

    /// Decides on a cut, unless somebody has.
    ///
    /// - Returns: What was decided.
    func decide(_ cut: Cut, _ decision: Cut.Decision) async throws(ClusterError) -> Cut.Decision {
        let key = StoreKey.cut(cut, of: shard.tenant)
        if try await create(key, decision.encoded()) { return decision }
        guard let bytes = try await get(key) else { throw ClusterError(.internal, "\(key) was deleted") }
        do throws(FormatError) { return try Cut.Decision(decoding: bytes) } catch { throw ClusterError(error, in: key) }
    }

    // MARK: - Collecting what is superseded

    /// Deletes what `manifest` makes superfluous: log entries up to its position but for fences and the log's last (protocol,
    /// H2, H3), bulk objects of positions up to there, named by an entry or not, as no reader applies an entry there any more, segments that it does not name and that no other writer may still be making (H16), old manifests (H18).
    ///
    /// - Parameters:
    ///   - manifest: The newest one, known to be so.
    ///   - last: A position up to which the log is known to reach.
    func collect(after manifest: Manifest, last: UInt64, writer: LogWriterID, epoch: UInt64, manifestsKept: Int) async throws(ClusterError) {
        let fences = Set(manifest.fences)
        let entries = try await positions(from: 0).filter { $0 <= manifest.position && $0 < last && !fences.contains($0) }
        try await deleteSegments(of: writer, epoch: epoch, but: manifest.segments)
        let manifests = try await listed(StoreKey.manifests(shard)).filter { key in
            StoreKey.manifestVersion(at: key).map { $0 + UInt64(manifestsKept) <= manifest.version } ?? false
        }
        let bulk = try await listed(StoreKey.bulk(shard)).filter { key in
            BulkRecord.position(of: String(key.dropFirst(StoreKey.bulk(shard).count))).map { $0 <= manifest.position } ?? false
        }
        try await delete(entries.map { StoreKey.log(shard, position: $0) } + bulk + manifests)
    }

    /// Deletes segments of earlier epochs and this writer's, which no other writer may still be making (protocol, H16).
    func deleteSegments(of writer: LogWriterID, epoch: UInt64, but named: [SegmentRecord]) async throws(ClusterError) {
        let named = Set(named.map { StoreKey.segment(shard, name: $0.name) })
        let segments = try await listed(StoreKey.segments(shard)).filter { key in
            guard !named.contains(key), let origin = SegmentRecord.origin(of: String(key.dropFirst(StoreKey.segments(shard).count))) else { return false }
            return origin.epoch < epoch || (origin.epoch == epoch && origin.incarnation == writer.incarnation)
        }
        try await delete(segments)
    }

    /// Deletes everything but the fences: without them, a writer that slept through the end would find its next position
    /// free and write to a shard that is gone (protocol, H2, H21). They hold nothing of a user's.
    func erase(keeping fences: [UInt64]) async throws(ClusterError) {
        let kept = Set(fences.map { StoreKey.log(shard, position: $0) })
        try await delete(listed(StoreKey.shard(shard)).filter { !kept.contains($0) })
    }

    // MARK: - Store calls

    private func listed(_ prefix: String) async throws(ClusterError) -> [String] {
        try await stored { () throws(StoreError) in try await store.listAll(prefix: prefix) }
    }

    private func delete(_ keys: [String]) async throws(ClusterError) {
        try await stored { () throws(StoreError) in try await store.delete(keys) }
    }

    /// `nil` if there is no such object.
    func get(_ key: String) async throws(ClusterError) -> [UInt8]? {
        do throws(StoreError) { return try await store.get(key) } catch {
            if case .notFound = error { return nil }
            throw ClusterError(error)
        }
    }

    private func pause(_ delay: inout Duration) async {
        if delay > .zero { try? await clock.sleep(clock.now() + delay) }
        delay *= 2
    }
}

/// Runs store calls whose errors need no distinction.
func stored<Value>(_ body: () async throws(StoreError) -> Value) async throws(ClusterError) -> Value {
    do throws(StoreError) { return try await body() } catch { throw ClusterError(error) }
}

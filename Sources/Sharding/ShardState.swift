import Model
import Storage
import VectorMath

/// What a shard holds: a pure function of the manifest it was opened from and the entries applied since (protocol,
/// invariant 3). No I/O, no clock, no tasks.
///
/// Only committed entries get in (H8). Of all rows with one id at most one is live: the one with the highest position (H9).
struct ShardState {
    private let schema: CollectionSchema
    private(set) var cursor: LogCursor
    private(set) var window: RequestWindow
    private(set) var manifestVersion: UInt64
    /// Position that the newest manifest covers.
    private(set) var coveredPosition: UInt64
    /// Epoch of that manifest's writer.
    private(set) var coveredEpoch: UInt64
    /// Position before the log's first possible entry: where the shard was split that this one is a half of, or those were merged that it is made of, else 0.
    let basePosition: UInt64
    /// Whether its segments are those of two shards that were merged into it: until it is sealed.
    private(set) var isUnited = false
    /// Oldest first.
    private(set) var segments: [Segment]
    /// Points since, oldest first: the last tail grows, the others are being sealed.
    private var tails: [Tail]
    /// Log entries after ``coveredPosition`` and their bytes.
    private(set) var unsealedEntries = 0
    private(set) var unsealedBytes = 0
    /// Objects that could not be read, each with the reason.
    private(set) var damagedEntries: [String] = []
    /// Ids written since the running seal took its input.
    private var touched: Set<PointID>?
    /// Cuts whose barriers came since the manifest and of which it is not known here that they are decided.
    private(set) var openCuts: [Cut] = []
    /// Whether the log's last entry holds points that it supersedes itself: as long as it is the last, it is not truncated.
    private(set) var lastEntryHoldsDead = false

    struct Segment: Sendable {
        let record: SegmentRecord
        /// `nil` if the file cannot be read.
        let content: OpenSegment?
        /// Why it cannot.
        let damage: String?
        /// Whether the object is not there: so it is with one that a newer manifest no longer names.
        let isMissing: Bool
        fileprivate(set) var live: RowBitmap
        var liveCount: Int { live.count }

        init(record: SegmentRecord, content: OpenSegment?, damage: String? = nil, isMissing: Bool = false) {
            self.record = record
            self.content = content
            self.damage = damage
            self.isMissing = isMissing
            live = RowBitmap(rowCount: record.rowCount, filled: true)
            for row in record.deletedRows { live.remove(row) }
        }

        var part: Part? {
            content.map { Part(rows: $0.rows, count: record.rowCount, live: live) }
        }

        /// As the next manifest names it.
        var updatedRecord: SegmentRecord {
            var record = record
            var dead = RowBitmap(rowCount: record.rowCount, filled: true)
            dead.subtract(live)
            record.deletedRows = []
            dead.visit {
                record.deletedRows.append($0)
                return true
            }
            return record
        }
    }

    /// - Parameter segments: Those of `manifest`, opened or damaged.
    init(schema: CollectionSchema, writer: LogWriterID, manifest: Manifest?, segments: [Segment], remembers limit: Int) {
        self.schema = schema
        cursor = manifest.map { LogCursor(writer: writer, after: $0) } ?? LogCursor(writer: writer)
        window = RequestWindow(limit: limit, manifest)
        manifestVersion = manifest?.version ?? 0
        coveredPosition = manifest?.position ?? 0
        coveredEpoch = manifest?.epoch ?? 0
        basePosition = manifest?.version == 0 ? manifest!.position : 0
        self.segments = segments
        tails = [Tail(schema: schema)]
    }

    /// A shard that others took the place of.
    init(schema: CollectionSchema, endedAt cursor: LogCursor) {
        self.init(schema: schema, writer: cursor.writer, manifest: nil, segments: [], remembers: 0)
        self.cursor = cursor
    }

    /// A shard that two were merged into: it begins with what they held at their ends.
    init(schema: CollectionSchema, writer: LogWriterID, uniting lower: ShardState, _ lowerRange: HashRange, _ upper: ShardState, _ upperRange: HashRange) {
        self.schema = schema
        cursor = LogCursor(writer: writer, afterMerging: lower.cursor, upper.cursor)
        window = RequestWindow(uniting: lower.window, lowerRange, upper.window, upperRange)
        manifestVersion = 0
        (coveredPosition, coveredEpoch, basePosition) = (cursor.position, cursor.epoch, cursor.position)
        segments = lower.segments + upper.segments
        tails = lower.tails + upper.tails + [Tail(schema: schema)]
        unsealedEntries = lower.unsealedEntries + upper.unsealedEntries
        unsealedBytes = lower.unsealedBytes + upper.unsealedBytes
        damagedEntries = lower.damagedEntries + upper.damagedEntries
        isUnited = true
    }

    // MARK: - Applying the log

    enum ApplyError: Error {
        case log(LogCursor.Fault)
        case wrongDimension(expected: Int, found: Int)
    }

    /// Applies the next entry, which has its operations with it; a void one changes nothing.
    ///
    /// - Returns: How many points each of its requests superseded.
    mutating func apply(_ entry: LogEntry, byteCount: Int) throws(ApplyError) -> [Int] {
        if case .bulk(_, let request) = entry.content { preconditionFailure("entry \(entry.position) without the operations of \(request.objects.count) bulk objects") }
        if case .data(let dimension, _) = entry.content, dimension != schema.dimension {
            throw .wrongDimension(expected: schema.dimension, found: dimension)
        }
        let verdict: LogCursor.Verdict
        do throws(LogCursor.Fault) { verdict = try cursor.admit(entry) } catch { throw .log(error) }
        unsealedEntries += 1
        unsealedBytes += byteCount
        lastEntryHoldsDead = verdict == .void
        if verdict == .valid, case .barrier(let cut) = entry.content { openCuts.append(cut) }
        guard verdict == .valid, case .data(_, let requests) = entry.content else { return [] }
        lastEntryHoldsDead = requests.supersedeEachOther
        return requests.map { request in
            var superseded = 0
            for operation in request.operations {
                switch operation {
                case .upsert(let point):
                    if remove(point.id) { superseded += 1 }
                    tails[tails.count - 1].append(point, version: entry.position)
                case .delete(let ids):
                    for id in ids where remove(id) { superseded += 1 }
                }
            }
            return window.remember(request.part, position: entry.position, superseded: superseded)
        }
    }

    /// Whether requests, as one entry, would supersede something, in the shard or in themselves.
    func isSuperseded(by requests: [LoggedRequest]) -> Bool {
        requests.supersedeEachOther || requests.contains { request in
            request.operations.contains { operation in
                switch operation {
                case .upsert(let point): find(point.id) != nil
                case .delete(let ids): ids.contains { find($0) != nil }
                }
            }
        }
    }

    /// Steps over an entry that cannot be read. The shard is read-only from here on.
    mutating func skip(_ key: String, reason: String) {
        cursor.skipDamaged()
        unsealedEntries += 1
        damagedEntries.append("\(key): \(reason)")
    }

    /// Marks the live row of `id` as superseded; false if there is none.
    private mutating func remove(_ id: PointID) -> Bool {
        touched?.insert(id)
        for index in tails.indices.reversed() where tails[index].remove(id) { return true }
        for index in segments.indices.reversed() {
            guard let row = segments[index].content?.rows.row(of: id), segments[index].live.contains(row) else { continue }
            segments[index].live.remove(row)
            return true
        }
        return false
    }

    // MARK: - Reading

    var isDamaged: Bool { !damagedEntries.isEmpty || segments.contains { $0.content == nil } }
    /// Objects that could not be read, each with the reason.
    var damage: [String] { segments.compactMap(\.damage) + damagedEntries }

    /// Live points, readable or not.
    var pointCount: Int { segments.reduce(tailCount) { $0 + $1.liveCount } }
    /// Live points that no segment holds.
    var tailCount: Int { tails.reduce(0) { $0 + $1.liveCount } }
    /// Rows that no segment holds, live or not.
    var tailRows: Int { tails.reduce(0) { $0 + $1.count } }
    var hasDeletedRows: Bool { segments.contains { $0.liveCount < $0.record.rowCount } }
    /// Live points of damaged segments. A damaged log entry counts as one point: how many it held is not known.
    var unreadableCount: Int { segments.reduce(damagedEntries.count) { $0 + ($1.content == nil ? $1.liveCount : 0) } }

    /// The live row of `id`.
    func find(_ id: PointID) -> (rows: any Rows, row: Int)? {
        for tail in tails.reversed() {
            if let found = tail.find(id) { return found }
        }
        for segment in segments.reversed() {
            if let rows = segment.content?.rows, let row = rows.row(of: id), segment.live.contains(row) { return (rows, row) }
        }
        return nil
    }

    /// Everything as of now, for reading without a lock.
    var snapshot: ShardSnapshot {
        ShardSnapshot(
            position: cursor.position, manifestVersion: manifestVersion, segments: segments, tail: tails.flatMap(\.parts),
            pointCount: pointCount, unreadableCount: unreadableCount)
    }

    // MARK: - Sealing

    /// What one seal works on, fixed at one position.
    struct SealInput: Sendable {
        /// Everything up to here is in the new manifest, nothing after it (protocol, H8).
        let position: UInt64
        let epoch: UInt64
        let fences: [UInt64]
        let window: RequestWindow
        let previousVersion: UInt64
        /// Segments that stay, as they are at ``position``.
        let kept: [SegmentRecord]
        /// What the new segment is made of.
        let merged: [Part]
        /// Position that the new segment begins after.
        let from: UInt64
        fileprivate let tailCount: Int

        var liveCount: Int { merged.reduce(0) { $0 + $1.liveCount } }
    }

    /// Freezes what is in memory and says what to build; writes go on into a new tail. `nil` if there is nothing to do.
    ///
    /// - Parameter everything: Merge all segments into one, without deleted rows. If they are so already but an earlier owner's manifest says it,
    ///   a manifest of the same is made: only after one's own may be deleted what the earlier owner left (protocol, H16). So it is with a shard
    ///   that two were merged into: its first seal is of everything, as their segments are in their places.
    mutating func beginSeal(everything: Bool) -> SealInput? {
        let everything = everything || isUnited
        precondition(touched == nil, "a seal is running")
        precondition(cursor.isOwner, "a manifest's writer is the holder of its epoch: readers go by that")
        precondition(openCuts.isEmpty, "who opens the shard from the manifest would not know of a cut that is not decided")
        precondition(!isDamaged, "a damaged shard is not sealed: its log holds the deletes of rows that cannot be read")
        let plan = SealPlan.merged(
            segments: segments.map { SealPlan.Segment(rows: $0.record.rowCount, live: $0.liveCount) }, tail: tailCount,
            tailIsEmpty: everything ? tailRows == 0 : cursor.position == coveredPosition, everything: everything)
        let isAnothers = everything && manifestVersion > 0 && coveredEpoch < cursor.epoch
        guard let merged = plan ?? (isUnited ? segments.count : isAnothers ? 0 : nil) else { return nil }
        let kept = segments.dropLast(merged)
        let newest = segments.suffix(merged)
        touched = []
        defer { tails.append(Tail(schema: schema)) }
        return SealInput(
            position: cursor.position, epoch: cursor.epoch, fences: cursor.fences, window: window,
            previousVersion: manifestVersion, kept: kept.map(\.updatedRecord), merged: newest.compactMap(\.part) + tails.flatMap(\.parts),
            from: kept.last?.record.to ?? 0, tailCount: tails.count)
    }

    /// Takes the manifest over that was made of `input`: the new segment serves from now on.
    ///
    /// What was written since `input` was taken is applied to the new rows by id (protocol, H9).
    mutating func completeSeal(_ input: SealInput, manifest: Manifest, segment: Segment?) {
        precondition(manifest.position == input.position && manifest.version == input.previousVersion + 1, "manifest \(manifest.version) of another seal")
        segments.removeLast(segments.count - input.kept.count)
        if var segment {
            for id in touched ?? [] {
                guard let row = segment.content?.rows.row(of: id) else { continue }
                segment.live.remove(row)
            }
            segments.append(segment)
        }
        tails.removeFirst(input.tailCount)
        touched = nil
        unsealedEntries = Int(cursor.position - manifest.position)
        unsealedBytes = tails.reduce(0) { $0 + $1.byteCount }
        manifestVersion = manifest.version
        coveredPosition = manifest.position
        coveredEpoch = manifest.epoch
        isUnited = false
    }

    // MARK: - Cuts

    mutating func close(_ cut: Cut) { openCuts.removeAll { $0 == cut } }

    // MARK: - Merging

    /// The half that was promised to has ended otherwise.
    mutating func forgetPromise() { cursor.forgetPromise() }

    // MARK: - Splitting

    /// From now on ids that are written are noted, for ``deadRows(of:)``.
    mutating func beginSplit() {
        precondition(touched == nil, "a seal is running")
        touched = []
    }

    /// Whether something was deleted or overwritten since the split began.
    var isTouched: Bool { touched?.isEmpty == false }

    /// Rows of a segment made since the split began that are not live any more, ascending.
    func deadRows(of segment: Segment) -> [Int] {
        guard let rows = segment.content?.rows else { return [] }
        return (touched ?? []).compactMap { id in
            guard let row = rows.row(of: id) else { return nil }
            let live = find(id).map { $0.rows.version($0.row) }
            return live == rows.version(row) ? nil : row
        }.sorted()
    }

    /// Forgets a seal that failed: what it froze stays searchable and is sealed by the next one.
    mutating func abandonSeal() { touched = nil }
}

extension [LoggedRequest] {
    /// Whether a point among them is overwritten or deleted by a later one.
    fileprivate var supersedeEachOther: Bool {
        var upserted: Set<PointID> = []
        for operation in flatMap(\.operations) {
            switch operation {
            case .upsert(let point): if !upserted.insert(point.id).inserted { return true }
            case .delete(let ids): if ids.contains(where: upserted.contains) { return true }
            }
        }
        return false
    }
}

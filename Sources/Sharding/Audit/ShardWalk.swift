import Model
import Storage
import VectorMath

/// The audit of one shard.
///
/// A pass takes the newest manifest and looks at everything that it and the log after it need. If another manifest is the newest at the end,
/// an owner has collected meanwhile: the pass counts for nothing, and the next one reads only what is new, as nothing changes under its key.
struct ShardWalk {
    struct Report {
        var segments = 0
        var segmentBytes = 0
        var sealedPoints = 0
        var logEntries = 0
        /// How it ended, if a terminal entry was found.
        var end: LogCursor.End?
        var findings: [StoreFinding] = []
    }

    /// What was read of an object, once.
    private enum Read<Value> {
        case good(Value)
        case bad(String)
    }

    private let id: ShardID
    private let schema: CollectionSchema
    private let range: HashRange
    /// What a shard begins with that came of a split or a merge; of the latter only the position.
    private let beginning: Manifest?
    private let log: LogStore
    private let threads: WorkerThreads
    private var entries: [UInt64: Read<LogEntry>] = [:]
    private var segments: [SegmentRecord: Read<Void>] = [:]
    private var bulk: [BulkRecord: Read<Void>] = [:]
    /// Names of the segments that each older manifest has.
    private var manifests: [UInt64: Read<Set<String>>] = [:]

    /// Passes until a shard that is sealed again and again is left for another audit.
    private static let maximumPasses = 64

    init(id: ShardID, schema: CollectionSchema, beginning: Manifest?, audit: StoreAudit) {
        self.id = id
        self.schema = schema
        self.beginning = beginning
        range = ShardLayout.range(of: id.index, firstCount: schema.shardCount) ?? .all
        log = LogStore(shard: id, store: audit.store, retryDelay: .milliseconds(20))
        threads = audit.threads
    }

    mutating func run() async throws(ClusterError) -> Report {
        for _ in 0..<Self.maximumPasses {
            let before = try await newestKey()
            var report = Report()
            let isWhole = try await pass(before, &report)
            guard isWhole, try await newestKey() == before else { continue }
            return report
        }
        var report = Report()
        report.findings.append(StoreFinding(.pending, StoreKey.shard(id), "is sealed faster than it can be read: not verified"))
        return report
    }

    private func newestKey() async throws(ClusterError) -> String? {
        try await stored { () throws(StoreError) in try await log.store.list(prefix: StoreKey.manifests(id), after: nil, limit: 1).first }
    }

    /// - Returns: False if an object is gone that the newest manifest does not need any more.
    private mutating func pass(_ newest: String?, _ report: inout Report) async throws(ClusterError) -> Bool {
        var manifest = beginning
        if let newest {
            guard let bytes = try await log.get(newest) else { return false }
            do throws(FormatError) {
                manifest = try Manifest(decoding: bytes)
                guard StoreKey.manifestVersion(at: newest) == manifest!.version else { throw .malformed("it holds version \(manifest!.version)") }
            } catch {
                // What it names is not known, so nothing else can be judged.
                report.findings.append(StoreFinding(.damaged, newest, error.description))
                return true
            }
        }
        let cursor = try await checkLog(after: manifest, &report)
        try await checkBulk(after: manifest, last: cursor.position, &report)
        if let manifest {
            try await checkSegments(manifest, &report)
            try await checkManifests(manifest, &report)
        }
        try await checkSpareSegments(manifest, &report)
        return true
    }

    // MARK: - The log

    private mutating func checkLog(after manifest: Manifest?, _ report: inout Report) async throws(ClusterError) -> LogCursor {
        let covered = manifest?.position ?? 0
        let fences = manifest?.fences ?? []
        let positions = try await log.positions(from: 0)
        let present = Set(positions)
        let last = max(positions.last ?? 0, covered)
        let needed = fences.filter { $0 <= covered } + (covered < last ? Array(covered + 1...last) : [])
        try await read(needed + (positions.last.map { [$0] } ?? []))
        for position in positions where position <= covered && position != last && !fences.contains(position) {
            report.findings.append(StoreFinding(.pending, key(position), "superseded: goes with the next seal"))
        }
        if covered > 0, positions.isEmpty, manifest?.version != 0 { report.findings.append(StoreFinding(.missing, key(covered), "the last entry of a log is never deleted")) }
        var cursor = manifest.map { LogCursor(writer: Self.nobody, after: $0) } ?? LogCursor(writer: Self.nobody)
        for position in needed {
            switch entries[position] {
            case .good(let entry):
                if position <= covered {
                    if !entry.isFence { report.findings.append(StoreFinding(.damaged, key(position), "the manifest calls it a fence, and it is none")) }
                    continue
                }
                report.logEntries += 1
                if case .data(let dimension, _) = entry.content, dimension != schema.dimension {
                    report.findings.append(StoreFinding(.damaged, key(position), "holds vectors of \(dimension) dimensions, the collection has \(schema.dimension)"))
                }
                do throws(LogCursor.Fault) { _ = try cursor.admit(entry) } catch {
                    report.findings.append(StoreFinding(.damaged, key(position), "\(error)"))
                    cursor.skipDamaged()
                }
            case .bad(let reason):
                report.findings.append(StoreFinding(.damaged, key(position), reason))
                if position > covered { cursor.skipDamaged() }
            case nil:
                let why = position <= covered ? "a claim that the manifest names is never deleted" : "the log goes on after it"
                report.findings.append(StoreFinding(.missing, key(position), present.contains(position) ? "listed, and not there" : why))
                if position > covered { cursor.skipDamaged() }
            }
        }
        if let anchor = positions.last, anchor <= covered, !fences.contains(anchor), case .bad(let reason) = entries[anchor] {
            report.findings.append(StoreFinding(.damaged, key(anchor), reason))
        }
        report.end = cursor.end
        return cursor
    }

    /// Brings entries into ``entries``; those that are not there stay away. Not what a listing says counts, but the reading.
    private mutating func read(_ positions: [UInt64]) async throws(ClusterError) {
        let log = log
        for start in stride(from: 0, to: positions.count, by: Self.readAhead) {
            let batch = Set(positions[start..<min(start + Self.readAhead, positions.count)]).filter { entries[$0] == nil }
            let found = await withTaskGroup(of: (UInt64, Result<LogStore.Found, ClusterError>).self) { group in
                for position in batch { group.addTask { (position, await log.bareResult(at: position)) } }
                return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            for (position, result) in found {
                switch result {
                case .success(.entry(var entry, _)):
                    // Its operations were decoded, which is all that is asked of them.
                    if case .data(let dimension, _) = entry.content { entry.content = .data(dimension: dimension, []) }
                    entries[position] = .good(entry)
                case .success(.damaged(_, let reason)): entries[position] = .bad(reason)
                case .success(.missing): break
                case .failure(let error):
                    guard error.code == .failedPrecondition else { throw error }
                    entries[position] = .bad(error.message)
                }
            }
        }
    }

    // MARK: - Bulk objects

    private mutating func checkBulk(after manifest: Manifest?, last: UInt64, _ report: inout Report) async throws(ClusterError) {
        let covered = manifest?.position ?? 0
        var named: Set<String> = []
        for (position, read) in entries.sorted(by: { $0.key < $1.key }) where position > covered {
            guard case .good(let entry) = read, case .bulk(_, let request) = entry.content else { continue }
            for record in request.objects {
                named.insert(record.name)
                let key = StoreKey.bulk(id, name: record.name)
                if bulk[record] == nil {
                    guard let bytes = try await log.get(key) else {
                        report.findings.append(StoreFinding(.missing, key, "the log entry at position \(position) names it"))
                        continue
                    }
                    do throws(FormatError) {
                        _ = try BulkObject(decoding: bytes, of: record)
                        bulk[record] = .good(())
                    } catch { bulk[record] = .bad(error.description) }
                }
                if case .bad(let reason) = bulk[record] { report.findings.append(StoreFinding(.damaged, key, reason)) }
            }
        }
        for key in try await listed(StoreKey.bulk(id)) {
            let name = String(key.dropFirst(StoreKey.bulk(id).count))
            guard !named.contains(name) else { continue }
            guard let position = BulkRecord.position(of: name) else {
                report.findings.append(StoreFinding(.orphan, key, "nothing that Covey puts there"))
                continue
            }
            if position <= covered {
                report.findings.append(StoreFinding(.pending, key, "superseded: goes with the next seal"))
            } else if position <= last, entries[position] != nil {
                report.findings.append(StoreFinding(.orphan, key, "the log entry at position \(position) does not name it: goes with the next seal"))
            } else {
                report.findings.append(StoreFinding(.pending, key, "its log entry is not written yet, or never was"))
            }
        }
    }

    // MARK: - Segments and manifests

    private mutating func checkSegments(_ manifest: Manifest, _ report: inout Report) async throws(ClusterError) {
        let manifestKey = StoreKey.manifest(id, version: manifest.version)
        var end: UInt64 = 0
        for record in manifest.segments {
            let key = StoreKey.segment(id, name: record.name)
            if record.from < end || record.to <= record.from || record.to > manifest.position {
                report.findings.append(StoreFinding(.damaged, manifestKey, "segment \(record.name) covers (\(record.from), \(record.to)] after \(end) of \(manifest.position)"))
            }
            end = record.to
            report.segments += 1
            report.segmentBytes += record.byteCount
            report.sealedPoints += record.rowCount - record.deletedRows.count
            // What is deleted since does not change the file.
            var identity = record
            identity.deletedRows = []
            if segments[identity] == nil { segments[identity] = try await verify(identity, key) }
            switch segments[identity] {
            case .good: break
            case .bad(let reason): report.findings.append(StoreFinding(.damaged, key, reason))
            case nil: report.findings.append(StoreFinding(.missing, key, "\(manifestKey) names it"))
            }
        }
    }

    /// `nil` if there is no such object.
    private func verify(_ record: SegmentRecord, _ key: String) async throws(ClusterError) -> Read<Void>? {
        let file: LocalFile
        do throws(StoreError) { file = try await log.store.localFile(key) } catch {
            if case .notFound = error { return nil }
            throw ClusterError(error)
        }
        let (schema, range) = (schema, range)
        let damage: String?
        do throws(WorkerThreads.QueueFull) {
            damage = try await threads.run { () -> String? in
                do throws(SegmentDamage) {
                    let rows = try OpenSegment(file: file, record: record, schema: schema).rows
                    for row in 0..<rows.count {
                        let (version, id) = (rows.version(row), rows.id(row))
                        guard version > record.from, version <= record.to else {
                            return "row \(row) is of position \(version), the segment covers (\(record.from), \(record.to)]"
                        }
                        guard range.contains(id.hash) else { return "row \(row) has id \(id), which belongs to another shard" }
                    }
                    return nil
                } catch { return error.description }
            }
        } catch { throw ClusterError(.resourceExhausted, "\(error)") }
        return damage.map { .bad($0) } ?? .good(())
    }

    /// The manifests kept beside the newest: they hold the versions that a writer which slept must not take (protocol, H18). What they name
    /// may be gone.
    private mutating func checkManifests(_ newest: Manifest, _ report: inout Report) async throws(ClusterError) {
        for key in try await listed(StoreKey.manifests(id)) {
            guard let version = StoreKey.manifestVersion(at: key) else {
                report.findings.append(StoreFinding(.orphan, key, "nothing that Covey puts there"))
                continue
            }
            guard version < newest.version else { continue }
            if manifests[version] == nil {
                guard let bytes = try await log.get(key) else { continue }
                do throws(FormatError) {
                    let manifest = try Manifest(decoding: bytes)
                    guard manifest.version == version else { throw .malformed("it holds version \(manifest.version)") }
                    manifests[version] = .good(Set(manifest.segments.map(\.name)))
                } catch { manifests[version] = .bad(error.description) }
            }
            if case .bad(let reason) = manifests[version] { report.findings.append(StoreFinding(.damaged, key, reason)) }
        }
    }

    /// Segments that the newest manifest does not name. The owner that wrote it may be building one, and so may a later one; what an older manifest
    /// names is being deleted. What else earlier owners left behind nobody will name (protocol, H16).
    private func checkSpareSegments(_ manifest: Manifest?, _ report: inout Report) async throws(ClusterError) {
        let named = Set((manifest?.segments ?? []).map(\.name))
        let superseded = manifests.values.reduce(into: Set<String>()) { if case .good(let names) = $1 { $0.formUnion(names) } }
        for key in try await listed(StoreKey.segments(id)) {
            let name = String(key.dropFirst(StoreKey.segments(id).count))
            guard !named.contains(name) else { continue }
            let origin = SegmentRecord.origin(of: name)
            let mayBeNamed = origin.map { origin in
                manifest.map { origin.epoch > $0.epoch || (origin.epoch == $0.epoch && origin.incarnation == $0.writer.incarnation) } ?? true
            }
            report.findings.append(
                mayBeNamed ?? false || superseded.contains(name)
                    ? StoreFinding(.pending, key, "in the making, or superseded: goes with the next seal")
                    : StoreFinding(.orphan, key, "no manifest names it: goes with the next seal"))
        }
    }

    private func listed(_ prefix: String) async throws(ClusterError) -> [String] {
        try await stored { () throws(StoreError) in try await log.store.listAll(prefix: prefix) }
    }

    private func key(_ position: UInt64) -> String { StoreKey.log(id, position: position) }

    /// Entries read at once. Reason: as when a shard is opened.
    private static let readAhead = 16
    private static let nobody = LogWriterID(node: NodeID("verify"), incarnation: 0)
}

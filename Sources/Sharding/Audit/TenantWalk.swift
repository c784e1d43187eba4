import Model
import Storage

/// The audit of what lies below one tenant's prefix.
struct TenantWalk {
    private let tenant: TenantID
    private let store: any ObjectStore
    private let audit: StoreAudit
    private var report: TenantAudit
    private var unknown: [String] = []
    private var cuts: [String] = []
    private var recordKeys: [String] = []
    private var incarnations: Set<Incarnation> = []
    /// Shards that have objects, by life of a collection.
    private var shards: [Incarnation: Set<Int>] = [:]
    private var files: [String: Set<String>] = [:]
    private var snapshots: [String: Set<String>] = [:]
    private var records: [Incarnation: (name: String, record: SchemaRegistry.Record)] = [:]
    /// Whether a record of a name cannot be read: what it stood for is no orphan.
    private var hasUnreadableName = false

    init(tenant: TenantID, keys: [String], audit: StoreAudit) {
        self.tenant = tenant
        self.store = audit.store
        self.audit = audit
        report = TenantAudit(tenant: tenant)
        for key in keys {
            switch KeyPlace(key, of: tenant) {
            case .name: recordKeys.append(key)
            case .schema(let incarnation): incarnations.insert(incarnation)
            case .shard(let incarnation, let index, _):
                incarnations.insert(incarnation)
                shards[incarnation, default: []].insert(index)
            case .file(let id, let part): files[id, default: []].insert(part)
            case .snapshot(let id, let part): snapshots[id, default: []].insert(part)
            case .cut: cuts.append(key)
            case nil: unknown.append(key)
            }
        }
    }

    mutating func run() async throws(ClusterError) -> TenantAudit {
        for key in unknown { report.findings.append(StoreFinding(.orphan, key, "nothing that Covey puts there")) }
        for key in cuts {
            guard let bytes = try await get(key) else { continue }
            do throws(FormatError) { _ = try Cut.Decision(decoding: bytes) } catch { report.findings.append(StoreFinding(.damaged, key, error.description)) }
        }
        try await readRecords(recordKeys)
        for incarnation in incarnations.union(records.keys).sorted(by: { $0.rawValue < $1.rawValue }) {
            if let collection = try await check(incarnation) { report.collections.append(collection) }
        }
        try await checkFiles()
        for (id, parts) in snapshots.sorted(by: { $0.key < $1.key }) { try await check(snapshot: id, parts) }
        return report
    }

    // MARK: - Names

    /// Of the lives of a name only the newest record's can be live.
    private mutating func readRecords(_ keys: [String]) async throws(ClusterError) {
        for key in keys.sorted() {
            guard case .name(let name, _) = KeyPlace(key, of: tenant), let bytes = try await get(key) else { continue }
            do throws(ClusterError) {
                let record = try SchemaRegistry.record(at: key, bytes)
                records = records.mapValues { known in
                    guard known.name == name else { return known }
                    var older = known
                    older.record.isDropped = true
                    return older
                }
                records[record.schema.incarnation] = (name, record)
            } catch {
                report.findings.append(StoreFinding(.damaged, key, error.message))
                hasUnreadableName = true
            }
        }
    }

    /// Whether the name still, or meanwhile, stands for this life.
    private func isLive(_ incarnation: Incarnation, named name: String) async throws(ClusterError) -> Bool {
        guard let name = try? CollectionName(name) else { return false }
        let newest: SchemaRegistry.Record?
        do throws(ClusterError) { newest = try await SchemaRegistry(store: store).newest(name, tenant: tenant) } catch {
            // Reported already; its shards are checked as if it were there.
            if error.code == .dataLoss || error.code == .failedPrecondition { return true }
            throw error
        }
        return newest.map { !$0.isDropped && $0.schema.incarnation == incarnation } ?? false
    }

    // MARK: - Collections

    private mutating func check(_ incarnation: Incarnation) async throws(ClusterError) -> CollectionAudit? {
        let key = StoreKey.schema(incarnation, of: tenant)
        var collection = CollectionAudit(name: records[incarnation]?.name, incarnation: incarnation, standing: .unnamed)
        var schema: CollectionSchema?
        if let bytes = try await get(key) {
            do throws(FormatError) { schema = try CollectionSchema(stored: bytes) } catch {
                collection.findings.append(StoreFinding(.damaged, key, error.description))
            }
        }
        if let (name, record) = records[incarnation] {
            collection.standing = .dropped
            if !record.isDropped, try await isLive(incarnation, named: name) { collection.standing = .live }
            if collection.standing == .live, let schema, schema != record.schema {
                collection.findings.append(StoreFinding(.damaged, key, "is another schema than the record of \"\(name)\" has"))
            }
            if collection.standing == .live, schema == nil, collection.findings.isEmpty {
                collection.findings.append(StoreFinding(.missing, key, "\"\(name)\" is a collection with this schema"))
            }
        } else if schema == nil, collection.findings.isEmpty, !hasUnreadableName {
            return try await leftovers(&collection, .orphan, "no name and no schema stand for it: left of a restore, a creation or a drop")
        }
        if collection.standing == .dropped {
            let isErasing = schema != nil
            return try await leftovers(
                &collection, isErasing ? .pending : .orphan, isErasing ? "its collection was dropped and is being erased" : "left of a dropped collection")
        }
        if collection.standing == .unnamed, !hasUnreadableName {
            collection.findings.append(StoreFinding(.pending, key, "no name stands for it: a collection in the making, or left of one that was not made"))
        }
        // Whatever the schema is, shards can be read without it.
        guard let layout = schema ?? records[incarnation]?.record.schema, (try? layout.validate()) != nil else { return collection }
        try await checkShards(&collection, layout)
        return collection
    }

    private func checkShards(_ collection: inout CollectionAudit, _ schema: CollectionSchema) async throws(ClusterError) {
        var waiting = schema.firstShards(of: tenant).reversed().map { ($0, Manifest?.none) }
        var known: Set<Int> = []
        while let (id, beginning) = waiting.popLast() {
            known.insert(id.index)
            var isErased = try await isErased(id, in: schema)
            var shard = ShardWalk.Report()
            if !isErased {
                var walk = ShardWalk(id: id, schema: schema, beginning: beginning, audit: audit)
                shard = try await walk.run()
                // It may have ended between the two looks, or another be sealed since that needed its objects.
                isErased = try await self.isErased(id, in: schema)
            }
            let end = try await end(of: id)
            if isErased, end == .split, let halves = try await log(id).halves() {
                let ids = id.halves(in: schema)
                waiting += [(ids.upper, halves.upper), (ids.lower, halves.lower)]
            }
            // Both halves of a merge lead to what it made: whoever of them is looked at when it is complete.
            if case .merged(let other) = end, let merge = ShardMerge(of: id, with: other, in: schema), !known.contains(merge.merged.index),
                try await self.end(of: merge.upper) == .merged(with: merge.lower.index)
            {
                known.insert(merge.merged.index)
                waiting.append((merge.merged, try await self.beginning(of: merge)))
            }
            if isErased {
                try await checkEnd(of: id, &collection)
                continue
            }
            // A drop takes everything away without another manifest.
            if let name = collection.name, collection.standing == .live, shard.end != nil || !shard.findings.allSatisfy({ $0.kind == .pending }),
                try await !isLive(collection.incarnation, named: name)
            {
                collection = CollectionAudit(name: name, incarnation: collection.incarnation, standing: .dropped)
                _ = try await leftovers(&collection, .pending, "its collection was dropped and is being erased")
                return
            }
            if case .merged = shard.end {} else { collection.shards += 1 }
            collection.segments += shard.segments
            collection.segmentBytes += shard.segmentBytes
            collection.sealedPoints += shard.sealedPoints
            collection.logEntries += shard.logEntries
            collection.findings += shard.findings
            if shard.end == .dropped {
                collection.findings.append(StoreFinding(.damaged, StoreKey.log(id), "the shard has ended, its collection was not dropped"))
            }
        }
        for index in (shards[collection.incarnation] ?? []).subtracting(known).sorted() {
            let key = StoreKey.shard(schema.shard(index, of: tenant))
            let parent = ShardLayout.parent(of: index, firstCount: schema.shardCount)
            collection.findings.append(
                parent.map(known.contains) == true
                    ? StoreFinding(.pending, key, "a split in the making, or one that did not come about: goes with the next rewriting")
                    : StoreFinding(.orphan, key, "the collection has no shard \(index)"))
        }
    }

    private func log(_ shard: ShardID) -> LogStore { LogStore(shard: shard, store: store, retryDelay: .milliseconds(20)) }

    private func end(of shard: ShardID) async throws(ClusterError) -> LogCursor.End? {
        do throws(ClusterError) { return try await log(shard).end() } catch {
            // A damaged last entry is the walk's to report.
            guard error.code == .dataLoss || error.code == .failedPrecondition else { throw error }
            return nil
        }
    }

    private func isErased(_ shard: ShardID, in schema: CollectionSchema) async throws(ClusterError) -> Bool {
        try await log(shard).isOnlyEnd(end(of: shard), in: schema)
    }

    /// Where the log of a shard begins that two were merged into, and the highest epoch before.
    private func beginning(of merge: ShardMerge) async throws(ClusterError) -> Manifest {
        var beginning = Manifest(beginningAt: 0)
        for half in [merge.lower, merge.upper] {
            guard let last = try await log(half).positions(from: 0).last, case .entry(let entry, _) = try await log(half).bareResult(at: last).get() else { continue }
            beginning = Manifest(beginningAt: max(beginning.position, last), epoch: max(beginning.epoch, entry.epoch))
        }
        return beginning
    }

    /// Of a shard that was split or merged nothing counts but its fences.
    private func checkEnd(of shard: ShardID, _ collection: inout CollectionAudit) async throws(ClusterError) {
        let keys = try await stored { () throws(StoreError) in try await store.listAll(prefix: StoreKey.shard(shard)) }
        for key in keys {
            if case .shard(_, _, .log) = KeyPlace(key, of: tenant) {
                guard let bytes = try await get(key) else { continue }
                do throws(FormatError) { if try LogEntry(decoding: bytes).isFence { continue } } catch {
                    collection.findings.append(StoreFinding(.damaged, key, error.description))
                    continue
                }
            }
            collection.findings.append(StoreFinding(.pending, key, "its shard was split or merged: goes with the first seal of what took its place"))
        }
    }

    /// What is left of a collection besides the fences of its logs, which stay (protocol, H2, H21).
    private func leftovers(_ collection: inout CollectionAudit, _ kind: StoreFinding.Kind, _ reason: String) async throws(ClusterError) -> CollectionAudit? {
        var fences = 0
        let keys = try await stored { () throws(StoreError) in
            try await store.listAll(prefix: StoreKey.collection(collection.incarnation, of: tenant))
        }
        for key in keys {
            if case .shard(_, _, .log) = KeyPlace(key, of: tenant), collection.standing == .dropped {
                guard let bytes = try await get(key) else { continue }
                if let entry = try? LogEntry(decoding: bytes), entry.isFence {
                    fences += 1
                    continue
                }
            }
            collection.findings.append(StoreFinding(kind, key, reason))
        }
        return collection.findings.isEmpty && fences == 0 ? nil : collection
    }

    // MARK: - Uploaded files

    private mutating func checkFiles() async throws(ClusterError) {
        var unsettled: [String] = []
        for (id, parts) in files.sorted(by: { $0.key < $1.key }) {
            report.files += 1
            let findings = try await check(file: id, parts: parts)
            if findings.isEmpty { continue }
            unsettled.append(id)
        }
        guard !unsettled.isEmpty else { return }
        // An upload and a deletion are two calls in a row each: look again when those that were running are over.
        await audit.pause()
        for id in unsettled {
            let prefix = StoreKey.file(id, of: tenant)
            let keys = try await stored { () throws(StoreError) in try await store.listAll(prefix: prefix) }
            report.findings += try await check(file: id, parts: Set(keys.map { String($0.dropFirst(prefix.count)) }))
        }
    }

    private func check(file id: String, parts: Set<String>) async throws(ClusterError) -> [StoreFinding] {
        let folder = StoreKey.file(id, of: tenant)
        var findings: [StoreFinding] = []
        let abouts = parts.filter { $0.hasPrefix("about/") }.sorted()
        for part in parts.sorted() {
            let key = folder + part
            if part == "content" {
                if abouts.isEmpty { findings.append(StoreFinding(.orphan, key, "nothing says what it is: an upload or a deletion that was cut off")) }
            } else if part.hasPrefix("about/") {
                findings += try await check(about: key, content: folder + "content", isThere: parts.contains("content"))
            } else if part.hasPrefix("attached/"), let incarnation = Incarnation(String(part.dropFirst(9))) {
                if !hasUnreadableName, records[incarnation].map({ $0.record.isDropped }) ?? true, try await get(StoreKey.schema(incarnation, of: tenant)) == nil {
                    findings.append(StoreFinding(.orphan, key, "the collection \(incarnation) is gone"))
                }
            } else {
                findings.append(StoreFinding(.orphan, key, "nothing that Covey puts there"))
            }
        }
        return findings
    }

    /// Checks a file's description, and its content against the hash there.
    private func check(about key: String, content contentKey: String, isThere: Bool) async throws(ClusterError) -> [StoreFinding] {
        guard let bytes = try await get(key) else { return [] }
        guard let about = try? JSONValue(parsing: bytes), let expected = about["sha256"]?.string else {
            return [StoreFinding(.damaged, key, "is no description of a file")]
        }
        guard isThere, let content = try await get(contentKey) else {
            return [StoreFinding(.missing, contentKey, "\(key) describes it")]
        }
        guard hex(sha256(content)) == expected else { return [StoreFinding(.damaged, contentKey, "its SHA-256 is not the one in \(key)")] }
        return []
    }

    // MARK: - Snapshots

    private mutating func check(snapshot id: String, _ parts: Set<String>) async throws(ClusterError) {
        let prefix = StoreKey.snapshot(id, of: tenant)
        let shelf = SnapshotShelf(store: store, tenant: tenant)
        let record: SnapshotRecord
        do throws(ClusterError) { record = try await SnapshotRecord.read(try shelf.snapshot(id)) } catch {
            switch error.code {
            case .notFound: report.findings.append(StoreFinding(.pending, prefix, "a snapshot in the making, or one that was cut off"))
            case .dataLoss, .failedPrecondition: report.findings.append(StoreFinding(.damaged, prefix + SnapshotRecord.key, error.message))
            default: throw error
            }
            return
        }
        report.snapshots += 1
        var findings: [StoreFinding] = []
        for object in record.objects {
            let key = prefix + object.key
            guard let found = try await checksum(of: key) else {
                findings.append(StoreFinding(.missing, key, "the snapshot's record names it"))
                continue
            }
            if found != (object.byteCount, object.checksum) {
                findings.append(StoreFinding(.damaged, key, "is not what the snapshot's record says"))
            }
        }
        // Deleted meanwhile?
        guard try await get(prefix + SnapshotRecord.key) != nil else { return }
        report.findings += findings
        let names = record.collections.compactMap { collection in
            (try? CollectionName(collection.schema.name)).flatMap { name in
                (try? TenantID(record.tenant)).map { StoreKey.name(of: $0, collection: name, version: 1) }
            }
        }
        for part in parts.subtracting(record.objects.map(\.key) + names + [SnapshotRecord.key]).sorted() {
            report.findings.append(StoreFinding(.orphan, prefix + part, "the snapshot's record does not name it"))
        }
    }

    /// Length and CRC-32C of an object of any size; `nil` if there is no such object.
    private func checksum(of key: String) async throws(ClusterError) -> (Int, UInt32)? {
        do throws(StoreError) {
            let byteCount = try await store.size(key)
            var checksum: UInt32 = 0
            for start in stride(from: 0, to: byteCount, by: Self.pieceBytes) {
                checksum = crc32c(try await store.get(key, range: start..<min(start + Self.pieceBytes, byteCount)), seed: checksum)
            }
            return (byteCount, checksum)
        } catch {
            if case .notFound = error { return nil }
            throw ClusterError(error)
        }
    }
    /// Bytes read at once. Reason: some in memory, few requests.
    private static let pieceBytes = 16 << 20

    /// `nil` if there is no such object.
    private func get(_ key: String) async throws(ClusterError) -> [UInt8]? {
        do throws(StoreError) { return try await store.get(key) } catch {
            if case .notFound = error { return nil }
            throw ClusterError(error)
        }
    }
}

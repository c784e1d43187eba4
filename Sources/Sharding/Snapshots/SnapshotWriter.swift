import Foundation
import Model
import Storage

/// Makes a snapshot of collections from their store alone, beside a running cluster or without one.
///
/// It holds every write that was acknowledged before it began, and of later ones some (protocol, H23): there is no one moment over several shards, unless
/// one is asked for, a ``Cut``.
/// No pin holds the owner back (H17): if a seal deletes what is being copied, the shard's newest manifest is read again and only what is new is
/// copied. What was copied stays good, as nothing changes under its key.
package struct SnapshotWriter: Sendable {
    let source: any ObjectStore
    let target: any ObjectStore
    let tenant: TenantID
    let clock: DeadlineClock
    /// Seconds since 1970.
    let now: @Sendable () -> Int64
    private let copier: ObjectCopier
    private let threads: Int
    /// Objects that are read or copied at once, of each shard.
    private static let requests = 16

    /// - Parameters:
    ///   - target: An empty place for the snapshot.
    ///   - threads: That copy files and read the copy; 0 for the caller's.
    package init(
        source: any ObjectStore, tenant: TenantID, target: any ObjectStore, threads: Int = 1, clock: DeadlineClock = .continuous,
        now: @escaping @Sendable () -> Int64 = ShardConfiguration().now
    ) {
        self.source = source
        self.target = target
        self.tenant = tenant
        self.clock = clock
        self.now = now
        self.threads = threads
        copier = ObjectCopier(from: source, to: target, threads: threads)
    }

    /// Copies the collections, opens the copy, and calls it whole.
    ///
    /// - Parameters:
    ///   - names: `nil` for all of the tenant's collections.
    ///   - causal: Whether it is to be of one moment of all shards: with a write it holds everything that was acknowledged or seen before that write began.
    ///     Writes wait for that moment, for some requests to the store; what was copied before is not copied again.
    /// - Throws: `notFound` for a name that stands for no collection; `dataLoss` naming an object that cannot be read; `alreadyExists`
    ///   if the target holds a snapshot; `unavailable` if no moment is found that lasts until the copy is made.
    package func write(_ names: [CollectionName]?, id: String, causal: Bool = false) async throws(ClusterError) -> SnapshotRecord {
        let taken = try await stored { () throws(StoreError) in try await target.list(prefix: "", after: nil, limit: 1) }
        guard taken.isEmpty else { throw ClusterError(.alreadyExists, "the place for snapshot \(id) is not empty: it holds \(taken[0])") }
        let began = now()
        var schemas: [CollectionSchema] = []
        if let names {
            for name in names {
                guard let record = try await SchemaRegistry(store: source).newest(name, tenant: tenant), !record.isDropped else {
                    throw ClusterError(.notFound, "collection \"\(name)\" does not exist")
                }
                schemas.append(record.schema)
            }
        } else {
            let (found, damaged) = try await SchemaRegistry(store: source).all(of: tenant)
            if let error = damaged.first { throw error }
            schemas = found.filter { !$0.record.isDropped }.map(\.record.schema)
        }
        var record = SnapshotRecord(id: id, tenant: tenant.rawValue, createdAt: began, collections: [], objects: [])
        var copies: [[ShardID: ShardCopy]] = []
        for schema in schemas { copies.append(try await copyShards(of: schema, [:])) }
        if causal {
            let cut = try await align(&copies, of: schemas)
            record.cut = cut.idText
            if let decision = try await copier.copy(StoreKey.cut(cut, of: tenant)) { record.objects.append(decision) }
        }
        try await removeAll(of: schemas, but: copies)
        for (schema, copies) in zip(schemas, copies) {
            let order = copies.sorted { $0.key.index < $1.key.index }
            record.objects += order.flatMap(\.value.objects)
            let kept = order.filter { keepsPoints($0.key, $0.value, copies, schema) }
            record.objects += try await copyFiles(attachedTo: schema.incarnation)
            try await copySchema(schema, &record)
            // Opened like any other collection: what cannot be restored is found now.
            let points = try await SnapshotReader(snapshot: target, tenant: tenant, schema: schema, threads: threads, clock: clock).count()
            record.collections.append(
                SnapshotRecord.Collection(schema: schema, points: points, shards: kept.map(\.key.index), positions: kept.map(\.value.position)))
        }
        let bytes: [UInt8]
        do throws(FormatError) { bytes = try record.stored() } catch { throw ClusterError(.internal, "\(error)") }
        try await stored { () throws(StoreError) in try await target.put(SnapshotRecord.key, bytes, ifAbsent: true) }
        return record
    }

    /// The schema, and a name that stands for it: the snapshot is a store that nodes can serve.
    private func copySchema(_ schema: CollectionSchema, _ record: inout SnapshotRecord) async throws(ClusterError) {
        let key = StoreKey.schema(schema.incarnation, of: tenant)
        guard let copy = try await copier.copy(key) else { throw ClusterError(.notFound, "collection \"\(schema.name)\" was dropped") }
        record.objects.append(copy)
        let name = try CollectionName(schema.name)
        try await SchemaRegistry(store: target).publish(schema, named: name, tenant: tenant)
    }

    // MARK: - Shards

    struct ShardCopy {
        var objects: [SnapshotRecord.Object]
        /// They hold everything up to here.
        var position: UInt64
        var end: LogCursor.End?
    }

    func log(of shard: ShardID) -> LogStore { LogStore(shard: shard, store: source, retryDelay: .milliseconds(20), clock: clock) }

    /// - Parameter made: What is copied already.
    func copyShards(of schema: CollectionSchema, _ made: [ShardID: ShardCopy]) async throws(ClusterError) -> [ShardID: ShardCopy] {
        // Which shards there are may change while they are copied.
        var copies: [ShardID: ShardCopy] = [:]
        var waiting = Array(schema.firstShards(of: tenant).reversed())
        while let shard = waiting.popLast() {
            guard let copy = try await copy(shard, of: schema, copies[shard] ?? made[shard]) else { continue }
            copies[shard] = copy
            switch copy.end {
            case .split?:
                let halves = shard.halves(in: schema)
                waiting += [halves.upper, halves.lower]
            case .merged(let other)?:
                guard let merge = ShardMerge(of: shard, with: other, in: schema), shard == merge.upper else { continue }
                // The lower half has ended, too: perhaps since it was copied.
                waiting.append(merge.merged)
                if copies[merge.lower]?.end == nil { waiting.append(merge.lower) }
            case .dropped?, nil: break
            }
        }
        return copies
    }

    /// A lower half that has ended by a merge keeps its points until the upper half has ended.
    private func keepsPoints(_ shard: ShardID, _ copy: ShardCopy, _ copies: [ShardID: ShardCopy], _ schema: CollectionSchema) -> Bool {
        guard case .merged(let other) = copy.end else { return copy.end == nil }
        return ShardMerge(of: shard, with: other, in: schema).map { copies[$0.merged] == nil } ?? false
    }

    /// Deletes copies of what was superseded meanwhile.
    private func removeAll(of schemas: [CollectionSchema], but copies: [[ShardID: ShardCopy]]) async throws(ClusterError) {
        let kept = Set(copies.joined().flatMap(\.value.objects).map(\.key))
        for schema in schemas {
            let prefix = StoreKey.collection(schema.incarnation, of: tenant)
            try await stored { () throws(StoreError) in try await target.delete(try await target.listAll(prefix: prefix).filter { !kept.contains($0) }) }
        }
    }

    /// The fences of a shard that was split or merged: the last of them says so.
    ///
    /// - Returns: `nil` if one has gone since it was listed: a claim that came late into a hole of the log (H3), which an owner then erased with the rest.
    private func copyEnd(of shard: ShardID) async throws(ClusterError) -> [SnapshotRecord.Object]? {
        let log = log(of: shard)
        var copies: [SnapshotRecord.Object] = []
        for position in try await log.fences() {
            guard let copy = try await copier.copy(StoreKey.log(shard, position: position)) else { return nil }
            copies.append(copy)
        }
        return copies
    }

    /// Of a shard that was split the fences are copied; of one that was merged too, once the one that it was merged into is sealed: before, that one
    /// needs everything.
    ///
    /// - Parameters:
    ///   - made: What is copied of it already.
    ///   - limit: The last position that is wanted.
    /// - Returns: `nil` if the store does not hold any more what the shard was at that position.
    func copy(_ shard: ShardID, of schema: CollectionSchema, _ made: ShardCopy?, upTo limit: UInt64 = .max) async throws(ClusterError) -> ShardCopy? {
        let log = log(of: shard)
        var copies = Dictionary(uniqueKeysWithValues: (made?.objects ?? []).map { ($0.key, $0) })
        var previous: (version: UInt64?, end: LogCursor.End?, anchor: String?)?
        while true {
            // In this order: what is deleted for an end that is not seen here was deleted after the manifest was read.
            let manifest = try await beginning(of: log, in: schema)
            let end = limit < .max ? nil : try await log.end()
            if try await log.isOnlyEnd(end, in: schema) {
                guard let fences = try await copyEnd(of: shard) else { continue }
                return ShardCopy(objects: fences, position: 0, end: end)
            }
            guard manifest?.position ?? 0 <= limit else { return nil }
            var needed: Set<String> = []
            var missing: String?
            let position = try await copy(shard, manifest, log, limit, isOpen: end == nil && limit == .max, &copies, &needed, &missing)
            guard let missing else {
                return ShardCopy(objects: needed.sorted().compactMap { copies[$0] }, position: position, end: end)
            }
            // Only what a newer manifest or an end made superfluous may be gone, and the entry that was the log's last until the next was put.
            let anchor = missing == StoreKey.log(shard, position: manifest?.position ?? 0) ? missing : nil
            if let previous, previous == (manifest?.version, end, anchor) {
                // Or by an end, which is not asked for here: who copies all of it says what is missing.
                if limit < .max { return nil }
                throw ClusterError(.dataLoss, "\(missing) is missing: `covey verify` says more")
            }
            previous = (manifest?.version, end, anchor)
        }
    }

    /// The newest manifest. A shard that was never sealed has none; what it begins with is in others' logs.
    func beginning(of log: LogStore, in schema: CollectionSchema) async throws(ClusterError) -> Manifest? {
        if let newest = try await log.newestManifest() { return newest }
        switch try await log.origin(in: schema) {
        case .first: return nil
        case .half(let beginning): return beginning
        case .merged(let merge):
            let ends = (try await log.log(of: merge.lower).positions(from: 0).last ?? 0, try await log.log(of: merge.upper).positions(from: 0).last ?? 0)
            return Manifest(beginningAt: max(ends.0, ends.1))
        }
    }

    /// Copies what a manifest and the log after it need.
    ///
    /// - Parameters:
    ///   - limit: The last position that is wanted.
    ///   - isOpen: Whether the shard had not ended when it was asked.
    ///   - copies: What is copied, by key.
    ///   - needed: Keys that belong together, if nothing is missing.
    ///   - missing: The first object that was not there.
    private func copy(
        _ shard: ShardID, _ manifest: Manifest?, _ log: LogStore, _ limit: UInt64, isOpen: Bool, _ copies: inout [String: SnapshotRecord.Object], _ needed: inout Set<String>,
        _ missing: inout String?
    ) async throws(ClusterError) -> UInt64 {
        let covered = manifest?.position ?? 0
        var keys = manifest.flatMap { $0.version > 0 ? [StoreKey.manifest(shard, version: $0.version)] : nil } ?? []
        keys += (manifest?.segments ?? []).map { StoreKey.segment(shard, name: $0.name) }
        // Nothing acknowledged before this listing is missing from it.
        let positions = try await log.positions(from: 0).filter { $0 <= limit }
        let last = max(positions.last ?? 0, covered)
        if limit < .max, last < limit { missing = StoreKey.log(shard, position: limit) }
        let fences = Set(manifest?.fences ?? []).filter { $0 <= covered }
        // The log's last entry shows a reader that its listing is whole.
        var wanted = fences.sorted() + (covered < last ? Array(covered + 1...last) : [])
        if let anchor = positions.last, anchor == covered, !fences.contains(anchor) { wanted.append(anchor) }
        let found = try await concurrently(wanted, atMost: Self.requests) { position throws(ClusterError) in try await log.bareResult(at: position).get() }
        for (position, found) in zip(wanted, found) {
            switch found {
            case .entry(let entry, _):
                if case .terminal = entry.content { throw ClusterError(.notFound, "shard \(shard) was dropped") }
                if case .bulk(_, let request) = entry.content, position > covered {
                    keys += request.objects.map { StoreKey.bulk(shard, name: $0.name) }
                }
                keys.append(StoreKey.log(shard, position: position))
                // It has ended since: what took its place is to be copied, too.
                if isOpen, position == last, LogCursor.End(entry.content) != nil { missing = missing ?? keys.last }
            case .missing(let key): missing = missing ?? key
            case .damaged(let key, let reason): throw ClusterError(.dataLoss, "\(key): \(reason)")
            }
        }
        guard missing == nil else { return last }
        needed = Set(keys)
        let new = needed.filter { copies[$0] == nil }.sorted()
        let copied = try await concurrently(new, atMost: Self.requests) { key throws(ClusterError) in
            try await copier.copy(key, isFile: key.hasPrefix(StoreKey.segments(shard)))
        }
        for (key, copy) in zip(new, copied) {
            copies[key] = copy
            if copy == nil { missing = key }
        }
        return last
    }

    // MARK: - Uploaded files

    private func copyFiles(attachedTo incarnation: Incarnation) async throws(ClusterError) -> [SnapshotRecord.Object] {
        let prefix = StoreKey.files(of: tenant)
        let keys = try await stored { () throws(StoreError) in try await source.listAll(prefix: prefix) }
        let suffix = "/attached/\(incarnation)"
        let folders = Set(keys.filter { $0.hasSuffix(suffix) }.map { $0.dropLast(suffix.count) })
        var copies: [SnapshotRecord.Object] = []
        for key in keys {
            let folder = key.dropFirst(prefix.count).firstIndex(of: "/").map { key[..<$0] }
            guard let folder, folders.contains(folder), !key.contains("/attached/") || key.hasSuffix(suffix) else { continue }
            // One that was deleted meanwhile was not there when this ended.
            if let copy = try await copier.copy(key) { copies.append(copy) }
        }
        return copies
    }
}

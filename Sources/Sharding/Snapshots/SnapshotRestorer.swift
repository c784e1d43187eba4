import Foundation
import Model
import Storage
import VectorMath

/// Makes a collection from one in a snapshot, in a store beside whatever cluster runs on it: nobody sees it before it is whole.
///
/// With as many shards as it had, its objects are copied, each against its checksum. With another number its points are divided anew by the
/// hashes of their ids, and each shard is built as one segment.
package struct SnapshotRestorer: Sendable {
    let snapshot: any ObjectStore
    let record: SnapshotRecord
    let store: any ObjectStore
    let tenant: TenantID
    /// Threads that build segments.
    let threads: Int

    /// - Throws: as ``SnapshotRecord/read(_:)``.
    package init(snapshot: any ObjectStore, store: any ObjectStore, tenant: TenantID, threads: Int) async throws(ClusterError) {
        self.snapshot = snapshot
        self.store = store
        self.tenant = tenant
        self.threads = threads
        record = try await SnapshotRecord.read(snapshot)
    }

    package var collections: [SnapshotRecord.Collection] { record.collections }

    /// - Parameters:
    ///   - name: The new collection's.
    ///   - shardCount: `nil` for as many as it had.
    /// - Returns: The new collection's schema.
    /// - Throws: `alreadyExists` if the name stands for a collection; `dataLoss` if an object is not what the snapshot's record says, or
    ///   if the result has another number of points. What was made until then is deleted.
    package func restore(_ collection: SnapshotRecord.Collection, as name: CollectionName, shardCount: Int? = nil) async throws(ClusterError) -> CollectionSchema {
        let source = try TenantID(record.tenant)
        var schema = collection.schema
        schema.name = name.rawValue
        schema.incarnationText = Incarnation.random().description
        schema.shardCount = shardCount ?? schema.shardCount
        try schema.validate()
        let made = schema
        var isFilled = false
        do throws(ClusterError) {
            _ = try await SchemaRegistry(store: store).create(made, named: name, tenant: tenant) { () throws(ClusterError) in
                if made.shardCount == collection.schema.shardCount {
                    try await copyShards(of: collection.schema, source, to: made)
                } else {
                    try await buildShards(of: collection.schema, source, as: made)
                }
                let points = try await SnapshotReader(snapshot: store, tenant: tenant, schema: made).count()
                guard points == collection.points else { throw ClusterError(.dataLoss, "\(points) points were restored, the snapshot has \(collection.points)") }
                try await copyFiles(of: collection.schema, source, to: made)
                isFilled = true
            }
            return made
        } catch {
            // Whether the name was published may not be known: then what it stands for stays.
            guard !isFilled || error.code == .alreadyExists else { throw error }
            let prefix = StoreKey.collection(made.incarnation, of: tenant)
            if let left = try? await store.listAll(prefix: prefix) { try? await store.delete(left) }
            throw error
        }
    }

    // MARK: - As many shards

    private func copyShards(of old: CollectionSchema, _ source: TenantID, to new: CollectionSchema) async throws(ClusterError) {
        let copier = ObjectCopier(from: snapshot, to: store)
        // The logs that are copied have its barriers.
        let cuts = StoreKey.cuts(of: source)
        for cut in record.objects where cut.key.hasPrefix(cuts) {
            _ = try await copier.copy(cut.key, to: StoreKey.cuts(of: tenant) + cut.key.dropFirst(cuts.count), expecting: cut)
        }
        let (oldPrefix, newPrefix) = (StoreKey.collection(old.incarnation, of: source), StoreKey.collection(new.incarnation, of: tenant))
        for object in record.objects where object.key.hasPrefix(oldPrefix) {
            guard case .shard(_, _, let part) = KeyPlace(object.key, of: source) else { continue }
            let isSegment = if case .segment = part { true } else { false }
            let copy = try await copier.copy(
                object.key, to: newPrefix + object.key.dropFirst(oldPrefix.count), isFile: isSegment, expecting: object)
            if copy == nil { throw ClusterError(.dataLoss, "\(object.key) is missing in the snapshot") }
        }
    }

    // MARK: - Another number of shards

    private func buildShards(of old: CollectionSchema, _ source: TenantID, as new: CollectionSchema) async throws(ClusterError) {
        let reader = SnapshotReader(snapshot: snapshot, tenant: source, schema: old)
        var parts: [Part] = []
        var windows: [RequestWindow] = []
        var position: UInt64 = 0
        for shard in try await ShardTree(snapshot, old, source).leaves {
            let open = try await reader.open(shard)
            let state = open.snapshot
            parts += state.segments.compactMap(\.part) + state.tail
            windows.append(open.state.withLock { $0.window })
            position = max(position, state.position)
        }
        let window = RequestWindow(limit: ShardConfiguration().rememberedWrites, restoring: windows)
        for (shard, range) in zip(new.firstShards(of: tenant), HashRange.tiling(new.shardCount)) {
            try await build(shard, parts.map { $0.narrowed(to: range) }, new, after: position, window)
        }
    }

    /// Makes a shard that was claimed at the position after `position`, and summarized there.
    private func build(
        _ shard: ShardID, _ parts: [Part], _ schema: CollectionSchema, after position: UInt64, _ window: RequestWindow
    ) async throws(ClusterError) {
        let count = parts.reduce(0) { $0 + $1.liveCount }
        let writer = LogWriterID(node: NodeID("restore"), incarnation: .random(in: 1...UInt64.max))
        let log = LogStore(shard: shard, store: store, retryDelay: .milliseconds(20))
        let claim = LogEntry(position: position + 1, epoch: 1, writer: writer, nonce: .random(), content: .claim)
        // Given up again: the first node that is asked to write need not wait.
        let release = LogEntry(position: position + 2, epoch: 1, writer: writer, nonce: .random(), content: .release)
        for entry in [claim, release] {
            guard case .committed = await log.append(entry, bytes: entry.encoded()) else {
                throw ClusterError(.unavailable, "\(StoreKey.log(shard, position: entry.position)) cannot be written")
            }
        }
        var segments: [SegmentRecord] = []
        if count > 0 {
            let name = SegmentRecord.name(epoch: 1, incarnation: writer.incarnation, counter: 1)
            let scratch = try await stored { () throws(StoreError) in try await store.scratchPath() }
            defer { try? FileManager.default.removeItem(atPath: scratch) }
            let maker = SegmentMaker(schema: schema, threads: threads)
            let environment = SnapshotReader(snapshot: store, tenant: tenant, schema: schema).environment
            let (byteCount, checksum) = try await environment.run(on: environment.buildThreads) { () throws(ClusterError) in
                do throws(SegmentError) { return try maker.write(parts, to: scratch) { _ in true } } catch {
                    throw ClusterError(.unavailable, "segment cannot be built: \(error)")
                }
            }
            try await stored { () throws(StoreError) in try await store.putFile(StoreKey.segment(shard, name: name), from: scratch) }
            segments = [
                SegmentRecord(name: name, from: 0, to: claim.position, byteCount: byteCount, checksum: checksum, rowCount: count, deletedRows: [])
            ]
        }
        let manifest = Manifest(
            version: 1, position: claim.position, epoch: 1, writer: writer, fences: [claim.position], segments: segments,
            requests: window.remembered, forgotten: window.forgotten)
        guard try await log.add(manifest) else { throw ClusterError(.aborted, "\(StoreKey.manifest(shard, version: 1)) exists") }
    }

    // MARK: - Uploaded files

    /// Brings the files back that were attached to the collection, and attaches them to the new one.
    private func copyFiles(of old: CollectionSchema, _ source: TenantID, to new: CollectionSchema) async throws(ClusterError) {
        let copier = ObjectCopier(from: snapshot, to: store)
        let oldPrefix = StoreKey.files(of: source)
        let files = record.objects.filter { $0.key.hasPrefix(oldPrefix) }
        let attached = "/attached/\(old.incarnation)"
        let folders = Set(files.filter { $0.key.hasSuffix(attached) }.map { $0.key.dropLast(attached.count) })
        for file in files {
            let newKey = StoreKey.files(of: tenant) + file.key.dropFirst(oldPrefix.count)
            if file.key.hasSuffix(attached) {
                try await attach(file.key, to: newKey.dropLast(attached.count) + "/attached/\(new.incarnation)", new)
            } else if !file.key.contains("/attached/"), folders.contains(where: { file.key.hasPrefix($0 + "/") }) {
                _ = try await copier.copy(file.key, to: newKey, expecting: file)
            }
        }
    }

    /// An attachment says which collection it belongs to.
    private func attach(_ key: String, to newKey: String, _ new: CollectionSchema) async throws(ClusterError) {
        let bytes = try await stored { () throws(StoreError) in try await snapshot.get(key) }
        guard case .object(var fields) = try JSONValue(parsing: bytes) else { throw ClusterError(.dataLoss, "\(key) is no attachment") }
        fields["collection"] = .string(new.name)
        let changed = JSONValue.object(fields).serialized()
        try await stored { () throws(StoreError) in try await store.put(newKey, changed, ifAbsent: false) }
    }
}

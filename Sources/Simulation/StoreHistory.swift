import Foundation
import Model
import Storage

/// The store itself, and every log entry and bulk object that was ever in it: what is true, whatever the nodes believe.
final class StoreHistory: @unchecked Sendable {  // one thread
    private(set) var store: any ObjectStore
    /// Requests so far.
    var requests = 0
    private var logs: [String: [UInt64: LogEntry]] = [:]
    private var bulk: [String: [UInt8]] = [:]
    /// What was done to objects of logs, for people.
    private var events: [String: [(Duration, String)]] = [:]
    private var models: [String: LogModel] = [:]
    /// Shards that each collection had at first.
    var firstCounts: [Incarnation: Int] = [:]

    /// A disk that forgets, on power loss, what was not synchronized; `nil` for a store that forgets nothing.
    private let files: SimulatedFileSystem?
    private let root = FileManager.default.temporaryDirectory.path + "/covey-simulation"

    init(onDisk: Bool) throws {
        if onDisk {
            let files = SimulatedFileSystem()
            self.files = files
            store = try LocalObjectStore(root: root, fileSystem: files, threads: 0)
        } else {
            files = nil
            store = MemoryObjectStore()
        }
    }

    var isOnDisk: Bool { files != nil }

    /// Removes from the real disk what was there to be mapped.
    func removeFiles() {
        files?.removeOutside()
        (store as? MemoryObjectStore)?.removeFiles()
    }

    /// All processes that use the store must have been killed.
    func losePower(seed: UInt64) throws {
        guard let files else { return }
        files.crash(beforeStep: files.steps)
        files.restart(seed: seed)
        store = try LocalObjectStore(root: root, fileSystem: files, threads: 0)
    }

    /// An object is in the store.
    func note(_ key: String, _ bytes: [UInt8], by machine: Machine? = nil) {
        guard let slash = key.lastIndex(of: "/") else { return }
        let folder = String(key[...slash])
        if folder.hasSuffix("/log/"), let position = StoreKey.number(at: key), let entry = try? LogEntry(decoding: bytes) {
            events[key, default: []].append((machine?.scheduler.elapsed ?? .zero, "put by \(machine?.name.rawValue ?? "nobody"), nonce \(entry.nonce)"))
            // Of a position that was truncated and written again, what was first there is what counted.
            if logs[folder, default: [:]][position] == nil { logs[folder, default: [:]][position] = entry }
            models[folder] = nil
            switch entry.content {
            case .split, .merge: models = [:]
            default: break
            }
        } else if folder.hasSuffix("/bulk/") {
            bulk[key] = bytes
        }
    }

    func noteDeletion(_ keys: [String], by machine: Machine) {
        for key in keys where key.contains("/log/") { events[key, default: []].append((machine.scheduler.elapsed, "deleted by \(machine.name)")) }
    }

    /// Takes in what is there though nobody was told so.
    func takeInAll() async throws {
        for key in try await store.listAll(prefix: "") where key.contains("/log/") || key.contains("/bulk/") { note(key, try await store.get(key)) }
    }

    /// For people: what was put at a position and near it.
    func story(of shard: ShardID, around position: UInt64) -> String {
        let entries = logs[StoreKey.log(shard)] ?? [:]
        return (max(position, 4) - 3...position + 3).compactMap { entries[$0] }.map { entry in
            let kind = switch entry.content {
            case .data(_, let requests): "data \(requests.map { "\($0.part.id)" })"
            case .bulk(_, let request): "bulk \(request.part.id)"
            case .claim: "claim"
            case .release: "release"
            case .terminal: "terminal"
            case .split: "split"
            case .promise(let other): "promise to merge with \(other)"
            case .merge(let other): "merge with \(other)"
            case .barrier(let cut): "barrier of cut \(cut.idText)"
            }
            let done = events[StoreKey.log(shard, position: entry.position)] ?? []
            return "\(entry.position): \(kind) of \(entry.writer) in epoch \(entry.epoch) (\(done.map { "\($0): \($1)" }.joined(separator: "; ")))"
        }.joined(separator: ", ")
    }

    func range(of shard: ShardID) -> HashRange { ShardLayout.range(of: shard.index, firstCount: firstCounts[shard.incarnation]!) ?? .all }

    /// What the log of a shard means.
    func model(of shard: ShardID) -> LogModel {
        let folder = StoreKey.log(shard)
        if let model = models[folder] { return model }
        let model = LogModel(logs[folder] ?? [:], of: range(of: shard), after: parents(of: shard).map { self.model(of: $0) }) { [bulk] name in bulk[StoreKey.bulk(shard, name: name)] }
        models[folder] = model
        return model
    }

    /// The shard that it is a half of, or the two that were merged into it.
    private func parents(of shard: ShardID) -> [ShardID] {
        let (count, generation) = (firstCounts[shard.incarnation]!, ShardLayout.generation(of: shard.index))
        func id(_ index: Int) -> ShardID { ShardID(tenant: shard.tenant, incarnation: shard.incarnation, index: index) }
        let parent = ShardLayout.parent(of: shard.index, firstCount: count).map(id)
        if let parent, model(of: parent).isSplit { return [parent] }
        guard generation > 0 else { return parent.map { [$0] } ?? [] }
        let halves = ShardLayout.children(of: ShardLayout.base(of: shard.index), firstCount: count)
        for half in [halves.lower, halves.upper].map({ ShardLayout.index($0, generation: generation - 1) }) {
            guard let other = model(of: id(half)).mergedWith else { continue }
            let pair = [half, other].sorted { ShardLayout.base(of: $0) < ShardLayout.base(of: $1) }
            if ShardLayout.merged(pair[0], pair[1], firstCount: count) == shard.index { return pair.map(id) }
        }
        return []
    }

    /// The shard and those that it comes from.
    ///
    /// - Parameter id: Without those that never kept this point.
    func line(of shard: ShardID, keeping id: PointID? = nil) -> [ShardID] {
        [shard] + parents(of: shard).flatMap { parent -> [ShardID] in
            let range = ShardLayout.range(of: parent.index, firstCount: firstCounts[shard.incarnation]!)
            return id.map { range?.contains($0.hash) == true } ?? true ? line(of: parent, keeping: id) : []
        }
    }

    /// How the collection's hash space is divided, as the logs say, and every shard that there is or was.
    func layout(of schema: CollectionSchema, _ tenant: TenantID) -> (layout: ShardLayout, all: [ShardID]) {
        var (splits, merges): (Set<Int>, [Int: Int]) = ([], [:])
        var waiting = Array(0..<schema.shardCount)
        var all = waiting
        func add(_ index: Int) {
            guard !all.contains(index) else { return }
            all.append(index)
            waiting.append(index)
        }
        while let index = waiting.popLast() {
            let model = model(of: schema.shard(index, of: tenant))
            if model.isSplit {
                splits.insert(index)
                let halves = ShardLayout.children(of: index, firstCount: schema.shardCount)
                add(halves.lower)
                add(halves.upper)
            }
            // Complete once both have ended: the upper half ends last.
            if let other = model.mergedWith, ShardLayout.isUpper(index, firstCount: schema.shardCount),
                let merged = ShardLayout.merged(other, index, firstCount: schema.shardCount)
            {
                merges[other] = merged
                merges[index] = merged
                add(merged)
            }
        }
        return (ShardLayout(firstCount: schema.shardCount, splits: splits, merges: merges), all.map { schema.shard($0, of: tenant) })
    }
}

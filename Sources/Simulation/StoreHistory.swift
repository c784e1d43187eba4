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
            if case .split = entry.content { models = [:] }
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
            case .data(_, let requests): "data \(requests.map { "\($0.id)" })"
            case .bulk(_, let request): "bulk \(request.id)"
            case .claim: "claim"
            case .release: "release"
            case .terminal: "terminal"
            case .split: "split"
            }
            let done = events[StoreKey.log(shard, position: entry.position)] ?? []
            return "\(entry.position): \(kind) of \(entry.writer) in epoch \(entry.epoch) (\(done.map { "\($0): \($1)" }.joined(separator: "; ")))"
        }.joined(separator: ", ")
    }

    /// What the log of a shard means.
    func model(of shard: ShardID) -> LogModel {
        let folder = StoreKey.log(shard)
        if let model = models[folder] { return model }
        var parent: (LogModel, HashRange)?
        if let above = self.parent(of: shard), let range = ShardLayout.range(of: shard.index, firstCount: firstCounts[shard.incarnation]!) {
            parent = (model(of: above), range)
        }
        let model = LogModel(logs[folder] ?? [:], after: parent) { [bulk] name in bulk[StoreKey.bulk(shard, name: name)] }
        models[folder] = model
        return model
    }

    func parent(of shard: ShardID) -> ShardID? {
        ShardLayout.parent(of: shard.index, firstCount: firstCounts[shard.incarnation]!)
            .map { ShardID(tenant: shard.tenant, incarnation: shard.incarnation, index: $0) }
    }

    /// The shard and those that it comes from.
    func line(of shard: ShardID) -> [ShardID] {
        var line = [shard]
        while let parent = parent(of: line[line.count - 1]) { line.append(parent) }
        return line
    }

    /// Indexes of the collection's shards that were split.
    func splits(of schema: CollectionSchema, _ tenant: TenantID) -> Set<Int> {
        var splits: Set<Int> = []
        var waiting = Array(0..<schema.shardCount)
        while let index = waiting.popLast() {
            guard model(of: schema.shard(index, of: tenant)).isSplit else { continue }
            splits.insert(index)
            let halves = ShardLayout.children(of: index, firstCount: schema.shardCount)
            waiting += [halves.lower, halves.upper]
        }
        return splits
    }
}

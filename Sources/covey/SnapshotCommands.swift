import ArgumentParser
import Foundation
import Model
import Sharding
import Storage

/// Which tenant's, and how results are printed.
struct SnapshotOptions: ParsableArguments {
    @Option(help: "The tenant whose collections are meant.") var tenant = TenantID.default.rawValue
    @Flag(help: "Print JSON for scripts.") var json = false
    @OptionGroup var node: NodeOptions

    /// Runs a verb on the store and, for one elsewhere, the place of a snapshot.
    func run(at place: String? = nil, _ body: (_ store: any ObjectStore, _ elsewhere: (any ObjectStore)?, TenantID) async throws -> Void) async throws {
        do {
            let tenant = try TenantID(tenant)
            try await node.withExistingStore { store in
                guard let place else { return try await body(store, nil, tenant) }
                try await node.withStore(at: place) { try await body(store, $0, tenant) }
            }
        } catch {
            FileHandle.standardError.write(Data("covey: \((error as? ClusterError)?.message ?? "\(error)")\n".utf8))
            throw ExitCode(1)
        }
    }

    func show(_ text: String, _ fields: JSONValue) { print(json ? String(decoding: fields.serialized(), as: UTF8.self) : text) }
}

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Copy collections as they are, in the store or to another place; list and delete such copies.",
        subcommands: [SnapshotMakeCommand.self, SnapshotListCommand.self, SnapshotDeleteCommand.self], defaultSubcommand: SnapshotMakeCommand.self)
}

struct SnapshotMakeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make", abstract: "Copy a collection, or all of a tenant's.",
        discussion: """
            Works on the store itself, beside a running cluster or without one. The copy holds every write that was acknowledged before it began, \
            and some of the later ones. It is opened and counted before it counts as whole. Points deleted later stay in it: erasing them means \
            deleting the snapshot. With --causal it is of one moment of all shards: with a write it holds all that was acknowledged, or could be read, \
            before that write began. Writes wait for that moment: for some requests to the store.
            """)
    @Argument(help: "The collection; none with --all.") var collection: String?
    @Flag(help: "All collections of the tenant.") var all = false
    @Flag(help: "One moment of all shards, and of all collections with --all.") var causal = false
    @Option(help: "An empty folder or s3://bucket/prefix (of the store's service) instead of the store itself.") var to: String?
    @OptionGroup var options: SnapshotOptions

    func validate() throws {
        if (collection == nil) != all { throw ValidationError("name a collection, or say --all") }
    }

    func run() async throws {
        try await options.run(at: to) { store, elsewhere, tenant in
            let names = try collection.map { [try CollectionName($0)] }
            let what: [String: JSONValue] = ["collection": .string(collection ?? "all"), "to": .string(to ?? "store")]
            let record = try await options.node.recorded("snapshot.create", tenant: tenant, what) {
                guard let elsewhere else { return try await SnapshotShelf(store: store, tenant: tenant).make(names, causal: causal) }
                return try await SnapshotWriter(source: store, tenant: tenant, target: elsewhere).write(names, id: SnapshotShelf.newID(), causal: causal)
            }
            options.show("snapshot \(to ?? record.id): \(record.summary)", record.json)
        }
    }
}

struct SnapshotListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Name the snapshots in the store, oldest first.")
    @OptionGroup var options: SnapshotOptions

    func run() async throws {
        try await options.run { store, _, tenant in
            let found = try await SnapshotShelf(store: store, tenant: tenant).list()
            if options.json { return options.show("", .array(found.map { $0.record?.json ?? ["id": .string($0.id), "whole": false] })) }
            for (id, record) in found { print("\(id)  \(record?.summary ?? "not whole: being made, or cut off")") }
        }
    }
}

struct SnapshotDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete a snapshot of the store.")
    @Argument(help: "Its name in the list.") var id: String
    @OptionGroup var options: SnapshotOptions

    func run() async throws {
        try await options.run { store, _, tenant in
            try await options.node.recorded("snapshot.delete", tenant: tenant, ["snapshot": .string(id)]) {
                try await SnapshotShelf(store: store, tenant: tenant).delete(id)
            }
            options.show("deleted \(id)", ["id": .string(id), "deleted": true])
        }
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Make collections from a snapshot, under any name and with any number of shards.",
        discussion: "Works on the store itself, beside a running cluster or without one. Nobody finds a collection before it is whole.")
    @Argument(help: "The snapshot's name in the list; none with --from.") var id: String?
    @Option(help: "A folder or s3://bucket/prefix (of the store's service) that holds a snapshot.") var from: String?
    @Option(help: "The collection in the snapshot; needed if there are several and not all are wanted.") var collection: String?
    @Option(name: .customLong("as"), help: "The new collection's name. [default: its name in the snapshot]") var name: String?
    @Option(help: "Shards of the new collection. [default: as many as it had]") var shards: Int?
    @OptionGroup var options: SnapshotOptions

    func validate() throws {
        if (id == nil) == (from == nil) { throw ValidationError("name a snapshot, or say where it is with --from") }
    }

    func run() async throws {
        if let from, !from.contains("://"), !FileManager.default.fileExists(atPath: from) { throw ValidationError("--from \(from) does not exist") }
        try await options.run(at: from) { store, elsewhere, tenant in
            let snapshot = try elsewhere ?? SnapshotShelf(store: store, tenant: tenant).snapshot(id ?? "")
            let restorer = try await SnapshotRestorer(
                snapshot: snapshot, store: store, tenant: tenant, threads: ProcessInfo.processInfo.activeProcessorCount)
            let chosen = restorer.collections.filter { collection == nil || $0.schema.name == collection }
            guard !chosen.isEmpty else { throw ConfigurationError("the snapshot has no collection \(collection ?? "")") }
            guard name == nil || chosen.count == 1 else {
                throw ConfigurationError("--as names one collection, the snapshot has \(chosen.map(\.schema.name).joined(separator: ", ")): say which with --collection")
            }
            for each in chosen {
                let name = try CollectionName(name ?? each.schema.name)
                let what: [String: JSONValue] = ["collection": .string(name.rawValue), "snapshot": .string(id ?? from ?? "")]
                let schema = try await options.node.recorded("collection.restore", tenant: tenant, what) {
                    try await restorer.restore(each, as: name, shardCount: shards)
                }
                options.show(
                    "\(schema.name): \(each.points) points in \(schema.shardCount) shards",
                    ["collection": .string(schema.name), "points": .integer(Int64(each.points)), "shards": .integer(Int64(schema.shardCount))])
            }
        }
    }
}

extension SnapshotRecord {
    fileprivate var summary: String {
        let held = collections.map { "\($0.schema.name) (\($0.points) points, \($0.schema.shardCount) shards)" }.joined(separator: ", ")
        let time = Date(timeIntervalSince1970: TimeInterval(createdAt)).formatted(.iso8601)
        return "\(held)\(cut == nil ? "" : ", all of one moment"); \(objects.count) objects, \(byteCount) bytes; begun \(time)"
    }

    fileprivate var json: JSONValue {
        let collections = collections.map { collection -> JSONValue in
            [
                "name": .string(collection.schema.name), "points": .integer(Int64(collection.points)), "shards": .integer(Int64(collection.schema.shardCount)),
            ]
        }
        return [
            "id": .string(id), "whole": true, "tenant": .string(tenant), "created_at": .integer(createdAt), "collections": .array(collections),
            "causal": .bool(cut != nil), "objects": .integer(Int64(objects.count)), "bytes": .integer(Int64(byteCount)),
        ]
    }
}

import Coordination
import Foundation
import Hummingbird
import Model
import Sharding
import Storage

/// Qdrant's routes that make, list and delete snapshots of a collection: those of `covey snapshot`, in the store. `covey restore` brings them back.
struct QdrantSnapshotRoutes: Sendable {
    let coordinator: Coordinator
    let store: any ObjectStore
    let quota: StorageQuota

    func add(to router: Router<GatewayContext>) {
        router.get("/collections/:name/snapshots", use: list)
        router.post("/collections/:name/snapshots", use: create)
        router.delete("/collections/:name/snapshots/:snapshot", use: delete)
    }

    @Sendable private func list(_ request: Request, _ context: GatewayContext) async throws -> Response {
        try QueryParameters(request).finish()
        let name = try await collection(context)
        let found = try await snapshots(of: name, context)
        return QdrantReply.ok(.array(found.map(Self.description)), context)
    }

    @Sendable private func create(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let isCausal = try choices(request, ["wait": ["true"], "causal": ["true", "false"]])["causal"] == "true"  // not Qdrant's
        let name = try await collection(context)
        try await quota.admitSnapshot(context.call)
        let record = try await shelf(context).make([name], causal: isCausal)
        context.note["snapshot"] = .string(record.id)
        return QdrantReply.ok(Self.description(record), context)
    }

    @Sendable private func delete(_ request: Request, _ context: GatewayContext) async throws -> Response {
        _ = try choices(request, ["wait": ["true"]])
        let name = try await collection(context)
        let id = try context.parameter("snapshot")
        guard try await snapshots(of: name, context).contains(where: { $0.id == id }) else {
            throw RequestError.notFound("collection \"\(name)\" has no snapshot \"\(id.prefix(128))\"", field: "snapshot_name")
        }
        try await shelf(context).delete(id)
        return QdrantReply.ok(true, context)
    }

    private func shelf(_ context: GatewayContext) -> SnapshotShelf { SnapshotShelf(store: store, tenant: context.call.tenant) }

    /// Of a collection that exists.
    private func collection(_ context: GatewayContext) async throws -> CollectionName {
        let name = try CollectionName(context.parameter("name"))
        _ = try await coordinator.schema(of: name, context: context.call)
        return name
    }

    /// Whole snapshots that hold the collection, and none that the caller may not touch.
    private func snapshots(of name: CollectionName, _ context: GatewayContext) async throws -> [SnapshotRecord] {
        try await shelf(context).list().compactMap(\.record).filter { record in
            record.collections.contains { $0.schema.name == name.rawValue }
                && record.collections.allSatisfy { (try? CollectionName($0.schema.name)).map(context.call.scope.contains) ?? false }
        }
    }

    private static func description(_ record: SnapshotRecord) -> JSONOutput {
        let time = Date(timeIntervalSince1970: TimeInterval(record.createdAt)).formatted(.iso8601)
        return ["name": .string(record.id), "creation_time": .string(String(time.prefix(19))), "size": .integer(record.byteCount), "checksum": .null]
    }

    private func choices(_ request: Request, _ choices: [String: [String]]) throws -> [String: String] {
        var parameters = try QueryParameters(request)
        var chosen: [String: String] = [:]
        for (name, values) in choices { chosen[name] = try parameters.choice(name, of: values) }
        try parameters.finish()
        return chosen
    }
}

import Model

/// Every key of the store, in one place. All begin with four hexadecimal digits of a hash of the tenant, which spread
/// the load over a service's partitions, and then the tenant, so that erasing a tenant deletes one prefix.
///
/// | key below `<4 hex>/<tenant>/` | object |
/// | --- | --- |
/// | `names/<collection>/<version>` | the schema as JSON, or a tombstone; create-only, the highest version counts |
/// | `c/<incarnation>/schema` | the schema as JSON; create-only |
/// | `c/<incarnation>/s/<shard>/log/<position>` | one ``LogEntry``; create-only |
/// | `c/<incarnation>/s/<shard>/bulk/<position>-<name>` | one ``BulkObject``; create-only |
/// | `c/<incarnation>/s/<shard>/manifest/<max − version>` | one ``Manifest``; create-only; the newest lists first |
/// | `c/<incarnation>/s/<shard>/segment/<name>` | one segment file; create-only |
/// | `cuts/<id>` | the decision on a ``Cut``; create-only, never deleted |
/// | `files/<file>/…` | an uploaded document |
/// | `snapshots/<id>/…` | a snapshot: a store of its own |
///
/// Beside the tenants there are `erasures/…`, see ``ErasureMark``, and `cluster/<max − version>`, see ``ClusterRegistry``.
///
/// Versions and positions have 20 digits, so that their order as text is their order as numbers.
package enum StoreKey {
    /// Everything of a tenant: `<4 hex>/<tenant>/`.
    package static func tenant(_ tenant: TenantID) -> String {
        let hash = sha256(Array(tenant.rawValue.utf8))
        return "\(hex(hash.prefix(2)))/\(tenant)/"
    }

    package static func names(of tenant: TenantID) -> String { Self.tenant(tenant) + "names/" }
    package static func names(of tenant: TenantID, collection: CollectionName) -> String { names(of: tenant) + "\(collection)/" }
    package static func name(of tenant: TenantID, collection: CollectionName, version: UInt64) -> String {
        names(of: tenant, collection: collection) + twentyDigits(version)
    }

    /// Everything of one life of a collection.
    package static func collection(_ incarnation: Incarnation, of tenant: TenantID) -> String { Self.tenant(tenant) + "c/\(incarnation)/" }
    package static func schema(_ incarnation: Incarnation, of tenant: TenantID) -> String {
        collection(incarnation, of: tenant) + "schema"
    }

    package static func shard(_ shard: ShardID) -> String { collection(shard.incarnation, of: shard.tenant) + "s/\(shard.index)/" }
    package static func log(_ shard: ShardID) -> String { Self.shard(shard) + "log/" }
    package static func log(_ shard: ShardID, position: UInt64) -> String { log(shard) + twentyDigits(position) }
    package static func bulk(_ shard: ShardID) -> String { Self.shard(shard) + "bulk/" }
    package static func bulk(_ shard: ShardID, name: String) -> String { bulk(shard) + name }
    package static func manifests(_ shard: ShardID) -> String { Self.shard(shard) + "manifest/" }
    package static func manifest(_ shard: ShardID, version: UInt64) -> String { manifests(shard) + twentyDigits(.max - version) }
    package static func segments(_ shard: ShardID) -> String { Self.shard(shard) + "segment/" }
    package static func segment(_ shard: ShardID, name: String) -> String { segments(shard) + name }

    package static func files(of tenant: TenantID) -> String { Self.tenant(tenant) + "files/" }
    package static func file(_ file: String, of tenant: TenantID) -> String { files(of: tenant) + "\(file)/" }

    package static func cuts(of tenant: TenantID) -> String { Self.tenant(tenant) + "cuts/" }
    package static func cut(_ cut: Cut, of tenant: TenantID) -> String { cuts(of: tenant) + cut.idText }

    package static func snapshots(of tenant: TenantID) -> String { Self.tenant(tenant) + "snapshots/" }
    package static func snapshot(_ id: String, of tenant: TenantID) -> String { snapshots(of: tenant) + "\(id)/" }

    package static let clusterRecords = "cluster/"
    package static func clusterRecord(_ version: UInt64) -> String { clusterRecords + twentyDigits(.max - version) }

    /// The number at the end of a key, as ``log(_:position:)`` and ``name(of:collection:version:)`` write it.
    package static func number(at key: String) -> UInt64? {
        let digits = key.suffix(20)
        guard digits.utf8.count == 20, digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return UInt64(digits)
    }
    /// The version at the end of a key that counts down, as those of manifests do.
    package static func manifestVersion(at key: String) -> UInt64? { number(at: key).map { .max - $0 } }

    package static func twentyDigits(_ value: UInt64) -> String {
        let digits = String(value)
        return String(repeating: "0", count: 20 - digits.utf8.count) + digits
    }

    /// - Throws: ``StoreError/invalidKey(_:reason:)`` unless `key` keeps to the rules of ``ObjectStore``.
    package static func validate(_ key: String) throws(StoreError) {
        guard !key.isEmpty, key.utf8.count <= 1_024 else { throw .invalidKey(key, reason: "has \(key.utf8.count) bytes, allowed are 1…1024") }
        for part in key.split(separator: "/", omittingEmptySubsequences: false) {
            guard (1...254).contains(part.utf8.count) else {
                throw .invalidKey(key, reason: "has a part of \(part.utf8.count) bytes, allowed are 1…254")
            }
            guard part.utf8.first != UInt8(ascii: "."), part.utf8.allSatisfy(isAllowed) else {
                throw .invalidKey(key, reason: "may hold only a–z A–Z 0–9 _ . - between slashes, and no part may start with a dot")
            }
        }
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

import Model

/// What a key of ``StoreKey`` names, read back from its text.
package enum KeyPlace: Hashable, Sendable {
    case name(collection: String, version: UInt64)
    case schema(Incarnation)
    case shard(Incarnation, index: Int, ShardObject)
    /// - Parameter part: The key below the file's folder.
    case file(id: String, part: String)
    case cut(id: String)
    /// - Parameter part: The key within the snapshot.
    case snapshot(id: String, part: String)

    package enum ShardObject: Hashable, Sendable {
        case log(position: UInt64)
        case bulk(name: String)
        case manifest(version: UInt64)
        case segment(name: String)
    }

    /// The tenant that a key belongs to; `nil` for a key outside of any tenant's prefix.
    package static func tenant(of key: some StringProtocol) -> TenantID? {
        let parts = key.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let tenant = try? TenantID(String(parts[1])), key.hasPrefix(StoreKey.tenant(tenant)) else { return nil }
        return tenant
    }

    /// - Parameter key: One below ``StoreKey/tenant(_:)`` of `tenant`; `nil` for what Covey puts nowhere.
    package init?(_ key: String, of tenant: TenantID) {
        let parts = key.dropFirst(StoreKey.tenant(tenant).count).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch parts.first {
        case "names":
            guard parts.count == 3, parts[2].utf8.count == 20, let version = StoreKey.number(at: parts[2]) else { return nil }
            self = .name(collection: parts[1], version: version)
        case "files":
            guard parts.count >= 3 else { return nil }
            self = .file(id: parts[1], part: parts[2...].joined(separator: "/"))
        case "cuts":
            guard parts.count == 2, parts[1].utf8.count == 32, parts[1].utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) }) else { return nil }
            self = .cut(id: parts[1])
        case "snapshots":
            guard parts.count >= 3 else { return nil }
            self = .snapshot(id: parts[1], part: parts[2...].joined(separator: "/"))
        case "c":
            guard parts.count >= 3, let incarnation = Incarnation(parts[1]) else { return nil }
            if parts.count == 3, parts[2] == "schema" {
                self = .schema(incarnation)
                return
            }
            guard parts.count == 6, parts[2] == "s", let index = Int(parts[3]), "\(index)" == parts[3], index >= 0 else { return nil }
            guard let object = ShardObject(kind: parts[4], name: parts[5]) else { return nil }
            self = .shard(incarnation, index: index, object)
        default: return nil
        }
    }
}

extension KeyPlace.ShardObject {
    fileprivate init?(kind: String, name: String) {
        let number = name.utf8.count == 20 ? StoreKey.number(at: name) : nil
        switch kind {
        case "log":
            guard let number else { return nil }
            self = .log(position: number)
        case "manifest":
            guard let number else { return nil }
            self = .manifest(version: .max - number)
        case "bulk":
            guard BulkRecord.position(of: name) != nil else { return nil }
            self = .bulk(name: name)
        case "segment": self = .segment(name: name)
        default: return nil
        }
    }
}

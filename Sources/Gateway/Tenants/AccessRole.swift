import Model

/// What a key may do; each role includes the one before it.
package enum AccessRole: String, Sendable, CaseIterable, Comparable {
    /// Search, read, list, ask, embed.
    case read
    /// And write and delete points, files and documents.
    case write
    /// And make, change, split, merge, snapshot and drop collections.
    case admin

    package static func < (a: AccessRole, b: AccessRole) -> Bool { a.rank < b.rank }
    private var rank: Int { Self.allCases.firstIndex(of: self)! }
}

/// What a call does to a tenant's data: the role that it takes, and the word under which the audit log has it.
package struct RouteRule: Sendable {
    package let role: AccessRole
    /// `nil`: not recorded.
    package let event: String?
    /// Names in the path, decoded: `collection` → `docs`.
    package let object: [(name: String, value: String)]

    /// Every call but GET that the API has. What is not here takes ``AccessRole/admin``, so a route that is forgotten is closed, not open.
    private static let table: [(method: String, path: String, role: AccessRole, event: String?)] = [
        ("PUT", "/collections/:collection", .admin, "collection.create"),
        ("PATCH", "/collections/:collection", .admin, "collection.update"),
        ("DELETE", "/collections/:collection", .admin, "collection.drop"),
        ("POST", "/collections/:collection/shards/:shard/split", .admin, "shard.split"),
        ("POST", "/collections/:collection/shards/:shard/merge", .admin, "shard.merge"),
        ("PUT", "/collections/:collection/index", .write, nil),
        ("DELETE", "/collections/:collection/index/:field", .write, nil),
        ("POST", "/collections/:collection/snapshots", .admin, "snapshot.create"),
        ("DELETE", "/collections/:collection/snapshots/:snapshot", .admin, "snapshot.delete"),
        ("PUT", "/collections/:collection/points", .write, nil),
        ("POST", "/collections/:collection/points/delete", .write, "points.delete"),
        ("POST", "/collections/:collection/points", .read, nil),
        ("POST", "/collections/:collection/points/query", .read, nil),
        ("POST", "/collections/:collection/points/query/batch", .read, nil),
        ("POST", "/collections/:collection/points/scroll", .read, nil),
        ("POST", "/collections/:collection/points/count", .read, nil),
        ("POST", "/v1/vector_stores", .admin, "collection.create"),
        ("POST", "/v1/vector_stores/:collection", .admin, "collection.update"),
        ("DELETE", "/v1/vector_stores/:collection", .admin, "collection.drop"),
        ("POST", "/v1/vector_stores/:collection/files", .write, nil),
        ("DELETE", "/v1/vector_stores/:collection/files/:file", .write, "document.delete"),
        ("POST", "/v1/vector_stores/:collection/search", .read, nil),
        ("POST", "/v1/files", .write, nil),
        ("DELETE", "/v1/files/:file", .write, "file.delete"),
        ("POST", "/v1/embeddings", .read, nil),
        ("POST", "/v1/chat/completions", .read, nil),
    ]
    private static let rules = table.map { (method: $0.method, parts: $0.path.split(separator: "/"), role: $0.role, event: $0.event) }

    /// - Parameter path: As it came, not decoded; the router cuts it at the same slashes.
    package init(method: String, path: String) {
        let parts = path.split(separator: "/")
        for rule in Self.rules where rule.method == method && rule.parts.count == parts.count {
            guard zip(rule.parts, parts).allSatisfy({ $0.hasPrefix(":") || $0 == $1 }) else { continue }
            role = rule.role
            event = rule.event
            object = zip(rule.parts, parts).filter { $0.0.hasPrefix(":") }.map { (String($0.dropFirst()), $1.removingPercentEncoding ?? String($1)) }
            return
        }
        role = method == "GET" || method == "HEAD" ? .read : .admin
        event = nil
        object = []
    }
}

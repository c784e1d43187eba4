import Foundation
import Gateway
import Model
import Yams

/// The file of tenants: their keys, and how much each may take. See docs/security.md.
///
///     limits: {requests_per_second: 50}
///     tenants:
///       - name: acme
///         limits: {requests_per_second: 200, points: 10000000}
///         keys:
///           - {name: backend, sha256: 2bb8…, role: write, collections: [docs, "logs-*"], expires: 2026-12-31}
struct TenantsFile {
    let contents: TenantDirectory.Contents

    /// - Parameter fixed: Keys that are good besides, those of the settings.
    /// - Throws: ``ConfigurationError`` that names the line.
    init(_ text: String, file: String, fixed: [KeyRing.Key]) throws {
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch { throw ConfigurationError("\(file) is not YAML: \(error)") }
        let top = try Section(root ?? Node.mapping(Node.Mapping([])), ["limits", "tenants"], place: file, what: "the file", file)
        let defaults = try top["limits"].map { try Self.limits($0, file) } ?? TenantLimits()
        var keys = fixed
        var limits: [TenantID: TenantLimits] = [:]
        var seen: Set<TenantID> = []
        guard let tenants = top["tenants"] else { throw ConfigurationError("\(file) has no tenants") }
        for item in try Self.list(tenants, "tenants", file) {
            let place = Self.place(item, file)
            let fields = try Section(item, ["name", "keys", "limits"], place: place, what: "a tenant", file)
            let name = try fields.text("name")
            let tenant: TenantID
            do throws(ClusterError) { tenant = try TenantID(name) } catch { throw ConfigurationError("\(place): \(error.message)") }
            guard seen.insert(tenant).inserted else { throw ConfigurationError("\(place): tenant \(tenant) stands twice") }
            if let own = fields["limits"] { limits[tenant] = try Self.limits(own, file) }
            var names: Set<String> = []
            for item in try fields["keys"].map({ try Self.list($0, "keys", file) }) ?? [] {
                let key = try Self.key(item, of: tenant, file)
                guard names.insert(key.name).inserted else { throw ConfigurationError("\(Self.place(item, file)): tenant \(tenant) has two keys called \(key.name)") }
                keys.append(key)
            }
        }
        do throws(ClusterError) {
            contents = TenantDirectory.Contents(keys: try KeyRing(keys), limits: limits, defaults: defaults)
        } catch { throw ConfigurationError("\(file): \(error.message)") }
    }

    private static func key(_ item: Node, of tenant: TenantID, _ file: String) throws -> KeyRing.Key {
        let place = place(item, file)
        let fields = try Section(item, ["name", "sha256", "role", "collections", "operator", "expires"], place: place, what: "a key", file)
        let name = try fields.text("name")
        guard (1...64).contains(name.utf8.count) else { throw ConfigurationError("\(place): a key's name must have 1 to 64 bytes, found \(name.utf8.count)") }
        let word = try fields.text("role", or: AccessRole.admin.rawValue)
        guard let role = AccessRole(rawValue: word) else {
            throw ConfigurationError("\(place): role must be one of \(AccessRole.allCases.map(\.rawValue).joined(separator: ", ")), found \"\(word)\"")
        }
        let isOperator = try fields.text("operator", or: "false")
        guard ["true", "false"].contains(isOperator) else { throw ConfigurationError("\(place): operator must be true or false, found \"\(isOperator)\"") }
        let collections = try fields.item("collections").map { try Self.scope($0, file) } ?? .all
        guard isOperator == "false" || collections == .all else {
            throw ConfigurationError("\(place): a key that is bound to collections cannot be an operator's, which reads figures of all tenants")
        }
        let end = try fields.text("expires", or: "")
        let (digest, expiresAt) = (try fields.text("sha256"), end.isEmpty ? nil : try time(end, place))
        do throws(ClusterError) {
            return try KeyRing.Key(sha256: digest, tenant: tenant, name: name, role: role, collections: collections, isOperator: isOperator == "true", expiresAt: expiresAt)
        } catch { throw ConfigurationError("\(place): \(error.message)") }
    }

    /// - Throws: Also for a list without an item: left empty by mistake it must not mean all.
    private static func scope(_ node: Node, _ file: String) throws -> CollectionScope {
        let names = try list(node, "collections", file).map { item in
            guard let text = item.scalar?.string else { throw ConfigurationError("\(place(item, file)): each of collections wants to be text") }
            return text
        }
        do throws(ClusterError) { return try CollectionScope(names) } catch { throw ConfigurationError("\(place(node, file)): \(error.message)") }
    }

    /// A day, at whose end in UTC the key ends, or a moment: `2026-12-31`, `2026-12-31T18:00:00Z`.
    static func time(_ text: String, _ place: String) throws -> Date {
        if let day = try? Date(text, strategy: .iso8601.year().month().day()), text.utf8.count == 10 { return day.addingTimeInterval(86_400) }
        if let moment = try? Date(text, strategy: .iso8601) { return moment }
        throw ConfigurationError("\(place): expires must be like 2026-12-31 or 2026-12-31T18:00:00Z, found \"\(text)\"")
    }

    private static func limits(_ node: Node, _ file: String) throws -> TenantLimits {
        let known = [
            "requests_per_second", "burst", "concurrent_requests", "body_mib", "collections", "points", "files", "snapshots",
        ]
        let place = place(node, file)
        let fields = try Section(node, known, place: place, what: "limits", file)
        var limits = TenantLimits()
        if let text = try fields.optionalText("requests_per_second") {
            guard let rate = Double(text), rate > 0, rate <= 1e6 else {
                throw ConfigurationError("\(place): requests_per_second must be above 0 and at most 1000000, found \"\(text)\"")
            }
            limits.requestsPerSecond = rate
        }
        limits.burst = try fields.wholeNumber("burst", 1...1_000_000)
        limits.concurrentRequests = try fields.wholeNumber("concurrent_requests", 1...100_000)
        limits.bodyBytes = try fields.wholeNumber("body_mib", 1...1_024).map { $0 << 20 }
        limits.collections = try fields.wholeNumber("collections", 0...1_000_000)
        limits.points = try fields.wholeNumber("points", 0...1_000_000_000_000)
        limits.files = try fields.wholeNumber("files", 0...1_000_000_000)
        limits.snapshots = try fields.wholeNumber("snapshots", 0...1_000_000)
        return limits
    }

    private static func list(_ node: Node, _ what: String, _ file: String) throws -> [Node] {
        guard case .sequence(let items) = node else { throw ConfigurationError("\(place(node, file)): \(what) wants a list") }
        return Array(items)
    }

    fileprivate static func place(_ node: Node, _ file: String) -> String { "\(file) line \(node.mark?.line ?? 0)" }

    /// Keys and values of which no other is known.
    private struct Section {
        private let mapping: Node.Mapping
        private let place: String
        private let what: String
        private let file: String

        init(_ node: Node, _ known: [String], place: String, what: String, _ file: String) throws {
            guard case .mapping(let mapping) = node else { throw ConfigurationError("\(place): \(what) wants keys and values") }
            var seen: Set<String> = []
            for (key, _) in mapping {
                let name = key.string ?? "?"
                guard known.contains(name) else {
                    throw ConfigurationError("\(TenantsFile.place(key, file)): unknown key \(name) of \(what)\(suggestion(for: name, among: known))")
                }
                guard seen.insert(name).inserted else { throw ConfigurationError("\(TenantsFile.place(key, file)): \(name) of \(what) stands twice") }
            }
            self.mapping = mapping
            self.place = place
            self.what = what
            self.file = file
        }

        subscript(name: String) -> Node? {
            guard let value = mapping[Node(name)], value.null == nil else { return nil }
            return value
        }

        /// The same, also if nothing stands behind the name.
        func item(_ name: String) -> Node? { mapping[Node(name)] }

        func optionalText(_ name: String) throws -> String? {
            guard let value = self[name] else { return nil }
            guard let text = value.scalar?.string else { throw ConfigurationError("\(TenantsFile.place(value, file)): \(name) wants one value") }
            return text
        }

        func text(_ name: String, or fallback: String? = nil) throws -> String {
            guard let text = try optionalText(name) ?? fallback else { throw ConfigurationError("\(place): \(what) has no \(name)") }
            return text
        }

        func wholeNumber(_ name: String, _ range: ClosedRange<Int>) throws -> Int? {
            guard let text = try optionalText(name) else { return nil }
            guard let number = Int(text), range.contains(number) else {
                throw ConfigurationError("\(place): \(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), found \"\(text)\"")
            }
            return number
        }
    }
}

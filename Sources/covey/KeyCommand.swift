import ArgumentParser
import Foundation
import Gateway
import Model
import Storage

/// Makes an API key. Only its hash goes into the configuration; the key itself is shown once.
struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make an API key for a tenant, and the line that the configuration needs.",
        discussion: """
            The key is printed once and stored nowhere. What is stored is its SHA-256: under `keys` in the configuration, or in the file that \
            tenants.file names, where it also has a name, a role and an end and is taken up without a restart.
            """)

    @Option(help: "The tenant that the key names.") var tenant: String
    @Option(help: "What the audit log calls the key; with it the line is one for tenants.file.") var name: String?
    @Option(help: "read, write or admin: what the key may do.") var role = AccessRole.admin.rawValue
    @Option(help: "Names of collections that it is bound to, and beginnings of names with * behind, with commas between.") var collections: String?
    @Option(help: "Until when, as 2026-12-31 or 2026-12-31T18:00:00Z.") var expires: String?
    @Flag(name: .customLong("operator"), help: "The key may also read /metrics.") var isOperator = false
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        guard AccessRole(rawValue: role) != nil else { throw ValidationError("--role must be one of \(AccessRole.allCases.map(\.rawValue).joined(separator: ", "))") }
        do { if let expires { _ = try TenantsFile.time(expires, "--expires") } } catch { throw ValidationError("\(error)") }
        do { _ = try scope } catch { throw ValidationError("--collections: \(error.message)") }
        guard !isOperator || collections == nil else { throw ValidationError("an --operator's key cannot be bound to --collections") }
        guard name != nil || (expires == nil && collections == nil && role == AccessRole.admin.rawValue) else { throw ValidationError("--role, --collections and --expires need a --name: they are for tenants.file") }
    }

    private var scope: CollectionScope {
        get throws(ClusterError) { try collections.map { text throws(ClusterError) in try CollectionScope(text.split(separator: ",").map(String.init)) } ?? .all }
    }

    func run() async throws {
        let tenant = try TenantID(tenant)
        // 32 bytes from the system's generator: nothing to guess, so a plain hash is enough to store.
        let secret = (0..<4).map { _ in fixedHex(.random(in: 0...UInt64.max)) }.joined()
        let key = "covey-\(secret)"
        let digest = hex(sha256(Array(key.utf8)))
        if json {
            var fields: [String: JSONValue] = ["tenant": .string(tenant.rawValue), "key": .string(key), "sha256": .string(digest)]
            if let name { fields["name"] = .string(name) }
            if let expires { fields["expires"] = .string(expires) }
            fields["role"] = .string(role)
            if let patterns = try scope.patterns { fields["collections"] = .array(patterns.map(JSONValue.string)) }
            fields["operator"] = .bool(isOperator)
            print(String(decoding: JSONValue.object(fields).serialized(), as: UTF8.self))
            return
        }
        print("key for the client:   \(key)")
        if let name {
            let end = expires.map { ", expires: \($0)" } ?? ""
            let bound = try scope.patterns.map { ", collections: [\($0.map { "\"\($0)\"" }.joined(separator: ", "))]" } ?? ""
            print("in tenants.file, under tenant \(tenant): {name: \(name), sha256: \(digest), role: \(role)\(bound)\(isOperator ? ", operator: true" : "")\(end)}")
        } else {
            print("in the configuration: keys: [{tenant: \(tenant), sha256: \(digest)\(isOperator ? ", operator: true" : "")}]")
        }
    }
}

import Foundation
import Gateway
import Logging
import Model

/// All settings, typed and checked; made once, at start.
struct Configuration: Sendable {
    struct Address: Hashable, Sendable, CustomStringConvertible {
        var host: String
        var port: Int
        var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
        var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
    }

    enum Role: String, CaseIterable, Sendable { case coordinator, shard, generator }

    struct Node: Hashable, Sendable {
        var name: String
        var role: Role
        var address: Address
        /// A shard node's share of the shards relative to the others'.
        var weight = 1.0
        /// What fails together with it; `nil`: nothing.
        var zone: String?
    }

    struct Key: Hashable, Sendable {
        var tenant: TenantID
        /// 64 hexadecimal digits.
        var sha256: String
        var isOperator: Bool
    }

    let values: SettingValues
    let nodes: [Node]
    let keys: [Key]

    init(file: String?, environment: [String: String], flags: [String]) throws {
        values = try SettingValues(file: file, environment: environment, flags: flags)
        nodes = try Configuration.parseNodes(values["nodes"], isSecure: !values["tls.certificate"].text.isEmpty)
        keys = try Configuration.parseKeys(values["keys"])
        for setting in Setting.all { try check(setting) }
        let gateway = try address("gateway.address")
        guard gateway.isLoopback || !keys.isEmpty || !text("tenants.file").isEmpty else {
            throw ConfigurationError(
                "gateway.address \(gateway) reaches beyond this machine: set keys or tenants.file first (`covey key` makes a key), or bind to 127.0.0.1")
        }
        _ = try trustedProxies()
        guard number("gateway.address_burst") == 0 || number("gateway.address_requests_per_second") > 0 else {
            throw ConfigurationError(
                "gateway.address_burst (\(values["gateway.address_burst"].origin)) is \(number("gateway.address_burst")), but gateway.address_requests_per_second is 0: without a rate there is no burst")
        }
        guard text("store.path") != "" else { throw ConfigurationError("store.path is empty") }
    }

    func text(_ key: String) -> String { values[key].text }

    /// A whole number that ``check(_:)`` has seen to be one.
    func number(_ key: String) -> Int { Int(values[key].text) ?? 0 }

    /// `shard.commit_interval_ms`, or what suits the store.
    var commitInterval: Int {
        let isAmazon = text("store.path").hasPrefix("s3://") && text("store.endpoint").isEmpty
        return isAmazon && values["shard.commit_interval_ms"].origin == "default" ? 250 : number("shard.commit_interval_ms")
    }

    func address(_ key: String) throws -> Address { try Configuration.parseAddress(values[key].text, of: "\(key) (\(values[key].origin))") }

    func trustedProxies() throws -> [IPAddressRange] {
        let entry = values["gateway.trusted_proxies"]
        return try entry.text.split(separator: ",").map { word in
            do throws(ClusterError) { return try IPAddressRange(word.trimmingCharacters(in: .whitespaces)) } catch {
                throw ConfigurationError("gateway.trusted_proxies (\(entry.origin)): \(error.message)")
            }
        }
    }

    var logLevel: Logger.Level { Logger.Level(rawValue: text("log.level")) ?? .info }

    /// The node that this process is.
    func node(role: Role) throws -> Node {
        let name = text("node")
        let candidates = nodes.filter { $0.role == role && (name.isEmpty || $0.name == name) }
        if candidates.count == 1 { return candidates[0] }
        if candidates.isEmpty {
            let known = nodes.filter { $0.role == role }.map(\.name).joined(separator: ", ")
            throw ConfigurationError(
                "nodes names no \(role.rawValue)\(name.isEmpty ? "" : " called \(name)"); it has \(known.isEmpty ? "none of this role" : known)")
        }
        throw ConfigurationError("several nodes are \(role.rawValue)s: say which with --node \(candidates.map(\.name).joined(separator: "|"))")
    }

    func nodes(role: Role) -> [Node] { nodes.filter { $0.role == role } }

    private func check(_ setting: Setting) throws {
        let entry = values[setting.key]
        switch setting.kind {
        case .text, .words, .nodes, .keys: break
        case .address: _ = try address(setting.key)
        case .wholeNumber(let range):
            guard let number = Int(entry.text), range.contains(number) else {
                throw ConfigurationError(
                    "\(setting.key) (\(entry.origin)) must be a whole number from \(range.lowerBound) to \(range.upperBound), found \"\(entry.text)\"")
            }
        case .choice(let words):
            guard words.contains(entry.text) else {
                throw ConfigurationError("\(setting.key) (\(entry.origin)) must be one of \(words.joined(separator: ", ")), found \"\(entry.text)\"")
            }
        }
    }

    /// Where nodes call each other: beyond loopback only in TLS.
    func nodeAddress(_ text: String, of what: String) throws -> Address { try Self.parseNodeAddress(text, of: what, isSecure: isSecure) }

    /// Whether calls between nodes are encrypted and authenticated.
    private var isSecure: Bool { !text("tls.certificate").isEmpty }

    private static func parseNodeAddress(_ text: String, of what: String, isSecure: Bool) throws -> Address {
        let address = try parseAddress(text, of: what)
        guard address.isLoopback || isSecure else {
            throw ConfigurationError(
                "\(what): \(address) is beyond loopback, where calls between nodes must be encrypted and authenticated: set tls.certificate, tls.key and tls.authority")
        }
        return address
    }

    private static func parseNodes(_ entry: SettingValues.Entry, isSecure: Bool) throws -> [Node] {
        var nodes: [Node] = []
        for item in entry.text.split(separator: ",") {
            let nameAndRest = item.split(separator: "=", maxSplits: 1)
            let roleAndAddress = nameAndRest.count == 2 ? nameAndRest[1].split(separator: "@", maxSplits: 1) : []
            guard roleAndAddress.count == 2 else {
                throw ConfigurationError("nodes (\(entry.origin)): expected name=role@host:port, found \"\(item)\"")
            }
            let name = String(nameAndRest[0])
            guard let role = Role(rawValue: String(roleAndAddress[0])) else {
                let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
                throw ConfigurationError("nodes (\(entry.origin)): role of \(name) must be one of \(known), found \"\(roleAndAddress[0])\"")
            }
            let (addressText, options) = split(roleAndAddress[1])
            let address = try parseNodeAddress(addressText, of: "address of node \(name) (\(entry.origin))", isSecure: isSecure)
            guard !nodes.contains(where: { $0.name == name }) else { throw ConfigurationError("nodes (\(entry.origin)): \(name) stands twice") }
            if let other = nodes.first(where: { $0.address == address && address.port != 0 }) {
                throw ConfigurationError("nodes (\(entry.origin)): \(name) and \(other.name) have the same address \(address)")
            }
            var node = Node(name: name, role: role, address: address)
            for (key, value) in options {
                guard role == .shard else { throw ConfigurationError("nodes (\(entry.origin)): \(name) has a \(key), which only shard nodes have") }
                switch key {
                case "zone":
                    guard (1...64).contains(value.utf8.count) else {
                        throw ConfigurationError("nodes (\(entry.origin)): zone of \(name) must have 1 to 64 bytes, found \"\(value)\"")
                    }
                    node.zone = value
                case "weight":
                    guard let weight = Double(value), weight > 0, weight <= 1_000 else {
                        throw ConfigurationError("nodes (\(entry.origin)): weight of \(name) must be above 0 and at most 1000, found \"\(value)\"")
                    }
                    node.weight = weight
                default: throw ConfigurationError("nodes (\(entry.origin)): unknown \(key) of \(name); known: weight, zone")
                }
            }
            nodes.append(node)
        }
        return nodes
    }

    /// `host:port;weight=2;zone=a`.
    private static func split(_ text: Substring) -> (address: String, options: [(String, String)]) {
        let parts = text.split(separator: ";", omittingEmptySubsequences: false)
        return (
            String(parts[0]),
            parts.dropFirst().map { part in
                let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(pair[0]), pair.count == 2 ? String(pair[1]) : "")
            }
        )
    }

    private static func parseKeys(_ entry: SettingValues.Entry) throws -> [Key] {
        var keys: [Key] = []
        for item in entry.text.split(separator: ",") {
            let parts = item.split(separator: ":").map(String.init)
            guard parts.count == 2 || (parts.count == 3 && parts[2] == "operator"), parts[1].utf8.count == 64, parts[1].allSatisfy(\.isHexDigit) else {
                throw ConfigurationError("keys (\(entry.origin)): expected tenant:sha256 with 64 hexadecimal digits; `covey key` prints such a line")
            }
            do { keys.append(Key(tenant: try TenantID(parts[0]), sha256: parts[1], isOperator: parts.count == 3)) } catch {
                throw ConfigurationError("keys (\(entry.origin)): \(error)")
            }
        }
        return keys
    }

    static func parseAddress(_ text: String, of what: String) throws -> Address {
        let colon = text.lastIndex(of: ":")
        guard let colon, let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port), colon > text.startIndex else {
            throw ConfigurationError("\(what) must be host:port with a port from 0 to 65535, found \"\(text)\"")
        }
        let host = text[..<colon].trimmingPrefix("[")
        return Address(host: String(host.hasSuffix("]") ? host.dropLast() : host), port: port)
    }
}

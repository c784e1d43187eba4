import Logging
import Model
import Observability
import ServiceLifecycle
import TLS

/// The certificates that the settings name: of a node, for calls between nodes, and of the public API.
struct TLSSetup: Sendable {
    /// `nil`: calls between nodes are in plaintext.
    let nodes: TLSIdentity?
    /// `nil`: the public API is http.
    let gateway: TLSIdentity?
    private let domain: String
    /// Names that a node lets in whatever the cluster's record says.
    private let names: Set<String>

    /// What an operator's verbs that call nodes are called, where they are no node: a name that every node lets in.
    static let operatorName = "operator"

    /// - Parameters:
    ///   - node: The node that this process is; `nil` where it calls no other and none calls it.
    ///   - isServed: Whether others call this process: then its certificate must have its name.
    /// - Throws: ``ConfigurationError`` for a setting that is missing beside others, or a file that is unfit.
    init(_ configuration: Configuration, node: String?, isServed: Bool = true) throws {
        domain = configuration.text("tls.domain")
        let further = configuration.text("tls.names").split(separator: ",").map { String($0.trimmingPrefix(" ")) }
        names = Set(further + (domain.isEmpty ? configuration.nodes.map(\.name) + [Self.operatorName] : [".\(domain)"]))
        gateway = !isServed ? nil : try Self.identity(
            configuration, ["gateway.tls.certificate", "gateway.tls.key"], "gateway.tls.minimum_version", node: node ?? "serve")
        guard let node else {
            nodes = nil
            return
        }
        nodes = try Self.identity(configuration, ["tls.certificate", "tls.key", "tls.authority"], "tls.minimum_version", node: node, names: names)
        // What the others would say at the first call.
        let own = nodes?.context(.server).names ?? []
        guard nodes == nil || !isServed || own.contains(where: { $0.lowercased() == certificateName(node).lowercased() }) else {
            let names = own.isEmpty ? "no name" : own.joined(separator: ", ")
            throw ConfigurationError(
                "tls.certificate \(configuration.text("tls.certificate")) is for \(names), and the other nodes expect \(certificateName(node)) of this one")
        }
    }

    /// Lets nodes of these names in, beside those of the configuration; with a domain they are anyway.
    func accept(_ members: [String]) throws(TLSConfigurationError) {
        if domain.isEmpty { try nodes?.accept(names.union(members)) }
    }

    /// The DNS name that the certificate of a node must have.
    func certificateName(_ node: String) -> String { domain.isEmpty ? node : "\(node).\(domain)" }

    private static func identity(
        _ configuration: Configuration, _ files: [String], _ minimumVersion: String, node: String, names: Set<String> = []
    ) throws -> TLSIdentity? {
        let given = files.filter { !configuration.text($0).isEmpty }
        if given.isEmpty { return nil }
        if let missing = files.first(where: { !given.contains($0) }) {
            throw ConfigurationError("\(missing) is missing: it goes together with \(given[0])")
        }
        var settings = TLSSettings(
            certificateFile: configuration.text(files[0]).replacing("{node}", with: node),
            keyFile: configuration.text(files[1]).replacing("{node}", with: node),
            authorityFile: files.count > 2 ? configuration.text(files[2]) : nil, protocols: ["h2", "http/1.1"])
        settings.names = names
        settings.minimumVersion = TLSSettings.Version(rawValue: configuration.text(minimumVersion)) ?? .tls13
        do throws(TLSConfigurationError) { return try TLSIdentity(settings) } catch { throw ConfigurationError("\(files[0]): \(error)") }
    }

    // MARK: Reload

    /// Takes certificates that have changed in their files; an unfit one is logged, and the one before it goes on.
    func reload(_ metrics: Metrics, _ logger: Logger) {
        for (use, identity) in [("nodes", nodes), ("gateway", gateway)] {
            guard let identity else { continue }
            do throws(TLSConfigurationError) {
                if try identity.reload() { report("certificate changed", use, identity, metrics, logger) }
            } catch {
                logger.error("changed certificate not taken; the one before goes on", metadata: ["use": "\(use)", "reason": "\(error)"])
            }
        }
    }

    func report(_ metrics: Metrics, _ logger: Logger) {
        for (use, identity) in [("nodes", nodes), ("gateway", gateway)] {
            if let identity { report("certificate", use, identity, metrics, logger) }
        }
    }

    private func report(_ event: Logger.Message, _ use: String, _ identity: TLSIdentity, _ metrics: Metrics, _ logger: Logger) {
        let context = identity.context(.server)
        metrics.gauge(
            "covey_tls_certificate_end_seconds", help: "When this node's certificate ends, in seconds since 1970.", labels: [("use", use)]
        ).set(Double(context.expiresAt))
        logger.info(event, metadata: ["use": "\(use)", "names": "\(context.names.joined(separator: ", "))", "ends": "\(context.endTime)"])
    }
}

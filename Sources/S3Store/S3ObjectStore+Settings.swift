import OutboundHTTP
import Storage

extension S3ObjectStore {
    /// What of the bucket's settings is at odds with the store, in an operator's words: versions, locks and copies elsewhere keep what was erased, and a rule that ends objects would end
    /// those of the log. Four requests; what the service does not know, or the credentials may not ask, is left out.
    package func bucketWarnings() async -> [String] {
        var warnings: [String] = []
        let bucket = "the bucket \(configuration.bucket)"
        switch await setting("versioning")?.text("Status") {
        case "Enabled": warnings.append("\(bucket) keeps old versions of its objects: what is erased stays in them")
        case "Suspended": warnings.append("\(bucket) kept old versions of its objects until that was suspended: what was erased may stay in them")
        default: break
        }
        if await setting("object-lock")?.text("ObjectLockEnabled") == "Enabled" {
            warnings.append("\(bucket) may lock objects: what is locked cannot be erased")
        }
        if let rules = await setting("replication")?.all("Rule"), rules.contains(where: isOurs) {
            warnings.append("\(bucket) is copied to another: what is erased stays there, unless deletions are copied too")
        }
        for rule in await setting("lifecycle")?.all("Rule") ?? [] where isOurs(rule) && rule.first("Expiration").map({ $0.first("Days") != nil || $0.first("Date") != nil }) ?? false {
            warnings.append("\(bucket) has a lifecycle rule\(rule.text("ID").map { " \"\($0)\"" } ?? "") that ends objects of the store: DATA WILL BE LOST; take it away, or bind it to another prefix")
        }
        return warnings
    }

    /// A part of the bucket's configuration; `nil` if there is none, or nobody says.
    private func setting(_ name: String) async -> XMLElement? {
        guard let reply = try? await client.send(S3Request(method: .get, object: nil, query: [(name, "")])) else { return nil }
        return XMLElement(decoding: reply.body)
    }

    /// Whether a rule that is on may be for objects of the store, which have no tags.
    private func isOurs(_ rule: XMLElement) -> Bool {
        guard rule.text("Status") == "Enabled" else { return false }
        let filter = rule.first("Filter")
        guard filter?.first("Tag") == nil, filter?.first("And")?.first("Tag") == nil else { return false }
        let prefix = rule.text("Prefix") ?? filter?.text("Prefix") ?? filter?.first("And")?.text("Prefix") ?? ""
        let own = configuration.prefix.isEmpty ? "" : configuration.prefix + "/"
        return prefix.hasPrefix(own) || own.hasPrefix(prefix)
    }
}

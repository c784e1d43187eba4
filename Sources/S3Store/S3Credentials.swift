/// Who asks. Its description does not show the secret.
package struct S3Credentials: Hashable, Sendable, CustomStringConvertible {
    package var accessKey: String
    package var secretKey: String
    /// Of temporary credentials.
    package var sessionToken: String?

    package init(accessKey: String, secretKey: String, sessionToken: String? = nil) {
        self.accessKey = accessKey
        self.secretKey = secretKey
        self.sessionToken = sessionToken
    }

    package var description: String { "access key \(accessKey)" }

    /// The profile of a shared credentials file (`~/.aws/credentials`): sections `[profile]`, lines `name = value`, `#` or `;` before a comment.
    ///
    /// - Throws: ``S3ConfigurationError`` if the profile or one of its two keys is missing.
    package init(sharedFile text: String, profile: String) throws(S3ConfigurationError) {
        var values: [String: String] = [:]
        var isInside = false
        var found = false
        for line in text.split(whereSeparator: \.isNewline) {
            let line = trimmed(line)
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("["), line.hasSuffix("]") {
                isInside = trimmed(line.dropFirst().dropLast()) == profile
                found = found || isInside
            } else if isInside, let equals = line.firstIndex(of: "=") {
                values[trimmed(line[..<equals]).lowercased()] = String(trimmed(line[line.index(after: equals)...]))
            }
        }
        guard found else { throw .init("has no profile [\(profile)]") }
        guard let accessKey = values["aws_access_key_id"], let secretKey = values["aws_secret_access_key"], !accessKey.isEmpty, !secretKey.isEmpty else {
            throw .init("profile [\(profile)] wants aws_access_key_id and aws_secret_access_key")
        }
        self.init(accessKey: accessKey, secretKey: secretKey, sessionToken: values["aws_session_token"])
    }
}

private func trimmed(_ text: Substring) -> Substring {
    var text = text
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
}

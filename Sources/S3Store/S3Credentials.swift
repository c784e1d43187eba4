import Foundation

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
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("["), line.hasSuffix("]") {
                isInside = line.dropFirst().dropLast().trimmingCharacters(in: .whitespaces) == profile
                found = found || isInside
            } else if isInside, let equals = line.firstIndex(of: "=") {
                values[line[..<equals].trimmingCharacters(in: .whitespaces).lowercased()] = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
            }
        }
        guard found else { throw .init("has no profile [\(profile)]") }
        guard let accessKey = values["aws_access_key_id"], let secretKey = values["aws_secret_access_key"], !accessKey.isEmpty, !secretKey.isEmpty else {
            throw .init("profile [\(profile)] wants aws_access_key_id and aws_secret_access_key")
        }
        self.init(accessKey: accessKey, secretKey: secretKey, sessionToken: values["aws_session_token"])
    }
}

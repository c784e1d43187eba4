/// What one side of TLS connections shows, trusts and accepts.
package struct TLSSettings: Hashable, Sendable {
    package enum Version: String, CaseIterable, Sendable {
        case tls12 = "1.2"
        case tls13 = "1.3"
    }

    /// PEM file: this side's certificate, then those between it and its authority.
    package var certificateFile: String
    /// PEM file: the certificate's key, not encrypted.
    package var keyFile: String
    /// PEM file: who may sign peers' certificates. With one every peer must show a certificate and have one of ``names``; without one
    /// nobody is asked.
    package var authorityFile: String?
    /// Names of peers that are accepted, as DNS names of their certificates. One that begins with a dot stands for all names of one more label.
    package var names: Set<String> = []
    /// Least version. Default: 1.2, the oldest that is still sound.
    package var minimumVersion: Version = .tls12
    /// Protocols over TLS, the preferred one first, as ALPN has them.
    package var protocols: [String]

    package init(certificateFile: String, keyFile: String, authorityFile: String? = nil, protocols: [String]) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.authorityFile = authorityFile
        self.protocols = protocols
    }
}

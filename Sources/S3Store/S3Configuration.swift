import Storage

/// Which bucket, at which service, with which patience.
package struct S3Configuration: Sendable {
    /// How a request names the bucket.
    package enum Addressing: String, CaseIterable, Sendable {
        /// `https://host/bucket/key`.
        case path
        /// `https://bucket.host/key`.
        case virtualHost = "virtual-host"
    }

    /// `http` or `https`, a host, maybe a port; no path.
    package var endpoint: String
    package var bucket: String
    /// Keys of the store lie below it, as `prefix/key`; empty for the whole bucket.
    package var prefix: String
    /// Default: `us-east-1`, which services other than Amazon's take for granted.
    package var region = "us-east-1"
    /// Default: path, which every service has; virtual-host wants a name in DNS for each bucket.
    package var addressing = Addressing.path
    package var credentials: S3Credentials
    /// Reads them where they came from, for a service that no longer takes those at hand: temporary ones end, and others are written in their place. `nil`
    /// if they cannot change while the process runs.
    package var readCredentials: (@Sendable () throws -> S3Credentials)?

    /// Time for name look-up, TCP and TLS. Default: 2 s: two attempts of TCP; a network that is whole again is used soon.
    package var connectTimeout: Duration = .seconds(2)
    /// Time for one attempt at a request. Default: 30 s: SeaweedFS stands still for 20 s when it elects a new master.
    package var timeout: Duration = .seconds(30)
    /// Attempts at a request, the first included. Default: 5, which with their pauses outlast a restart of a server.
    package var attempts = 5
    /// Bound of the first pause; it doubles, and a pause lasts a random part of it. Default: 100 ms.
    package var firstPause: Duration = .milliseconds(100)
    /// Default: 3 s.
    package var longestPause: Duration = .seconds(3)
    /// Requests at the same time; more wait in line. Default: 32: group commit, searches that open and a seal together need no more.
    package var connections = 32
    /// Files of more bytes are put in parts, and read in pieces, of so many, which is what is held in memory. Default: 16 MiB.
    package var partBytes = 16 << 20
    /// A PEM file of trusted authorities in place of the system's.
    package var certificateAuthorityFile: String?

    /// Folder of the cache of large objects, for this process alone.
    package var cacheFolder: String
    /// Bytes of large objects kept there; those in use stay even beyond. Default: 10 GiB.
    package var cacheBytes = 10 << 30

    package init(endpoint: String, bucket: String, prefix: String, credentials: S3Credentials, cacheFolder: String) {
        self.endpoint = endpoint
        self.bucket = bucket
        self.prefix = prefix
        self.credentials = credentials
        self.cacheFolder = cacheFolder
    }

    /// Bucket and prefix of `s3://bucket/prefix`.
    ///
    /// - Throws: ``S3ConfigurationError`` that says what is wrong with it.
    package static func parse(location: String) throws(S3ConfigurationError) -> (bucket: String, prefix: String) {
        let parts = location.dropFirst("s3://".count).split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard location.hasPrefix("s3://"), let bucket = parts.first else { throw .init("must be s3://bucket or s3://bucket/prefix, found \"\(location)\"") }
        let isName = bucket.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: ".")
        }
        guard (3...63).contains(bucket.utf8.count), isName, !bucket.hasPrefix("."), !bucket.hasPrefix("-") else {
            throw .init("names the bucket \"\(bucket)\": a bucket has 3 to 63 of a–z 0–9 . - and begins with a letter or digit")
        }
        var prefix = parts.count > 1 ? parts[1] : ""
        if prefix.hasSuffix("/") { prefix.removeLast() }
        if !prefix.isEmpty { do { try StoreKey.validate(prefix) } catch { throw .init("has a prefix that no key can have: \(error)") } }
        guard prefix.utf8.count <= 256 else { throw .init("has a prefix of \(prefix.utf8.count) bytes, the limit is 256") }
        return (bucket, prefix)
    }

    /// - Throws: ``S3ConfigurationError`` in an operator's words, beginning with the setting's name below `store`.
    package func validate() throws(S3ConfigurationError) {
        let schemes = ["http://", "https://"]
        guard let scheme = schemes.first(where: endpoint.hasPrefix), endpoint.count > scheme.count, !endpoint.dropFirst(scheme.count).contains("/") else {
            throw .init("endpoint must be http:// or https:// with a host and no path, found \"\(endpoint)\"")
        }
        guard (5 << 20...1 << 30).contains(partBytes) else { throw .init("parts of \(partBytes) bytes, allowed are 5 MiB to 1 GiB") }
        guard addressing == .path || !bucket.contains(".") || scheme == "http://" else {
            throw .init("path names the bucket \(bucket), whose dot no certificate for virtual-host addressing covers: use path addressing")
        }
        guard !credentials.accessKey.isEmpty, !credentials.secretKey.isEmpty else { throw .init("access_key or secret_key is empty") }
    }
}

/// What is wrong with the settings of an S3 store, for an operator.
package struct S3ConfigurationError: Error, Hashable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

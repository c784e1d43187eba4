import Foundation
import S3Store
import Storage

/// Opens the object store that the settings name.
struct StoreSettings {
    let configuration: Configuration
    /// Of the process: copies of an S3 store's objects go to a folder of that name.
    let node: String
    let environment: [String: String]
    /// For a verb that is over soon: copies of an S3 store's objects go there, one at a time, and are not kept.
    var passingCache: String?

    /// Where a shard node notes what it is at, for the start after its death.
    var quarantineFolder: String {
        let path = configuration.text("store.path")
        return path.contains("://") ? configuration.text("store.cache_path") + "/" + node + ".quarantine" : path + "/.quarantine/" + node
    }

    /// - Parameter path: In place of `store.path`.
    /// - Throws: ``ConfigurationError``; an S3 store was tried out first, and is refused if it would lose writes.
    func open(_ path: String? = nil) async throws -> any ObjectStore {
        let path = path ?? configuration.text("store.path")
        guard path.contains("://") else {
            do { return try LocalObjectStore(root: path) } catch { throw ConfigurationError("store.path \(path): \(error)") }
        }
        let place: (bucket: String, prefix: String)
        do { place = try S3Configuration.parse(location: path) } catch { throw ConfigurationError("store.path (\(configuration.values["store.path"].origin)) \(error)") }
        var endpoint = configuration.text("store.endpoint")
        let region = configuration.text("store.region")
        if endpoint.isEmpty { endpoint = "https://s3.\(region).amazonaws.com" }
        while endpoint.hasSuffix("/") { endpoint.removeLast() }
        var s3 = S3Configuration(
            endpoint: endpoint, bucket: place.bucket, prefix: place.prefix, credentials: try credentials(),
            cacheFolder: passingCache ?? configuration.text("store.cache_path") + "/" + node)
        // Settings and environment stay as they are; the shared file may get others.
        s3.readCredentials = { [self] in try credentials() }
        s3.region = region
        s3.addressing = S3Configuration.Addressing(rawValue: configuration.text("store.addressing")) ?? .path
        s3.connectTimeout = .milliseconds(configuration.number("store.connect_timeout_ms"))
        s3.timeout = .milliseconds(configuration.number("store.timeout_ms"))
        s3.attempts = configuration.number("store.attempts")
        s3.certificateAuthorityFile = try certificateAuthorities()
        s3.cacheBytes = passingCache == nil ? configuration.number("store.cache_mib") << 20 : 1
        do {
            let store = try S3ObjectStore(s3)
            try await store.verify()
            return store
        } catch let error as S3ConfigurationError {
            throw ConfigurationError("store.\(error)")
        } catch { throw ConfigurationError("store.path \(path) cannot be used: \(error)") }
    }

    private func certificateAuthorities() throws -> String? {
        let file = configuration.text("store.ca_file")
        guard !file.isEmpty else { return nil }
        guard FileManager.default.isReadableFile(atPath: file) else { throw ConfigurationError("store.ca_file \(file) cannot be read") }
        return file
    }

    /// From the settings, else from the environment, else from the shared file.
    private func credentials() throws -> S3Credentials {
        let (accessKey, secretKey, token) = (configuration.text("store.access_key"), configuration.text("store.secret_key"), configuration.text("store.session_token"))
        if !accessKey.isEmpty || !secretKey.isEmpty {
            guard !accessKey.isEmpty, !secretKey.isEmpty else {
                throw ConfigurationError("store.\(accessKey.isEmpty ? "access_key" : "secret_key") is missing: the access key and its secret go together")
            }
            return S3Credentials(accessKey: accessKey, secretKey: secretKey, sessionToken: token.isEmpty ? nil : token)
        }
        if let accessKey = environment["AWS_ACCESS_KEY_ID"], !accessKey.isEmpty {
            guard let secretKey = environment["AWS_SECRET_ACCESS_KEY"], !secretKey.isEmpty else {
                throw ConfigurationError("AWS_SECRET_ACCESS_KEY is missing beside AWS_ACCESS_KEY_ID")
            }
            return S3Credentials(accessKey: accessKey, secretKey: secretKey, sessionToken: environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : $0 })
        }
        let home = environment["HOME"] ?? NSHomeDirectory()
        let file = first(configuration.text("store.credentials_file"), environment["AWS_SHARED_CREDENTIALS_FILE"], "\(home)/.aws/credentials")
        let profile = first(configuration.text("store.profile"), environment["AWS_PROFILE"], "default")
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw ConfigurationError("no credentials for \(configuration.text("store.path")): set store.access_key and store.secret_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write \(file)")
        }
        do { return try S3Credentials(sharedFile: String(decoding: bytes, as: UTF8.self), profile: profile) } catch {
            throw ConfigurationError("the credentials file \(file) \(error)")
        }
    }

    private func first(_ values: String?...) -> String { values.compactMap(\.self).first { !$0.isEmpty } ?? "" }
}

import Foundation
import OutboundHTTP
import Storage

/// An object store in a bucket of an S3-compatible service.
///
/// Create-only is `If-None-Match: *`, which ``verify()`` tries out: a service that ignores it would lose writes. A request is
/// repeated on errors that may pass. If a put had an attempt without an answer and then meets an object, that object decides: the
/// put's own bytes mean that the attempt had taken effect (protocol, H5). Whoever must tell equal writers apart puts a nonce into the
/// bytes, as log entries and schemas have.
///
/// Large objects are put in parts and read through a ``FileCache``. Reads of small ones go to the service each time.
package final class S3ObjectStore: ObjectStore {
    let client: S3Client
    let cache: FileCache
    let configuration: S3Configuration
    /// Threads that read and write files. Reason: one piece in memory each.
    let threads = WorkerThreads(name: "s3-files", count: 2, limit: 1_024)

    /// A service's limit on names.
    private static let maximumNameBytes = 1_024

    /// - Throws: ``S3ConfigurationError`` for a setting, ``StoreError/system(errno:operation:path:)`` if the cache's folder cannot be used.
    package init(_ configuration: S3Configuration) throws {
        try configuration.validate()
        self.configuration = configuration
        client = S3Client(configuration)
        cache = try FileCache(folder: configuration.cacheFolder, maximumBytes: configuration.cacheBytes)
    }

    package func get(_ key: String) async throws(StoreError) -> [UInt8] {
        try await send(S3Request(method: .get, object: name(of: key)), key: key).body
    }

    package func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8] {
        guard !range.isEmpty else {
            let size = try await size(key)
            guard range.upperBound <= size else { throw .outOfRange(key: key, requested: range, size: size) }
            return []
        }
        let request = S3Request(
            method: .get, object: try name(of: key), headers: [("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")])
        do throws(S3Failure) {
            let response = try await client.send(request)
            guard response.status == 206 else { throw S3Failure(status: response.status, description: "\(configuration.endpoint) ignored a range", mayHaveTakenEffect: false) }
            if response.body.count == range.count { return response.body }
        } catch {
            if error.status != 416 { throw storeError(error, key: key) }
        }
        throw .outOfRange(key: key, requested: range, size: try await size(key))
    }

    package func size(_ key: String) async throws(StoreError) -> Int {
        let response = try await send(S3Request(method: .head, object: name(of: key)), key: key)
        guard let size = response.headers["content-length"].flatMap({ Int($0) }), size >= 0 else {
            throw .unavailable("\(configuration.endpoint) answered HEAD of \(key) without a length")
        }
        return size
    }

    package func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError) {
        let request = S3Request(method: .put, object: try name(of: key), headers: ifAbsent ? [("if-none-match", "*")] : [], body: bytes)
        do throws(S3Failure) { _ = try await client.send(request) } catch {
            guard ifAbsent, error.status == 412 else { throw storeError(error, key: key) }
            guard error.mayHaveTakenEffect else { throw .alreadyExists(key: key) }
            do throws(StoreError) { if try await get(key) == bytes { return } } catch {
                // It was there a moment ago: nothing is decided.
                if case .notFound = error { throw .unavailable("\(key) met an object that is gone, and an attempt to put it had no answer") }
                throw error
            }
            throw .alreadyExists(key: key)
        }
    }

    package func list(prefix: String, after: String?, limit: Int) async throws(StoreError) -> [String] {
        var keys: [String] = []
        var token: String?
        let base = configuration.prefix.isEmpty ? "" : configuration.prefix + "/"
        while keys.count < limit {
            var query = [("list-type", "2"), ("max-keys", "\(min(1_000, limit - keys.count))"), ("prefix", base + prefix)]
            if let token { query.append(("continuation-token", token)) } else if let after { query.append(("start-after", base + after)) }
            let reply = try await send(S3Request(method: .get, object: nil, query: query), key: prefix)
            guard let result = XMLElement(decoding: reply.body), result.name == "ListBucketResult" else {
                throw .unavailable("\(configuration.endpoint) answered a listing of \(prefix) with no ListBucketResult")
            }
            for content in result.all("Contents") {
                guard let name = content.text("Key"), name.hasPrefix(base + prefix) else {
                    throw .unavailable("\(configuration.endpoint) listed an object outside \(base + prefix)")
                }
                let key = String(name.dropFirst(base.count))
                // What others keep in the bucket, such as markers of folders, is none of the store's objects.
                if (try? StoreKey.validate(key)) != nil { keys.append(key) }
            }
            guard result.text("IsTruncated") == "true" else { break }
            guard let next = result.text("NextContinuationToken"), !next.isEmpty, next != token else {
                throw .unavailable("\(configuration.endpoint) cut a listing of \(prefix) short and did not say how to go on")
            }
            token = next
        }
        return keys
    }

    package func delete(_ keys: [String]) async throws(StoreError) {
        for key in keys { _ = try name(of: key) }
        for key in keys { cache.remove(key) }
        for start in stride(from: 0, to: keys.count, by: 1_000) {
            try await deleteTogether(Array(keys[start..<min(start + 1_000, keys.count)]))
        }
    }

    private func deleteTogether(_ keys: [String]) async throws(StoreError) {
        if keys.count == 1 {
            do throws(StoreError) { _ = try await send(S3Request(method: .delete, object: name(of: keys[0])), key: keys[0]) } catch {
                if case .notFound = error { return }
                throw error
            }
            return
        }
        // Names have no character that XML would want escaped.
        var body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>"
        for key in keys { body += "<Object><Key>\(try name(of: key))</Key></Object>" }
        body += "</Delete>"
        let bytes = Array(body.utf8)
        let request = S3Request(
            method: .post, object: nil, query: [("delete", "")], headers: [("content-md5", Data(md5(bytes)).base64EncodedString())], body: bytes)
        let reply = try await send(request, key: keys[0])
        guard let result = XMLElement(decoding: reply.body), result.name == "DeleteResult" else {
            throw .unavailable("\(configuration.endpoint) answered a deletion of \(keys.count) objects with no DeleteResult")
        }
        if let error = result.all("Error").first(where: { $0.text("Code") != "NoSuchKey" }) {
            throw .unavailable("\(configuration.endpoint) did not delete \(error.text("Key") ?? "?"): \(error.text("Code") ?? "") \(error.text("Message") ?? "")")
        }
    }

    /// Removes local copies that nobody used for so long.
    package func removeIdleCopies(for time: Duration) { cache.removeIdle(for: time) }

    // MARK: - Names and errors

    /// The object's name in the bucket.
    func name(of key: String) throws(StoreError) -> String {
        try StoreKey.validate(key)
        let name = configuration.prefix.isEmpty ? key : "\(configuration.prefix)/\(key)"
        guard name.utf8.count <= Self.maximumNameBytes else {
            throw .invalidKey(key, reason: "makes a name of \(name.utf8.count) bytes with the prefix \(configuration.prefix), S3 allows \(Self.maximumNameBytes)")
        }
        return name
    }

    func send(_ request: S3Request, key: String) async throws(StoreError) -> HTTPResponse {
        do throws(S3Failure) { return try await client.send(request) } catch { throw storeError(error, key: key) }
    }

    func storeError(_ failure: S3Failure, key: String) -> StoreError {
        // A missing bucket is no missing object. HEAD has no body that tells; `verify()` has seen the bucket.
        failure.status == 404 && (failure.code == nil || failure.code == "NoSuchKey") ? .notFound(key: key) : .unavailable(failure.description)
    }
}

import Foundation
import OutboundHTTP
import Storage

/// Large objects: in parts to the service, through the cache to a mapped file.
extension S3ObjectStore {
    package func scratchPath() async throws(StoreError) -> String { cache.scratchPath() }

    /// - Note: Ceph's radosgw ignores the condition when an upload in parts completes (ADR 0016). There the look before it
    ///   is all there is, so names of large objects must be unique by themselves, as segments' are (epoch, incarnation, counter; H16, H25).
    package func putFile(_ key: String, from path: String) async throws(StoreError) {
        let name = try name(of: key)
        let size = try await threads.onDisk { () throws(SystemError) in try PosixFileSystem().size(path) }
        if size <= configuration.partBytes {
            try await put(key, piece(of: path, 0..<size), ifAbsent: true)
        } else {
            try await putInParts(key, name: name, from: path, size: size)
        }
        // Not kept for the cache: what a log is truncated for must be read back from the service (protocol, H16).
        try? FileManager.default.removeItem(atPath: path)
    }

    package func localFile(_ key: String) async throws(StoreError) -> LocalFile {
        try StoreKey.validate(key)
        return try await cache.file(key) { [self] path throws(StoreError) in
            let size = try await size(key)
            for start in stride(from: 0, to: max(size, 1), by: configuration.partBytes) {
                let bytes = try await get(key, range: start..<min(start + configuration.partBytes, size))
                try await threads.onDisk { () throws(SystemError) in try PosixFileSystem().append(bytes, to: path) }
            }
        }
    }

    // MARK: - Parts

    /// A service's limit on the parts of an upload.
    private static let maximumPartCount = 10_000

    private func putInParts(_ key: String, name: String, from path: String, size: Int) async throws(StoreError) {
        do throws(StoreError) {
            _ = try await self.size(key)
            throw .alreadyExists(key: key)
        } catch { if error != .notFound(key: key) { throw error } }
        let begun = try await send(S3Request(method: .post, object: name, query: [("uploads", "")]), key: key)
        guard let upload = XMLElement(decoding: begun.body)?.text("UploadId"), !upload.isEmpty else {
            throw .unavailable("\(configuration.endpoint) began an upload of \(key) without an UploadId")
        }
        do throws(StoreError) {
            try await complete(key, name: name, upload: upload, tags: putParts(key, name: name, upload: upload, from: path, size: size), path: path, size: size)
        } catch {
            // Parts of an upload that never ends are stored and paid for, and listed nowhere.
            _ = try? await client.send(S3Request(method: .delete, object: name, query: [("uploadId", upload)]))
            throw error
        }
    }

    /// Puts all parts, one after the other.
    ///
    /// - Returns: Their entity tags in order.
    private func putParts(_ key: String, name: String, upload: String, from path: String, size: Int) async throws(StoreError) -> [String] {
        let partBytes = max(configuration.partBytes, (size + Self.maximumPartCount - 1) / Self.maximumPartCount)
        var tags: [String] = []
        for start in stride(from: 0, to: size, by: partBytes) {
            let body = try await piece(of: path, start..<min(start + partBytes, size))
            let query = [("partNumber", "\(tags.count + 1)"), ("uploadId", upload)]
            let reply = try await send(S3Request(method: .put, object: name, query: query, body: body), key: key)
            guard let tag = reply.headers["etag"], !tag.isEmpty, !tag.contains(where: { "<&>".contains($0) }) else {
                throw .unavailable("\(configuration.endpoint) took part \(tags.count + 1) of \(key) without an ETag")
            }
            tags.append(tag)
        }
        return tags
    }

    private func complete(_ key: String, name: String, upload: String, tags: [String], path: String, size: Int) async throws(StoreError) {
        var body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        for (index, tag) in tags.enumerated() { body += "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(tag)</ETag></Part>" }
        body += "</CompleteMultipartUpload>"
        let request = S3Request(method: .post, object: name, query: [("uploadId", upload)], headers: [("if-none-match", "*")], body: Array(body.utf8))
        do throws(S3Failure) {
            let reply = try await client.send(request)
            guard XMLElement(decoding: reply.body)?.name == "CompleteMultipartUploadResult" else {
                throw S3Failure(description: "\(configuration.endpoint) did not complete \(key)", mayHaveTakenEffect: true)
            }
        } catch {
            // After an attempt without an answer, the upload may be gone because it was completed.
            if error.mayHaveTakenEffect, try await isStored(key, from: path, size: size) { return }
            throw error.status == 412 ? .alreadyExists(key: key) : .unavailable(error.description)
        }
    }

    /// Whether the object has the file's bytes. Reads both.
    private func isStored(_ key: String, from path: String, size: Int) async throws(StoreError) -> Bool {
        do throws(StoreError) { guard try await self.size(key) == size else { return false } } catch {
            if error == .notFound(key: key) { return false }
            throw error
        }
        for start in stride(from: 0, to: size, by: configuration.partBytes) {
            let range = start..<min(start + configuration.partBytes, size)
            guard try await get(key, range: range) == piece(of: path, range) else { return false }
        }
        return true
    }

    private func piece(of path: String, _ range: Range<Int>) async throws(StoreError) -> [UInt8] {
        let bytes = try await threads.onDisk { () throws(SystemError) in try PosixFileSystem().read(path, range: range) }
        guard bytes.count == range.count else { throw .system(errno: EIO, operation: "read", path: path) }
        return bytes
    }
}

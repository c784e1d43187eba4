import Foundation
import Model
import Storage

/// Files that clients uploaded, in the object store.
///
/// A file's id is a hash of its content, name and purpose: the same upload twice is one file, and ingesting a folder again
/// stores nothing anew. A file stays until it is deleted, unless its upload said that it goes with its last document; such a file is
/// another one than what a client uploaded to stay, even if their contents are equal. So is the file of a key that is bound to collections: it
/// belongs to those, and only keys that may touch all of them know of it.
///
/// | key below `files/<id>/` | object |
/// | --- | --- |
/// | `content` | the bytes |
/// | `about/<created, microseconds, 20 digits>` | what is known of it as JSON; the time in the key lets a listing sort without reading |
/// | `attached/<incarnation>` | what it became in a collection, see ``Attachment`` |
struct UploadedFiles: Sendable {
    let store: any ObjectStore

    struct File: Codable, Sendable {
        var id: String
        var filename: String
        var bytes: Int
        var purpose: String
        var contentType: String?
        var sha256: String
        /// Seconds since 1970.
        var createdAt: Int64
        var lifetime: Lifetime?
        /// The scope of the key that uploaded it, if that was bound to collections.
        var collections: [String]?

        /// Whether a caller of this scope may know of it: one that may touch everything, or all that its uploader might.
        func isVisible(to scope: CollectionScope) -> Bool {
            scope == .all || collections.flatMap { try? CollectionScope($0) }.map(scope.covers) ?? false
        }
    }

    enum Lifetime: String, Codable, Sendable {
        /// The file goes when no collection has a document of it any more.
        case whileAttached = "while_attached"
    }

    /// Stores the file; content first, so that a file which is listed can be read.
    func create(_ bytes: [UInt8], filename: String, purpose: String, contentType: String?, lifetime: Lifetime? = nil, for context: CallContext) async throws -> File {
        let (tenant, collections) = (context.tenant, context.scope.patterns)
        let digest = sha256(bytes)
        let identity = digest + Array("\(purpose)\n\(filename)\(lifetime.map { "\n\($0.rawValue)" } ?? "")\(collections.map { "\n\n\($0.joined(separator: "\n"))" } ?? "")".utf8)
        let id = "file-" + hex(sha256(identity).prefix(12))
        if let file = try await find(id, tenant: tenant) { return file }
        let now = Date().timeIntervalSince1970
        let file = File(
            id: id, filename: filename, bytes: bytes.count, purpose: purpose, contentType: contentType, sha256: hex(digest), createdAt: Int64(now),
            lifetime: lifetime, collections: collections)
        try await store.put(key(id, tenant) + "content", bytes, ifAbsent: false)
        try await store.put(
            key(id, tenant) + "about/" + StoreKey.twentyDigits(UInt64(now * 1e6)), Array(try JSONEncoder().encode(file)), ifAbsent: false)
        return file
    }

    /// - Throws: 404 in the tenant's own terms, also for one that the caller may not know of.
    func file(_ id: String, for context: CallContext) async throws -> File {
        guard let file = try await find(id, tenant: context.tenant), file.isVisible(to: context.scope) else { throw RequestError.notFound("no file \"\(id.prefix(128))\"", field: "file_id") }
        return file
    }

    func content(of id: String, tenant: TenantID) async throws -> [UInt8] {
        do { return try await store.get(key(id, tenant) + "content") } catch { throw ClusterError(error) }
    }

    /// All files, oldest first, without reading one: ids and the time in microseconds.
    func ids(tenant: TenantID) async throws -> [(id: String, created: UInt64)] {
        let prefix = StoreKey.files(of: tenant)
        let keys: [String]
        do { keys = try await store.listAll(prefix: prefix) } catch { throw ClusterError(error) }
        let found = keys.compactMap { key -> (id: String, created: UInt64)? in
            let parts = key.dropFirst(prefix.count).split(separator: "/")
            guard parts.count == 3, parts[1] == "about", let created = StoreKey.number(at: key) else { return nil }
            return (String(parts[0]), created)
        }
        return found.sorted { ($0.created, $0.id) < ($1.created, $1.id) }
    }

    /// Deletes everything of the file; what is known of it last, so that an interrupted deletion can be repeated.
    func delete(_ id: String, tenant: TenantID) async throws {
        do {
            let keys = try await store.listAll(prefix: key(id, tenant))
            try await store.delete(keys.filter { !$0.contains("/about/") })
            try await store.delete(keys.filter { $0.contains("/about/") })
        } catch { throw ClusterError(error) }
    }

    private func find(_ id: String, tenant: TenantID) async throws -> File? {
        guard isID(id) else { return nil }
        do {
            guard let about = try await store.list(prefix: key(id, tenant) + "about/", after: nil, limit: 1).first else { return nil }
            let bytes = try await store.get(about)
            do { return try JSONDecoder().decode(File.self, from: Data(bytes)) } catch {
                throw ClusterError(.dataLoss, "\(about) is no description of a file: \(error)")
            }
        } catch let error as StoreError {
            if case .notFound = error { return nil }  // deleted between the two calls
            throw ClusterError(error)
        }
    }

    /// Ids become parts of keys, so nothing else is looked up.
    private func isID(_ id: String) -> Bool { id.hasPrefix("file-") && id.utf8.count == 29 && id.dropFirst(5).allSatisfy(\.isHexDigit) }
    private func key(_ id: String, _ tenant: TenantID) -> String { StoreKey.file(id, of: tenant) }
}

/// What a file became in one collection: the document that it is there, or why it could not be one.
struct Attachment: Codable, Sendable {
    var collection: String
    var document: String
    /// OpenAI's code and the words, if the file could not be ingested.
    var errorCode: String?
    var error: String?
    var createdAt: Int64
}

extension UploadedFiles {
    func attach(_ id: String, as attachment: Attachment, to incarnation: Incarnation, tenant: TenantID) async throws {
        let bytes = Array(try JSONEncoder().encode(attachment))
        do { try await store.put(attachmentKey(id, incarnation, tenant), bytes, ifAbsent: false) } catch { throw ClusterError(error) }
    }

    func attachment(of id: String, to incarnation: Incarnation, tenant: TenantID) async throws -> Attachment? {
        guard isID(id) else { return nil }
        return try await attachment(at: attachmentKey(id, incarnation, tenant))
    }

    func attachments(of id: String, tenant: TenantID) async throws -> [(incarnation: Incarnation, attachment: Attachment)] {
        let keys: [String]
        do { keys = try await store.listAll(prefix: key(id, tenant) + "attached/") } catch { throw ClusterError(error) }
        var found: [(incarnation: Incarnation, attachment: Attachment)] = []
        for key in keys {
            guard let incarnation = Incarnation(String(key.suffix(16))), let attachment = try await attachment(at: key) else { continue }
            found.append((incarnation, attachment))
        }
        return found
    }

    /// Files attached to a collection. Costs a listing of the tenant's files.
    func attached(to incarnation: Incarnation, tenant: TenantID) async throws -> [String] {
        let prefix = StoreKey.files(of: tenant)
        do {
            return try await store.listAll(prefix: prefix).filter { $0.hasSuffix("/attached/\(incarnation)") }
                .compactMap { $0.dropFirst(prefix.count).split(separator: "/").first.map(String.init) }
        } catch { throw ClusterError(error) }
    }

    /// Takes the file from a collection. If that was the last one and the file goes with it, it is deleted.
    func detach(_ id: String, from incarnation: Incarnation, tenant: TenantID) async throws {
        do {
            try await store.delete(attachmentKey(id, incarnation, tenant))
            guard try await find(id, tenant: tenant)?.lifetime == .whileAttached,
                try await store.list(prefix: key(id, tenant) + "attached/", after: nil, limit: 1).isEmpty
            else { return }
        } catch let error as StoreError { throw ClusterError(error) }
        try await delete(id, tenant: tenant)
    }

    private func attachment(at key: String) async throws -> Attachment? {
        do {
            return try JSONDecoder().decode(Attachment.self, from: Data(try await store.get(key)))
        } catch let error as StoreError {
            if case .notFound = error { return nil }
            throw ClusterError(error)
        } catch { throw ClusterError(.dataLoss, "\(key) is no attachment: \(error)") }
    }

    private func attachmentKey(_ id: String, _ incarnation: Incarnation, _ tenant: TenantID) -> String {
        key(id, tenant) + "attached/\(incarnation)"
    }
}

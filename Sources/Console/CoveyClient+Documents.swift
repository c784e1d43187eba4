import Model

/// One document of a collection, as the cluster lists it.
struct RemoteDocument: Hashable, Sendable {
    var fileID: String
    var name: String
    var title: String
    /// Of the file's bytes, hexadecimal; empty if the cluster does not say.
    var sha256: String
    var chunks: Int?
    var bytes: Int?
    var createdAt: Int64?
    /// The folder that it was ingested from.
    var root: String?
    var notes: [String]

    /// - Parameter object: A `vector_store.file`. `nil` without an id.
    init?(_ object: JSONValue) {
        guard let id = object["id"]?.string else { return nil }
        let attributes = object["attributes"]
        let covey = object["covey"]
        fileID = id
        name = attributes?["document"]?.string ?? covey?["document"]?.string ?? covey?["filename"]?.string ?? id
        title = covey?["title"]?.string ?? ""
        sha256 = attributes?["sha256"]?.string ?? covey?["sha256"]?.string ?? ""
        chunks = covey?["chunks"]?.integer.map(Int.init)
        bytes = object["usage_bytes"]?.integer.map(Int.init)
        createdAt = object["created_at"]?.integer
        root = attributes?["root"]?.string
        notes = (covey?["notes"]?.array ?? []).compactMap(\.string)
    }
}

extension CoveyClient {
    /// The path of a collection as a vector store; names that no collection can have are refused here.
    func store(_ collection: String) throws(ConsoleError) -> String { "/v1/vector_stores/" + (try checked(collection)) }
    func collection(_ collection: String) throws(ConsoleError) -> String { "/collections/" + (try checked(collection)) }

    private func checked(_ collection: String) throws(ConsoleError) -> String {
        do { return try CollectionName(collection).rawValue } catch { throw ConsoleError(error.message) }
    }

    /// Makes the vector store unless there is one.
    ///
    /// - Returns: Whether it was made.
    @discardableResult
    func ensureStore(_ collection: String) async throws(ConsoleError) -> Bool {
        do throws(ConsoleError) {
            _ = try await json(.get, try store(collection))
            return false
        } catch where error.status == 404 {
            do throws(ConsoleError) {
                _ = try await json(.post, "/v1/vector_stores", ["name": .string(collection)])
                return true
            } catch where error.status == 409 {
                return false  // somebody else was faster
            }
        }
    }

    /// All documents of a collection, one request for each hundred.
    func documents(of collection: String) async throws(ConsoleError) -> [RemoteDocument] {
        var found: [RemoteDocument] = []
        var after = ""
        while true {
            let page = try await json(.get, try store(collection) + "/files?limit=100" + after)
            found += (page["data"]?.array ?? []).compactMap(RemoteDocument.init)
            guard page["has_more"]?.bool == true, let last = page["last_id"]?.string else { return found }
            after = "&after=" + last
        }
    }

    /// Uploads a file and makes it a document of the collection; returns when it can be searched.
    ///
    /// - Parameters:
    ///   - fileName: What the upload is called; its extension tells the format.
    ///   - root: The folder that it is from.
    /// - Throws: the cluster's reason if it cannot read the file.
    func addDocument(
        _ name: String, fileName: String, content: [UInt8], sha256: String, contentType: String, root: String?, to collection: String
    ) async throws(ConsoleError) -> RemoteDocument {
        let file = try await upload(content, name: fileName, contentType: contentType)
        guard let id = file["id"]?.string else { throw ConsoleError("\(url)/v1/files answered without an id") }
        var attributes: [String: JSONValue] = ["document": .string(name), "sha256": .string(sha256)]
        attributes["root"] = root.map(JSONValue.string)
        let body: JSONValue = ["file_id": .string(id), "attributes": .object(attributes)]
        let attached = try await json(.post, try store(collection) + "/files", body, timeout: .seconds(1_800))
        if attached["status"]?.string == "failed" {
            // The cluster need not keep what it cannot read.
            _ = try? await json(.delete, try store(collection) + "/files/\(id)")
            // The upload went well, so this is about the document: what a status 422 says.
            throw ConsoleError(attached["last_error"]?["message"]?.string ?? "the cluster could not ingest it", status: 422)
        }
        guard let document = RemoteDocument(attached) else { throw ConsoleError("\(url) answered an attached file without an id") }
        return document
    }

    /// Deletes a document, unless somebody else did it first.
    ///
    /// - Returns: Whether it was there.
    func deleteDocument(_ document: RemoteDocument, from collection: String) async throws(ConsoleError) -> Bool {
        do throws(ConsoleError) {
            _ = try await json(.delete, try store(collection) + "/files/\(document.fileID)", timeout: .seconds(600))
            return true
        } catch where error.status == 404 { return false }
    }

    enum Reshaping: String { case split, merge }

    /// Divides a shard in two, or unites it with the other half; or says what would become of it.
    func reshape(_ collection: String, shard: Int, _ how: Reshaping, isDry: Bool) async throws(ConsoleError) -> JSONValue {
        let path = try self.collection(collection) + "/shards/\(shard)/\(how.rawValue)"
        return try await json(.post, isDry ? path + "?dry_run=true" : path, timeout: .seconds(7_200))
    }

    /// Turns everything written so far into segments searched by code; waits as long as that takes.
    func seal(_ collection: String) async throws(ConsoleError) -> JSONValue {
        // Qdrant's own call for "build indexes now": any threshold above 0 means that here.
        try await json(.patch, try self.collection(collection), ["optimizers_config": ["indexing_threshold": 1]], timeout: .seconds(7_200))
    }
}

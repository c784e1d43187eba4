import Coordination
import Embedding
import Foundation
import Ingestion
import Model

/// Documents of collections: files go in, chunks come out as points; a document is what one file became under one name.
struct Documents: Sendable {
    let coordinator: Coordinator
    let ingestor: Ingestor
    let embedder: any Embedder
    let files: UploadedFiles
    let turns: DocumentTurns
    let quota: StorageQuota

    /// Payload keys that every chunk has besides its own, so that filters and results need no other chunk.
    enum Key {
        static let attributes = "attributes"
        static let file = "file_id"
        static let filename = "filename"
    }

    /// What a collection knows of one document: from its chunk 0.
    struct Document: Sendable {
        var name: String
        var title: String
        var fileID: String
        var filename: String
        var sha256: String
        var bytes: Int
        var chunks: Int
        var createdAt: Int64
        var attributes: Payload
        /// What had to be done to make text of the file.
        var notes: [String]

        /// `nil` if the point is no document's chunk 0.
        init?(_ point: StoredPoint) {
            guard let file = point.payload[Chunk.Key.file], let name = point.payload[Chunk.Key.document]?.string else { return nil }
            self.name = name
            title = point.payload[Chunk.Key.title]?.string ?? name
            fileID = point.payload[Key.file]?.string ?? ""
            filename = point.payload[Key.filename]?.string ?? name
            sha256 = file["sha256"]?.string ?? ""
            bytes = Int(file["bytes"]?.integer ?? 0)
            // Whoever may write points may write any number here, and this one is counted with.
            chunks = Int(min(max(file["chunks"]?.integer ?? 0, 0), Int64(IngestionConfiguration().maximumChunks)))
            createdAt = file["created_at"]?.integer ?? 0
            attributes = point.payload[Key.attributes]?.object ?? [:]
            notes = (file["notes"]?.array ?? []).compactMap(\.string)
        }

        static let payloadKeys = [Chunk.Key.file, Chunk.Key.document, Chunk.Key.title, Key.file, Key.filename, Key.attributes]
    }

    /// Passes each document's chunk 0 and nothing else.
    static let firstChunks = Filter(must: [.match(key: Chunk.Key.index, anyOf: [0])], mustNot: [.isEmpty(key: Chunk.Key.file)])

    /// The collection's schema.
    ///
    /// - Throws: 404 if there is none that holds documents; 400 if another model filled it.
    func schema(of id: String, field: String, context: CallContext) async throws -> CollectionSchema {
        guard let name = try? CollectionName(id), let schema = try await existingSchema(of: name, context: context) else {
            throw RequestError.notFound("no vector store \"\(id.prefix(128))\"", field: field)
        }
        guard let model = schema.embeddingModel else {
            throw RequestError.notFound("collection \"\(id)\" holds vectors without an embedding model, so it is no vector store", field: field)
        }
        guard model == embedder.model, schema.dimension == embedder.dimension else {
            throw RequestError.invalid(
                field,
                "collection \"\(id)\" was filled by model \(model) with \(schema.dimension) dimensions, this cluster embeds with \(embedder.model) with \(embedder.dimension)")
        }
        return schema
    }

    private func existingSchema(of name: CollectionName, context: CallContext) async throws -> CollectionSchema? {
        do {
            return try await coordinator.schema(of: name, context: context)
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    func document(named name: String, in schema: CollectionSchema, context: CallContext) async throws -> Document? {
        try await coordinator.retrieve(
            [documentPointID(document: name, chunk: 0)], from: try CollectionName(schema.name), withPayload: .only(Document.payloadKeys), context: context
        ).first.flatMap(Document.init)
    }

    /// Makes the file a document of the collection, or leaves it as it is if it is the same already.
    ///
    /// A file that cannot be ingested is recorded as failed, as OpenAI's vector stores do.
    /// The chunks change in one log entry: a search sees the old document or the new one.
    func attach(_ file: UploadedFiles.File, attributes: Payload, to schema: CollectionSchema, context: CallContext) async throws -> Attachment {
        let tenant = context.tenant
        let name = attributes["document"]?.string ?? file.id
        if let other = try await files.attachment(of: file.id, to: schema.incarnation, tenant: tenant), other.document != name, other.error == nil {
            throw RequestError.invalid("attributes.document", "file \"\(file.id)\" is document \"\(other.document)\" of this vector store already")
        }
        return try await turns.withTurn(at: "\(tenant)/\(schema.incarnationText)/\(name)") {
            let old = try await document(named: name, in: schema, context: context)
            // The file's turn: its last document elsewhere must not go, and take the file along, before it is attached here.
            let attachment = try await turns.withTurn(at: "\(tenant)/\(file.id)") {
                let attachment = try await update(old, named: name, to: file, attributes: attributes, in: schema, context: context)
                try await files.attach(file.id, as: attachment, to: schema.incarnation, tenant: tenant)
                return attachment
            }
            if let old, old.fileID != file.id, attachment.error == nil { try await release(old.fileID, from: schema, tenant) }
            return attachment
        }
    }

    /// Takes a file from a collection that has no document of it any more.
    private func release(_ fileID: String, from schema: CollectionSchema, _ tenant: TenantID) async throws {
        try await turns.withTurn(at: "\(tenant)/\(fileID)") { try await files.detach(fileID, from: schema.incarnation, tenant: tenant) }
    }

    private func update(
        _ old: Document?, named name: String, to file: UploadedFiles.File, attributes: Payload, in schema: CollectionSchema, context: CallContext
    ) async throws -> Attachment {
        var attachment = Attachment(collection: schema.name, document: name, createdAt: Int64(Date().timeIntervalSince1970))
        if let old, old.sha256 == file.sha256, old.fileID == file.id, old.attributes == attributes {
            attachment.createdAt = old.createdAt
            return attachment
        }
        do {
            try await replace(old, by: file, named: name, attributes: attributes, in: schema, context: context)
        } catch let error as Refusal {
            attachment.errorCode = error.reason.code == .failedPrecondition ? "unsupported_file" : "invalid_file"
            attachment.error = error.reason.message
        } catch let error as ClusterError where (error.code == .invalidArgument || error.code == .resourceExhausted) && error.reason != .rateLimit {
            attachment.errorCode = "invalid_file"
            attachment.error = error.message
        }
        return attachment
    }

    /// A file that cannot be read here: it is broken, past a bound, or the program for its format is not installed.
    private struct Refusal: Error { var reason: ClusterError }

    private func replace(
        _ old: Document?, by file: UploadedFiles.File, named name: String, attributes: Payload, in schema: CollectionSchema, context: CallContext
    ) async throws {
        let bytes = try await files.content(of: file.id, tenant: context.tenant)
        let prepared: PreparedDocument
        do {
            prepared = try await ingestor.prepare(bytes, name: file.filename, contentType: file.contentType, attributes: attributes, fileID: file.id)
        } catch {
            if error.code == .failedPrecondition, error.reason != .modelServer { throw Refusal(reason: error) }
            throw error
        }
        let points = prepared.points.enumerated().map { index, point in
            var point = point
            point.id = documentPointID(document: name, chunk: index)
            point.payload[Chunk.Key.document] = .string(name)
            point.payload[Key.attributes] = .object(attributes)
            point.payload[Key.file] = .string(file.id)
            point.payload[Key.filename] = .string(file.filename)
            return point
        }
        try await quota.admitPoints(points.count - (old?.chunks ?? 0), context)
        let leftOver = (points.count..<max(points.count, old?.chunks ?? 0)).map { documentPointID(document: name, chunk: $0) }
        // Deletions stand before the document's points, so that the coordinator keeps both in one entry.
        try await coordinator.write(
            (leftOver.isEmpty ? [] : [.delete(leftOver)]) + [.upsert(points)], to: try CollectionName(schema.name), context: context)
    }

    /// Removes the document that the file is in the collection.
    ///
    /// - Returns: Whether the file was attached.
    func detach(_ fileID: String, from schema: CollectionSchema, context: CallContext) async throws -> Bool {
        guard let attachment = try await files.attachment(of: fileID, to: schema.incarnation, tenant: context.tenant) else { return false }
        try await turns.withTurn(at: "\(context.tenant)/\(schema.incarnationText)/\(attachment.document)") {
            try await remove(attachment.document, madeOf: fileID, from: schema, context: context)
            try await release(fileID, from: schema, context.tenant)
        }
        return true
    }

    /// Deletes a document's chunks, unless it is another file's by now.
    private func remove(_ name: String, madeOf fileID: String, from schema: CollectionSchema, context: CallContext) async throws {
        guard let document = try await document(named: name, in: schema, context: context), document.fileID == fileID else { return }
        let ids = (0..<max(document.chunks, 1)).map { documentPointID(document: name, chunk: $0) }
        try await coordinator.write([.delete(ids)], to: try CollectionName(schema.name), context: context)
    }

    /// Drops a collection, and first the uploads that go with it: if it is interrupted, the collection is still there to be dropped again.
    ///
    /// - Returns: Whether there was one.
    func dropCollection(_ name: CollectionName, context: CallContext) async throws -> Bool {
        if let schema = try await existingSchema(of: name, context: context), schema.embeddingModel != nil {
            for id in try await files.attached(to: schema.incarnation, tenant: context.tenant) { try await release(id, from: schema, context.tenant) }
        }
        return try await coordinator.dropCollection(name, context: context)
    }

    /// Deletes an uploaded file and the documents that it is in the tenant's collections.
    ///
    /// - Throws: 403 if a collection that the caller may not touch has it.
    func delete(_ file: UploadedFiles.File, context: CallContext) async throws {
        let attachments = try await files.attachments(of: file.id, tenant: context.tenant)
        guard try attachments.allSatisfy({ context.scope.contains(try CollectionName($0.attachment.collection)) }) else {
            throw RequestError(.forbidden, code: "file_in_use", field: "file_id", "file \"\(file.id)\" is attached where this key may not delete it")
        }
        for (incarnation, attachment) in attachments {
            // A collection that is gone, or was made anew, has no document of this file.
            guard let schema = try await existingSchema(of: try CollectionName(attachment.collection), context: context),
                schema.incarnation == incarnation
            else { continue }
            _ = try await detach(file.id, from: schema, context: context)
        }
        try await files.delete(file.id, tenant: context.tenant)
    }
}

import Embedding
import Foundation
import Model
import Storage

/// Turns files into points: bytes are read into text and structure, cut into chunks, and embedded.
package struct Ingestor: Sendable {
    private let embedder: any Embedder
    private let configuration: IngestionConfiguration

    /// Most notes kept of one file: a mailbox may have one for each of its messages.
    private static let maximumNotes = 20

    package init(embedder: any Embedder, configuration: IngestionConfiguration = IngestionConfiguration()) {
        self.embedder = embedder
        self.configuration = configuration
    }

    /// One file as chunks with their vectors.
    ///
    /// The same bytes under the same name give the same points, but for `created_at`.
    ///
    /// - Parameters:
    ///   - name: The document's name in its collection; its extension tells the format.
    ///   - contentType: A media type, used if the name does not tell the format.
    ///   - attributes: What the client says about the file; kept in chunk 0's payload.
    ///   - fileID: The id of the upload that the bytes came in, if there was one.
    /// - Throws: `invalidArgument` for a file that is of no supported format, cannot be decoded or has no text; `resourceExhausted` for one
    ///   past a limit, which is named; `failedPrecondition` if the program that reads the format is not installed; what the embedder throws.
    package func prepare(
        _ bytes: [UInt8], name: String, contentType: String? = nil, attributes: Payload = [:], fileID: String? = nil
    ) async throws(ClusterError) -> PreparedDocument {
        guard !name.isEmpty else { throw ClusterError(.invalidArgument, "the document's name is empty") }
        guard bytes.count <= configuration.maximumFileBytes else {
            throw ClusterError(
                .resourceExhausted, "\(name) has \(bytes.count) bytes, the limit of maximumFileBytes is \(configuration.maximumFileBytes)")
        }
        do {
            let format = try DocumentFormat.detect(bytes, name: name, contentType: contentType)
            let parsed = try await DocumentReader(configuration: configuration).read(bytes, as: format)
            let title = parsed.title.map(oneLine).flatMap { $0.isEmpty ? nil : $0 } ?? stem(of: name)
            let pieces = try await onIngestionThread { try Chunker(parsed, title: title, embedder: embedder, configuration: configuration).pieces() }
            guard !pieces.isEmpty else { throw ClusterError(.invalidArgument, "\(name) has no text") }
            let vectors = try await embed(pieces.map(\.embedded))
            let contentHash = hex(sha256(bytes))
            let chunks = pieces.enumerated().map { index, piece in
                Chunk(
                    document: name, title: title, headings: piece.headings, text: String(decoding: parsed.text[piece.range], as: UTF8.self),
                    start: piece.range.lowerBound, end: piece.range.upperBound, index: index, place: parsed.place(of: piece.range))
            }
            var points = zip(chunks, vectors).map { chunk, vector in
                Point(id: documentPointID(document: name, chunk: chunk.index), vector: vector, payload: chunk.payload)
            }
            var file: [String: JSONValue] = [
                "sha256": .string(contentHash), "bytes": .integer(Int64(bytes.count)), "chunks": .integer(Int64(chunks.count)),
                "created_at": .integer(Int64(Date().timeIntervalSince1970)), "content_type": .string(format.contentType), "attributes": .object(attributes),
            ]
            file["file_id"] = fileID.map(JSONValue.string)
            if !parsed.notes.isEmpty { file["notes"] = .array(parsed.notes.prefix(Self.maximumNotes).map { .string(String($0.prefix(500))) }) }
            points[0].payload[Chunk.Key.file] = .object(file)
            return PreparedDocument(
                document: name, title: title, text: String(decoding: parsed.text, as: UTF8.self), contentHash: contentHash, chunks: chunks, points: points,
                tokens: pieces.reduce(0) { $0 + $1.tokens })
        } catch {
            throw ClusterError(error)
        }
    }

    private func embed(_ texts: [String]) async throws -> [[Float]] {
        var vectors: [[Float]] = []
        vectors.reserveCapacity(texts.count)
        for start in stride(from: 0, to: texts.count, by: configuration.embeddingBatch) {
            try Task.checkCancellation()
            let batch = Array(texts[start..<min(start + configuration.embeddingBatch, texts.count)])
            let embedded = try await embedder.embed(batch)
            guard embedded.count == batch.count else {
                throw ClusterError(.internal, "the embedder \(embedder.model) returned \(embedded.count) vectors for \(batch.count) texts")
            }
            vectors += embedded
        }
        return vectors
    }
}

/// `text` with each run of white space as one space.
private func oneLine(_ text: String) -> String { text.split(whereSeparator: \.isWhitespace).joined(separator: " ") }

/// The last part of a path, without its extension.
private func stem(of name: String) -> String {
    let last = name.split(separator: "/").last.map(String.init) ?? name
    guard let dot = last.lastIndex(of: "."), dot != last.startIndex else { return last }
    return String(last[..<dot])
}

import Model
import Storage

/// A document ready to be stored: what `Ingestor.prepare` returns.
package struct PreparedDocument: Sendable {
    /// Its name in the collection.
    package var document: String
    package var title: String
    /// The text that the chunks' offsets, in bytes of UTF-8, refer to: the file's own of Markdown and plain text, the extracted one of HTML and PDF.
    package var text: String
    /// SHA-256 of the file's bytes, 64 hexadecimal digits.
    package var contentHash: String
    /// In order, at least one.
    package var chunks: [Chunk]
    /// One a chunk, in order; the id is ``documentPointID(document:chunk:)``.
    package var points: [Point]
    /// Tokens that were embedded, special ones included.
    package var tokens: Int
}

/// The id of a document's chunk: the first 64 bits of the name's SHA-256, then the chunk's index.
///
/// All chunks of a document share their first half, so that they lie in one shard.
package func documentPointID(document: String, chunk: Int) -> PointID {
    let high = sha256(Array(document.utf8)).prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return .uuid(high: high, low: UInt64(chunk))
}

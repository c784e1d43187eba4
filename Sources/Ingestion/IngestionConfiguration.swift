import Model

/// Bounds and sizes of what happens to a document before it is stored.
package struct IngestionConfiguration: Sendable {
    /// Largest file accepted, in bytes. Default: 64 MiB, about ten times a long book as text, and what fits in memory a few times over.
    package var maximumFileBytes = 64 << 20
    /// Most chunks of one document, which becomes one entry of a shard's log. Default: 20,000, about 20 MB of text.
    package var maximumChunks = 20_000
    /// Tokens of a chunk with its title and headings, special ones included; the embedder's own limit if that is lower.
    /// Default: 256, where all-MiniLM-L6-v2 cuts.
    package var maximumTokens = 256
    /// Longest text of a chunk, in bytes. Default: 4,000; text whose words the embedder does not know has few tokens, however long it is.
    package var maximumChunkBytes = 4_000
    /// Where a section is cut, the last sentence is repeated in the next chunk if it has at most this many tokens; 0: never.
    /// Default: 40, a long sentence.
    package var overlapTokens = 40
    /// Sections with fewer tokens than this share a chunk with a neighbour. Default: 50, two or three sentences.
    package var smallSectionTokens = 50
    /// Texts given to the embedder at once. Default: 64, which keeps a few workers busy and a document's vectors out of one request.
    package var embeddingBatch = 64
    /// The program that extracts a PDF's text, looked up in /usr/local/bin, /usr/bin and /bin unless it has a slash. Default: poppler's `pdftotext`.
    package var pdfProgram = "pdftotext"
    /// Time for one PDF. Default: 60 s; a page takes about 10 ms.
    package var pdfTimeout = Duration.seconds(60)
    /// Address space of the PDF program, in bytes. Default: 2 GiB.
    package var pdfMemoryBytes = 2 << 30

    /// The program that reads Word, OpenDocument texts, EPUB, RTF, LaTeX and other markup, as ``pdfProgram``. Default: `pandoc`.
    package var pandocProgram = "pandoc"
    /// Time for one file that pandoc or catdoc read. Default: 60 s; a book takes two.
    package var pandocTimeout = Duration.seconds(60)
    /// Heap of pandoc, in bytes. Default: 1 GiB; a book of 1 MB takes a quarter.
    package var pandocMemoryBytes = 1 << 30
    /// Most bytes that an archive (Office, OpenDocument, EPUB) may become. Default: 512 MiB, a sheet of some ten million cells.
    package var maximumExpandedBytes = 512 << 20

    package init() {}

    /// - Throws: `invalidArgument` naming the first field that cannot be used.
    package func validate() throws(ClusterError) {
        let positive = [
            ("maximumFileBytes", maximumFileBytes), ("maximumChunks", maximumChunks), ("embeddingBatch", embeddingBatch),
            ("pdfMemoryBytes", pdfMemoryBytes), ("maximumExpandedBytes", maximumExpandedBytes),
        ]
        for (name, value) in positive where value < 1 { throw ClusterError(.invalidArgument, "\(name) is \(value), it must be at least 1") }
        guard maximumTokens >= 16 else { throw ClusterError(.invalidArgument, "maximumTokens is \(maximumTokens), it must be at least 16") }
        guard maximumChunkBytes >= 64 else { throw ClusterError(.invalidArgument, "maximumChunkBytes is \(maximumChunkBytes), it must be at least 64") }
        guard overlapTokens >= 0, overlapTokens <= maximumTokens / 2 else {
            throw ClusterError(.invalidArgument, "overlapTokens is \(overlapTokens), it must be 0 to \(maximumTokens / 2), half of maximumTokens")
        }
        guard smallSectionTokens >= 0, smallSectionTokens <= maximumTokens else {
            throw ClusterError(.invalidArgument, "smallSectionTokens is \(smallSectionTokens), it must be 0 to maximumTokens \(maximumTokens)")
        }
        for (name, value) in [("pdfTimeout", pdfTimeout), ("pandocTimeout", pandocTimeout)] where value <= .zero {
            throw ClusterError(.invalidArgument, "\(name) is \(value), it must be above 0")
        }
        guard pandocMemoryBytes >= 64 << 20 else { throw ClusterError(.invalidArgument, "pandocMemoryBytes is \(pandocMemoryBytes), it must be at least \(64 << 20)") }
    }
}

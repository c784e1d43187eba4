import Model

/// Extracts text and structure from PDF by poppler's `pdftotext`.
///
/// `pdftotext -bbox-layout` gives words with their places, in reading order over columns. From these: lines that repeat at the pages'
/// tops and bottoms are dropped, larger lines are headings, words cut at a line's end are joined, paragraphs go on over pages. The text is
/// made, not the file's own.
struct PDFReader {
    let configuration: IngestionConfiguration

    /// Most bytes of words with their places, about 100 for a word. Default reason: 2.5 million words, about what fits into `maximumChunks`.
    private static let maximumOutputBytes = 256 << 20

    /// - Throws: `invalidArgument` for what is no PDF, is damaged, encrypted, or has no text; `failedPrecondition` if the program is not
    ///   installed; `deadlineExceeded` and `resourceExhausted` past the bounds on time and memory.
    func read(_ bytes: [UInt8]) async throws -> ParsedDocument {
        guard bytes.prefix(1_024).firstRange(of: Array("%PDF-".utf8)) != nil else {
            throw ClusterError(.invalidArgument, "not a PDF: %PDF- is missing at its start")
        }
        let process = BoundedProcess(
            program: configuration.pdfProgram, package: "poppler-utils", timeout: configuration.pdfTimeout, timeoutName: "pdfTimeout",
            memoryBytes: configuration.pdfMemoryBytes, outputBytes: Self.maximumOutputBytes)
        let outcome = try await process.run(on: bytes, arguments: ["-enc", "UTF-8", "-bbox-layout", "{input}", "{output}"])
        guard !outcome.isSignaled else {
            throw ClusterError(.resourceExhausted, "\(configuration.pdfProgram) was ended by a limit on time, memory or output, or crashed")
        }
        guard !outcome.complaint.contains("Incorrect password") else { throw ClusterError(.invalidArgument, "the PDF is encrypted with a password") }
        guard outcome.exitCode == 0 else {
            throw ClusterError(.invalidArgument, "unreadable PDF: \(outcome.complaint.isEmpty ? "exit code \(outcome.exitCode)" : outcome.complaint)")
        }
        let document = try await onIngestionThread { PDFStructure(PDFLayout(parsing: outcome.output)).document() }
        guard !document.blocks.isEmpty else { throw ClusterError(.invalidArgument, "the PDF has no text; a scan has to go through text recognition first") }
        return document
    }
}

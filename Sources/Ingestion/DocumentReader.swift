import Model

/// Reads a file of any supported format.
struct DocumentReader {
    let configuration: IngestionConfiguration

    /// - Throws: `invalidArgument` for bytes that are not of the format; what ``PDFReader`` throws.
    func read(_ bytes: [UInt8], as format: DocumentFormat) async throws -> ParsedDocument {
        switch format {
        case .markdown, .html, .pdf: throw ClusterError(.unimplemented, "\(format) is not read yet")
        case .plainText: try await onIngestionThread { PlainTextReader.read(try TextDecoder.decode(bytes)) }
        }
    }
}

import Model

/// Reads a file of any supported format.
package struct DocumentReader: Sendable {
    private let configuration: IngestionConfiguration

    package init(configuration: IngestionConfiguration = IngestionConfiguration()) { self.configuration = configuration }

    /// - Throws: `invalidArgument` for bytes that are not of the format; what ``PDFReader`` throws.
    package func read(_ bytes: [UInt8], as format: DocumentFormat) async throws -> ParsedDocument {
        switch format {
        case .markdown: try await onIngestionThread { MarkdownReader.read(try TextDecoder.decode(bytes)) }
        case .plainText: try await onIngestionThread { PlainTextReader.read(try TextDecoder.decode(bytes)) }
        case .html: try await onIngestionThread { try HTMLReader.read(bytes) }
        case .pdf: try await PDFReader(configuration: configuration).read(bytes)
        }
    }
}

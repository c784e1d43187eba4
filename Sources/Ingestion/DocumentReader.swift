import Model

/// Reads a file of any supported format.
package struct DocumentReader: Sendable {
    private let configuration: IngestionConfiguration

    package init(configuration: IngestionConfiguration = IngestionConfiguration()) { self.configuration = configuration }

    /// - Throws: `invalidArgument` for bytes that are not of the format, are damaged or encrypted; `resourceExhausted` and `deadlineExceeded`
    ///   past a bound, which is named; `failedPrecondition` if the program that reads the format is not installed.
    package func read(_ bytes: [UInt8], as format: DocumentFormat) async throws -> ParsedDocument {
        let maximumBytes = configuration.maximumExpandedBytes
        switch format {
        case .markdown: return try await text(bytes, MarkdownReader.read)
        case .plainText: return try await text(bytes, PlainTextReader.read)
        case .html: return try await onIngestionThread { try HTMLReader.read(bytes) }
        case .pdf: return try await PDFReader(configuration: configuration).read(bytes)
        case .docx, .odt, .epub, .rtf, .latex, .restructuredText, .org: return try await PandocReader(configuration: configuration).read(bytes, as: format)
        case .xlsx: return try await onIngestionThread { try WorkbookReader.read(bytes, maximumBytes: maximumBytes) }
        case .pptx: return try await onIngestionThread { try PresentationReader.read(bytes, maximumBytes: maximumBytes) }
        case .ods, .odp: return try await onIngestionThread { try OpenDocumentReader.read(bytes, maximumBytes: maximumBytes) }
        case .notebook: return try await onIngestionThread { try NotebookReader.read(bytes) }
        case .mail: return try await onIngestionThread { try MailReader.read(bytes) }
        case .mailbox: return try await onIngestionThread { try MailReader.readMailbox(bytes) }
        case .doc, .xls, .ppt: return try await LegacyOfficeReader(configuration: configuration).read(bytes, as: format)
        }
    }

    private func text(_ bytes: [UInt8], _ read: @escaping @Sendable ([UInt8]) -> ParsedDocument) async throws -> ParsedDocument {
        try await onIngestionThread {
            let decoded = try TextDecoder.decode(bytes)
            var document = read(decoded.bytes)
            if let note = decoded.note { document.notes.append(note) }
            return document
        }
    }
}

import Model

/// Reads a file of any supported format.
package struct DocumentReader: Sendable {
    private let configuration: IngestionConfiguration

    package init(configuration: IngestionConfiguration = IngestionConfiguration()) { self.configuration = configuration }

    /// - Throws: `invalidArgument` for bytes that are not of the format, are damaged or encrypted; `resourceExhausted` and `deadlineExceeded`
    ///   past a bound, which is named; `failedPrecondition` if the program that reads the format is not installed.
    package func read(_ bytes: [UInt8], as format: DocumentFormat) async throws -> ParsedDocument {
        switch format {
        case .pdf: return try await PDFReader(configuration: configuration).read(bytes)
        case .docx, .odt, .epub, .rtf, .latex, .restructuredText, .org: return try await PandocReader(configuration: configuration).read(bytes, as: format)
        case .doc, .xls, .ppt: return try await LegacyOfficeReader(configuration: configuration).read(bytes, as: format)
        default:
            let maximumBytes = configuration.maximumExpandedBytes
            return try await onIngestionThread { try Self.structure(bytes, as: format, maximumBytes: maximumBytes) }
        }
    }

    /// The same on the caller's thread, for formats that take no other program; of a PDF `bytes` are its words with their places, as
    /// `pdftotext -bbox-layout` prints them.
    ///
    /// - Parameter maximumBytes: Of what an archive holds.
    package static func structure(_ bytes: [UInt8], as format: DocumentFormat, maximumBytes: Int) throws -> ParsedDocument {
        switch format {
        case .markdown: try text(bytes) { MarkdownReader.read($0) }
        case .plainText: try text(bytes, PlainTextReader.read)
        case .html: try HTMLReader.read(bytes)
        case .pdf: PDFStructure(PDFLayout(parsing: bytes)).document()
        case .xlsx: try WorkbookReader.read(bytes, maximumBytes: maximumBytes)
        case .pptx: try PresentationReader.read(bytes, maximumBytes: maximumBytes)
        case .ods, .odp: try OpenDocumentReader.read(bytes, maximumBytes: maximumBytes)
        case .notebook: try NotebookReader.read(bytes)
        case .mail: try MailReader.read(bytes)
        case .mailbox: try MailReader.readMailbox(bytes)
        default: throw ClusterError(.invalidArgument, "\(format) is read by another program")
        }
    }

    private static func text(_ bytes: [UInt8], _ read: ([UInt8]) -> ParsedDocument) throws -> ParsedDocument {
        let decoded = try TextDecoder.decode(bytes)
        var document = read(decoded.bytes)
        if let note = decoded.note { document.notes.append(note) }
        return document
    }
}

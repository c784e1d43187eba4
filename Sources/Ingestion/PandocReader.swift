import Model

/// Reads what pandoc reads: it makes HTML of the file, and that becomes text and structure as other HTML does.
///
/// `--sandbox` keeps it from reading any file but the ones given, so that `\input` and the like lead nowhere; its heap is bounded by its
/// own runtime, which fails in words, and once more by the kernel.
struct PandocReader {
    let configuration: IngestionConfiguration

    /// Author, date and abstract stand in a document's metadata, which is not in the body. Default reason of the bound: 64 MiB of HTML is
    /// more text than ``IngestionConfiguration/maximumChunks`` hold.
    private static let template = """
        <html><head><title>$title$</title></head><body>
        $if(title)$<h1>$title$</h1>$endif$
        $if(subtitle)$<p>$subtitle$</p>$endif$
        $if(author)$<p>$for(author)$$author$$sep$, $endfor$</p>$endif$
        $if(date)$<p>$date$</p>$endif$
        $if(abstract)$<div>$abstract$</div>$endif$
        $body$
        </body></html>
        """
    private static let maximumOutputBytes = 64 << 20

    /// Name of pandoc's reader; `nil` if it does not read the format.
    static func name(of format: DocumentFormat) -> String? {
        switch format {
        case .docx: "docx"
        case .odt: "odt"
        case .epub: "epub"
        case .rtf: "rtf"
        case .latex: "latex"
        case .restructuredText: "rst"
        case .org: "org"
        default: nil
        }
    }

    /// - Throws: `failedPrecondition` if pandoc is not installed; `invalidArgument` for what it cannot read, in its words; `resourceExhausted`
    ///   and `deadlineExceeded` past a bound.
    func read(_ bytes: [UInt8], as format: DocumentFormat) async throws -> ParsedDocument {
        switch format {
        case .docx:
            let package = try OfficePackage(bytes, maximumBytes: configuration.maximumExpandedBytes)
            let main = try package.mainPart()
            return try await complete(try await convert(bytes, format, title: package.title()), with: package.archive, part: main, textElement: "t")
        case .odt:
            let archive = try checkArchive(bytes)
            return try await complete(try await convert(bytes, format), with: archive, part: "content.xml", textElement: nil)
        case .epub: _ = try checkArchive(bytes)
        case .rtf:
            guard bytes.starts(with: "{\\rtf".utf8) else { throw ClusterError(.invalidArgument, "not RTF: {\\rtf is missing at its start") }
            return try await convert(bytes, format)
        default: return try await readMarkup(try TextDecoder.decode(bytes), format)
        }
        return try await convert(bytes, format)
    }

    /// Appends what pandoc left out as a section of its own: which heading it belongs to is not known.
    private func complete(_ document: ParsedDocument, with archive: ZipArchive, part: String, textElement: String?) async throws -> ParsedDocument {
        try await onIngestionThread {
            guard let xml = try? archive.content(of: part) else { return document }
            let paragraphs = OfficeRemainder.paragraphs(of: xml, in: textElement, missingFrom: document.text)
            guard !paragraphs.isEmpty else { return document }
            var writer = DocumentWriter()
            writer.append(document, under: 0)
            writer.heading("Further text", level: 1)
            for paragraph in paragraphs { writer.paragraph(paragraph) }
            return writer.finish(title: document.title)
        }
    }

    private func checkArchive(_ bytes: [UInt8]) throws(ClusterError) -> ZipArchive {
        let archive = try ZipArchive(bytes, maximumBytes: configuration.maximumExpandedBytes)
        if let name = archive.encryptedName { throw ClusterError(.invalidArgument, "\(name) in the archive is encrypted with a password") }
        try OpenDocumentReader.checkEncryption(archive)
        guard archive.has("META-INF/encryption.xml") else { return archive }
        // Fonts may be obfuscated in a book that is free to read; a text that is encrypted is not.
        var isTextEncrypted = false
        try XMLEvents.read(try archive.content(of: "META-INF/encryption.xml"), part: "META-INF/encryption.xml") { event in
            guard case .open("CipherReference", let attributes) = event, let uri = attributes["URI"]?.lowercased() else { return }
            if [".xhtml", ".html", ".htm", ".xml"].contains(where: uri.hasSuffix) { isTextEncrypted = true }
        }
        if isTextEncrypted { throw ClusterError(.invalidArgument, "the book is encrypted (META-INF/encryption.xml)") }
        return archive
    }

    /// Markup is text, which is not lost if pandoc is missing or does not understand it.
    private func readMarkup(_ decoded: DecodedText, _ format: DocumentFormat) async throws -> ParsedDocument {
        var document: ParsedDocument
        do {
            document = try await convert(decoded.bytes, format)
        } catch let error as ClusterError where [.failedPrecondition, .invalidArgument, .resourceExhausted, .deadlineExceeded].contains(error.code) {
            document = try await onIngestionThread { PlainTextReader.read(decoded.bytes) }
            document.notes.append("read as plain text: \(error.message)")
        }
        if let note = decoded.note { document.notes.append(note) }
        return document
    }

    /// - Parameter title: What the file's properties say, if pandoc finds no title in the text.
    private func convert(_ bytes: [UInt8], _ format: DocumentFormat, title: String? = nil) async throws -> ParsedDocument {
        // Beside the heap there are the program itself and the copies that its collector makes.
        let process = BoundedProcess(
            program: configuration.pandocProgram, package: "pandoc", timeout: configuration.pandocTimeout, timeoutName: "pandocTimeout",
            memoryBytes: configuration.pandocMemoryBytes * 3 + (1 << 30), outputBytes: Self.maximumOutputBytes)
        let outcome = try await process.run(
            on: bytes,
            arguments: [
                "+RTS", "-M\(configuration.pandocMemoryBytes >> 20)m", "-RTS", "--sandbox", "--quiet", "--from", Self.name(of: format)!, "--to", "html5", "--wrap=none",
                "--template", "{template.html}", "--output", "{output}", "{input}",
            ], files: ["template.html": Self.template])
        // 251 is GHC's own code for an exhausted heap.
        guard !outcome.isSignaled, outcome.exitCode != 251 else {
            throw ClusterError(
                .resourceExhausted,
                "\(configuration.pandocProgram) was ended by a limit: pandocMemoryBytes \(configuration.pandocMemoryBytes), pandocTimeout \(configuration.pandocTimeout) or \(Self.maximumOutputBytes) bytes of output")
        }
        guard outcome.exitCode == 0 else {
            throw ClusterError(.invalidArgument, "unreadable by pandoc: \(outcome.complaint.isEmpty ? "exit code \(outcome.exitCode)" : outcome.complaint)")
        }
        return try await onIngestionThread {
            var document = try HTMLReader.readWhole(outcome.output)
            if let title, outcome.output.firstRange(of: Array("<title></title>".utf8)) != nil { document.title = title }
            return document
        }
    }
}

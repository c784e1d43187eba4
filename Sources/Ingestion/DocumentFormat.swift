import Model

/// A kind of file that can be read.
package enum DocumentFormat: String, Sendable, CaseIterable {
    case markdown, html, plainText, pdf
    // By pandoc.
    case docx, odt, epub, rtf, latex, restructuredText, org
    // Archives of XML.
    case xlsx, pptx, ods, odp
    case notebook
    case mail, mailbox
    // Office before 2007, by catdoc.
    case doc, xls, ppt

    /// What an error or a help text lists.
    package static let names = "Markdown, HTML, text, PDF, Office (also OpenDocument, and of before 2007), RTF, EPUB, LaTeX, reStructuredText, Org, notebooks and e-mail"

    /// The media type.
    package var contentType: String {
        switch self {
        case .markdown: "text/markdown"
        case .html: "text/html"
        case .plainText: "text/plain"
        case .pdf: "application/pdf"
        case .docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        case .xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        case .pptx: "application/vnd.openxmlformats-officedocument.presentationml.presentation"
        case .odt: "application/vnd.oasis.opendocument.text"
        case .ods: "application/vnd.oasis.opendocument.spreadsheet"
        case .odp: "application/vnd.oasis.opendocument.presentation"
        case .epub: "application/epub+zip"
        case .rtf: "application/rtf"
        case .latex: "application/x-tex"
        case .restructuredText: "text/x-rst"
        case .org: "text/x-org"
        case .notebook: "application/x-ipynb+json"
        case .mail: "message/rfc822"
        case .mailbox: "application/mbox"
        case .doc: "application/msword"
        case .xls: "application/vnd.ms-excel"
        case .ppt: "application/vnd.ms-powerpoint"
        }
    }

    /// The format that a file's name tells by its extension; `nil` if it tells none that is supported.
    package init?(name: String) {
        switch fileExtension(of: name) {
        case "md", "markdown", "mdown", "mkd", "mdx": self = .markdown
        case "html", "htm", "xhtml", "xht": self = .html
        case "txt", "text", "adoc", "asciidoc": self = .plainText
        case "pdf": self = .pdf
        case "docx", "docm", "dotx": self = .docx
        case "xlsx", "xlsm", "xltx": self = .xlsx
        case "pptx", "pptm", "ppsx", "potx": self = .pptx
        case "odt", "ott": self = .odt
        case "ods", "ots": self = .ods
        case "odp", "otp": self = .odp
        case "epub": self = .epub
        case "rtf": self = .rtf
        case "tex", "latex", "ltx": self = .latex
        case "rst", "rest": self = .restructuredText
        case "org": self = .org
        case "ipynb": self = .notebook
        case "eml": self = .mail
        case "mbox", "mbx": self = .mailbox
        case "doc", "dot": self = .doc
        case "xls", "xlt": self = .xls
        case "ppt", "pps": self = .ppt
        default: return nil
        }
    }

    private init?(contentType: String) {
        let mediaType = contentType.prefix { $0 != ";" }.filter { !$0.isWhitespace }.lowercased()
        switch mediaType {
        case "text/x-markdown": self = .markdown
        case "application/xhtml+xml": self = .html
        case "application/x-pdf": self = .pdf
        case "text/rtf": self = .rtf
        case "application/x-latex", "text/x-tex": self = .latex
        // `text/plain` is what many clients call whatever they do not know, so the bytes decide.
        case "text/plain": return nil
        default:
            guard let format = Self.allCases.first(where: { $0.contentType == mediaType }) else { return nil }
            self = format
        }
    }

    /// The format of a file: by its name, else by its first bytes if they are unmistakable, else by the media type, else by the rest of it.
    ///
    /// - Throws: `invalidArgument` that says what the file is instead.
    package static func detect(_ bytes: [UInt8], name: String, contentType: String?) throws(ClusterError) -> DocumentFormat {
        if let format = DocumentFormat(name: name) { return format }
        if let format = container(bytes) { return format }
        if let kind = binaryKind(of: bytes) { throw ClusterError(.invalidArgument, "\(name) is \(kind), which is unsupported; supported are \(names)") }
        if let format = contentType.flatMap(DocumentFormat.init(contentType:)) { return format }
        let start = bytes.prefix(1_024)
        if start.starts(with: Array("%PDF-".utf8)) { return .pdf }
        let text = String(decoding: start, as: UTF8.self).drop { $0.isWhitespace || $0 == "\u{feff}" }.lowercased()
        if text.hasPrefix("<!doctype html") || text.hasPrefix("<html") || text.hasPrefix("<head") || text.hasPrefix("<body") { return .html }
        guard !TextDecoder.looksBinary(bytes) else {
            throw ClusterError(.invalidArgument, "\(name) is binary data of an unknown kind, which is unsupported; supported are \(names)")
        }
        return .plainText
    }

    /// Formats that their first bytes, or the parts of an archive, tell.
    private static func container(_ bytes: [UInt8]) -> DocumentFormat? {
        if bytes.starts(with: "{\\rtf".utf8) { return .rtf }
        switch CompoundFile.kind(of: bytes) {
        case .word: return .doc
        case .excel: return .xls
        case .powerPoint: return .ppt
        case .encryptedPackage: return .docx  // its reader says what is wrong
        case .message, .other, nil: break
        }
        guard bytes.starts(with: [0x50, 0x4b, 3, 4]), let archive = try? ZipArchive(bytes, maximumBytes: .max) else { return nil }
        if archive.has("word/document.xml") { return .docx }
        if archive.has("xl/workbook.xml") { return .xlsx }
        if archive.has("ppt/presentation.xml") { return .pptx }
        guard let type = try? archive.content(of: "mimetype") else { return nil }
        return DocumentFormat(contentType: String(decoding: type.prefix(100), as: UTF8.self))
    }

    /// What a file is that starts with one of the usual signatures of binary formats.
    static func binaryKind(of bytes: [UInt8]) -> String? {
        let signatures: [([UInt8], String)] = [
            ([0x89, 0x50, 0x4e, 0x47], "a PNG image"), ([0xff, 0xd8, 0xff], "a JPEG image"), (Array("GIF8".utf8), "a GIF image"),
            (Array("BM".utf8), "a BMP image"), ([0x50, 0x4b, 0x03, 0x04], "a ZIP archive or an Office document"), ([0x1f, 0x8b], "gzip data"),
            (Array("BZh".utf8), "bzip2 data"), ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "xz data"), ([0x28, 0xb5, 0x2f, 0xfd], "zstd data"),
            ([0x7f, 0x45, 0x4c, 0x46], "an ELF program"), ([0xd0, 0xcf, 0x11, 0xe0], "an old Office document or an Outlook message"),
            (Array("OggS".utf8), "Ogg audio or video"),
            (Array("ID3".utf8), "MP3 audio"), (Array("SQLite format 3".utf8), "an SQLite database"), (Array("{\\rtf".utf8), "an RTF document"),
            (Array("%!PS".utf8), "PostScript"), (Array("Rar!".utf8), "a RAR archive"), ([0x37, 0x7a, 0xbc, 0xaf], "a 7-Zip archive"),
        ]
        for (signature, kind) in signatures where bytes.starts(with: signature) {
            // Two letters also start a text.
            if signature.count > 2 || signature[0] == 0x1f || TextDecoder.looksBinary(bytes) { return kind }
        }
        return nil
    }
}

/// What follows the last dot of a path's last part, in lower case; empty if there is none.
private func fileExtension(of name: String) -> String {
    let last = name.split(separator: "/").last ?? ""
    guard let dot = last.lastIndex(of: "."), dot != last.startIndex else { return "" }
    return last[last.index(after: dot)...].lowercased()
}

import Model

/// A kind of file that can be read.
package enum DocumentFormat: String, Sendable, CaseIterable {
    case markdown
    case html
    case plainText
    case pdf

    /// The media type.
    package var contentType: String {
        switch self {
        case .markdown: "text/markdown"
        case .html: "text/html"
        case .plainText: "text/plain"
        case .pdf: "application/pdf"
        }
    }

    /// The format that a file's name tells by its extension; `nil` if it tells none that is supported.
    package init?(name: String) {
        switch fileExtension(of: name) {
        case "md", "markdown", "mdown", "mkd", "mdx": self = .markdown
        case "html", "htm", "xhtml", "xht": self = .html
        case "txt", "text", "rst", "adoc", "asciidoc", "org": self = .plainText
        case "pdf": self = .pdf
        default: return nil
        }
    }

    private init?(contentType: String) {
        let mediaType = contentType.prefix { $0 != ";" }.filter { !$0.isWhitespace }.lowercased()
        switch mediaType {
        case "text/markdown", "text/x-markdown": self = .markdown
        case "text/html", "application/xhtml+xml": self = .html
        case "application/pdf", "application/x-pdf": self = .pdf
        // `text/plain` is what many clients call whatever they do not know, so the bytes decide.
        default: return nil
        }
    }

    /// The format of a file: by its name, else by the media type, else by its first bytes.
    ///
    /// - Throws: `invalidArgument` that says what the file is instead.
    package static func detect(_ bytes: [UInt8], name: String, contentType: String?) throws(ClusterError) -> DocumentFormat {
        let supported = "supported are Markdown, HTML, plain text and PDF"
        if let format = DocumentFormat(name: name) { return format }
        if let kind = binaryKind(of: bytes) { throw ClusterError(.invalidArgument, "\(name) is \(kind), which is unsupported; \(supported)") }
        if let format = contentType.flatMap(DocumentFormat.init(contentType:)) { return format }
        let start = bytes.prefix(1_024)
        if start.starts(with: Array("%PDF-".utf8)) { return .pdf }
        let text = String(decoding: start, as: UTF8.self).drop { $0.isWhitespace || $0 == "\u{feff}" }.lowercased()
        if text.hasPrefix("<!doctype html") || text.hasPrefix("<html") || text.hasPrefix("<head") || text.hasPrefix("<body") { return .html }
        guard !TextDecoder.looksBinary(bytes) else {
            throw ClusterError(.invalidArgument, "\(name) is binary data of an unknown kind, which is unsupported; \(supported)")
        }
        return .plainText
    }

    /// What a file is that starts with one of the usual signatures of binary formats.
    static func binaryKind(of bytes: [UInt8]) -> String? {
        let signatures: [([UInt8], String)] = [
            ([0x89, 0x50, 0x4e, 0x47], "a PNG image"), ([0xff, 0xd8, 0xff], "a JPEG image"), (Array("GIF8".utf8), "a GIF image"),
            (Array("BM".utf8), "a BMP image"), ([0x50, 0x4b, 0x03, 0x04], "a ZIP archive or an Office document"), ([0x1f, 0x8b], "gzip data"),
            (Array("BZh".utf8), "bzip2 data"), ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "xz data"), ([0x28, 0xb5, 0x2f, 0xfd], "zstd data"),
            ([0x7f, 0x45, 0x4c, 0x46], "an ELF program"), ([0xd0, 0xcf, 0x11, 0xe0], "an old Office document"), (Array("OggS".utf8), "Ogg audio or video"),
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

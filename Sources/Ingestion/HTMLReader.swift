import Model

/// Extracts text and structure from HTML.
///
/// The text is made, not the file's own: paragraphs divided by blank lines, `- ` before items, ` | ` between cells, code as it stands.
/// Navigation, headers, footers, forms and scripts are left out; if hardly anything is left then, they are not.
enum HTMLReader {
    /// - Throws: `invalidArgument` if no tree can be made of it.
    ///
    /// - Parameter charset: What the sender says its encoding is, which counts more than what the page says.
    static func read(_ bytes: [UInt8], charset: String? = nil) throws(ClusterError) -> ParsedDocument {
        let decoded: DecodedText
        if let charset, let text = Charset.decode(bytes, from: charset) { decoded = text } else { decoded = try HTMLEncoding.decode(bytes) }
        var document = try read(decoded)
        if let note = decoded.note { document.notes.append(note) }
        return document
    }

    /// All of a page that is known to be nothing but a document.
    ///
    /// - Parameter bytes: UTF-8.
    static func readWhole(_ bytes: [UInt8]) throws(ClusterError) -> ParsedDocument {
        guard let tree = HTMLTree(bytes, encoding: "UTF-8") else { throw ClusterError(.invalidArgument, "the document is empty") }
        return extract(tree, .everything)
    }

    private static func read(_ decoded: DecodedText) throws(ClusterError) -> ParsedDocument {
        guard let tree = HTMLTree(decoded.bytes, encoding: "UTF-8") else { throw ClusterError(.invalidArgument, "undecodable as HTML: it has no elements") }
        let body = extract(tree, .body)
        let whole = extract(tree, .everything)
        let main = extract(tree, .main)
        // A main part or a body that is nearly empty means that the marks were not used as usual.
        if main.text.count * 3 >= body.text.count, main.text.count > 0, main.text.count * 20 >= whole.text.count { return main }
        return body.text.count * 20 >= whole.text.count && !body.text.isEmpty ? body : whole
    }

    private static func extract(_ tree: borrowing HTMLTree, _ scope: HTMLExtractor.Scope) -> ParsedDocument {
        var extractor = HTMLExtractor(scope: scope)
        tree.walk { extractor.visit($0) }
        return extractor.finish()
    }
}

/// Finds out how an HTML file's characters are encoded.
enum HTMLEncoding {
    /// The page as UTF-8: by the byte order mark, else by `charset` in the first bytes, else as plain text is.
    static func decode(_ bytes: [UInt8]) throws(ClusterError) -> DecodedText {
        let isMarked = bytes.starts(with: [0xef, 0xbb, 0xbf]) || bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff])
        guard !isMarked, let name = declared(bytes) else { return try TextDecoder.decode(bytes) }
        // A page whose ASCII can be read is not UTF-16, whatever it says.
        if !name.hasPrefix("utf-16"), let text = Charset.decode(bytes, from: name) { return text }
        return TextDecoder.decodeUnmarked(bytes)
    }

    /// The value after `charset=` or, in an XML declaration, `encoding=`, within the first 4,096 bytes.
    private static func declared(_ bytes: [UInt8]) -> String? {
        let start = String(decoding: bytes.prefix(4_096).map { $0 < 0x80 ? $0 : 0x3f }, as: UTF8.self).lowercased()
        for key in ["charset", "encoding"] {
            guard let found = start.firstRange(of: key) else { continue }
            let rest = start[found.upperBound...].drop { $0.isWhitespace }
            guard rest.first == "=" else { continue }
            let name = rest.dropFirst().drop { $0.isWhitespace || $0 == "\"" || $0 == "'" }.prefix { $0.isLetter || $0.isNumber || "-_:.".contains($0) }
            if !name.isEmpty { return String(name) }
        }
        return nil
    }
}

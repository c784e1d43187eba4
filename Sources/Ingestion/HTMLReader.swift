import Model

/// Extracts text and structure from HTML.
///
/// The text is made, not the file's own: paragraphs divided by blank lines, `- ` before items, ` | ` between cells, code as it stands.
/// Navigation, headers, footers, forms and scripts are left out; if hardly anything is left then, they are not.
enum HTMLReader {
    /// - Throws: `invalidArgument` if no tree can be made of it.
    static func read(_ bytes: [UInt8]) throws(ClusterError) -> ParsedDocument {
        let (bytes, encoding) = try HTMLEncoding.decode(bytes)
        guard let tree = HTMLTree(bytes, encoding: encoding) else { throw ClusterError(.invalidArgument, "undecodable as HTML: it has no elements") }
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
    /// Bytes and the name of their encoding as libxml2 knows it: by the byte order mark, else by `charset` in the first bytes, else UTF-8,
    /// else windows-1252.
    static func decode(_ bytes: [UInt8]) throws(ClusterError) -> ([UInt8], encoding: String) {
        let isMarked = bytes.starts(with: [0xef, 0xbb, 0xbf]) || bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff])
        guard !isMarked, let name = declared(bytes) else { return (try TextDecoder.decode(bytes), "UTF-8") }
        switch name {
        case "utf-8", "utf8", "unicode-1-1-utf-8": return (TextDecoder.decodeUnmarked(bytes), "UTF-8")
        // As browsers do: who says Latin-1 or ASCII means windows-1252.
        case "iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii", "windows-1252", "cp1252": return (TextDecoder.windows1252(bytes), "UTF-8")
        default: return HTMLTree.canDecode(name) ? (bytes, name) : (TextDecoder.decodeUnmarked(bytes), "UTF-8")
        }
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

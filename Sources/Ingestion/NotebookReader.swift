import Model

/// Reads a Jupyter notebook (nbformat 3 and 4) as the Markdown that its cells make: texts as they are, code and its text outputs in fences.
enum NotebookReader {
    static func read(_ bytes: [UInt8]) throws(ClusterError) -> ParsedDocument {
        let decoded = try TextDecoder.decode(bytes)
        let root: JSONInput
        do { root = try JSONReader.read(decoded.bytes) } catch { throw ClusterError(.invalidArgument, "unreadable notebook: \(error.message)") }
        guard let cells = (root["cells"] ?? root["worksheets"]?.elements?.first?["cells"])?.elements else {
            throw ClusterError(.invalidArgument, "unreadable notebook: it has no cells")
        }
        let language = (root["metadata"]?["language_info"]?["name"] ?? root["metadata"]?["kernelspec"]?["language"])?.text ?? ""
        var text: [UInt8] = []
        var marks: [ParsedDocument.Mark] = []
        for (index, cell) in cells.enumerated() {
            let parts = markdown(of: cell, language: language).filter { !$0.allSatisfy(\.isWhitespace) }
            guard !parts.isEmpty else { continue }
            if !text.isEmpty { text += [0x0a, 0x0a] }
            marks.append(.init(offset: text.count, place: Chunk.Place(.cell, index + 1)))
            text += Array(parts.joined(separator: "\n\n").utf8)
        }
        var document = MarkdownReader.read(text)
        document.marks = marks
        if let note = decoded.note { document.notes.append(note) }
        return document
    }

    private static func markdown(of cell: JSONInput, language: String) -> [String] {
        let source = (cell["source"] ?? cell["input"])?.text ?? ""
        switch cell["cell_type"]?.text {
        case "markdown", "raw": return [source]
        case "heading":
            let level = cell["level"]?.double.map { Int(max(1, min(6, $0))) } ?? 1
            return [String(repeating: "#", count: level) + " " + source]
        case "code":
            let outputs = (cell["outputs"]?.elements ?? []).map(output).filter { !$0.allSatisfy(\.isWhitespace) }
            return (source.allSatisfy(\.isWhitespace) ? [] : [fenced(source, language)]) + outputs.map { fenced($0, "") }
        default: return []
        }
    }

    /// What an output says as text; images and pages of HTML say nothing.
    private static func output(_ output: JSONInput) -> String {
        if output["output_type"]?.text == "error" || output["output_type"]?.text == "pyerr" {
            return "\(output["ename"]?.text ?? "error"): \(output["evalue"]?.text ?? "")"
        }
        return withoutEscapes((output["text"] ?? output["data"]?["text/plain"])?.text ?? "")
    }

    /// Without a terminal's colours.
    private static func withoutEscapes(_ text: String) -> String {
        guard text.utf8.contains(0x1b) else { return text }
        var bytes: [UInt8] = []
        var isEscape = false
        for byte in text.utf8 {
            if byte == 0x1b { isEscape = true } else if !isEscape { bytes.append(byte) } else if byte.isLetter { isEscape = false }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// In a fence longer than any run of backticks inside.
    private static func fenced(_ code: String, _ language: String) -> String {
        var (run, longest) = (0, 2)
        for byte in code.utf8 {
            run = byte == UInt8(ascii: "`") ? run + 1 : 0
            longest = max(longest, run)
        }
        let fence = String(repeating: "`", count: longest + 1)
        return "\(fence)\(language)\n\(code)\(code.hasSuffix("\n") ? "" : "\n")\(fence)"
    }
}

extension JSONInput {
    fileprivate subscript(_ key: String) -> JSONInput? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }

    /// A string, or a list of strings that are its lines.
    fileprivate var text: String? {
        if case .string(let text) = self { return text }
        return elements?.reduce(into: "") { if case .string(let line) = $1 { $0 += line } }
    }
}

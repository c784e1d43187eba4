import Model

/// Reads a Jupyter notebook (nbformat 3 and 4) as the Markdown that each of its cells makes: texts as they are, code and its text outputs in
/// fences. What a cell leaves open ends with it.
enum NotebookReader {
    static func read(_ bytes: [UInt8]) throws(ClusterError) -> ParsedDocument {
        let decoded = try TextDecoder.decode(bytes)
        let root: JSONInput
        do { root = try JSONReader.read(decoded.bytes) } catch { throw ClusterError(.invalidArgument, "unreadable notebook: \(error.message)") }
        guard let cells = (root["cells"] ?? root["worksheets"]?.elements?.first?["cells"])?.elements else {
            throw ClusterError(.invalidArgument, "unreadable notebook: it has no cells")
        }
        let language = (root["metadata"]?["language_info"]?["name"] ?? root["metadata"]?["kernelspec"]?["language"])?.text ?? ""
        var writer = DocumentWriter()
        var title: String?
        for (index, cell) in cells.enumerated() {
            let parts = parts(of: cell, language: language, isFirst: index == 0).filter { !$0.blocks.isEmpty }
            guard !parts.isEmpty else { continue }
            writer.mark(.cell, index + 1)
            for part in parts {
                title = title ?? part.title
                writer.append(part, under: 0)
            }
        }
        if let note = decoded.note { writer.note(note) }
        return writer.finish(title: title)
    }

    private static func parts(of cell: JSONInput, language: String, isFirst: Bool) -> [ParsedDocument] {
        let source = (cell["source"] ?? cell["input"])?.text ?? ""
        switch cell["cell_type"]?.text {
        case "markdown", "raw": return [markdown(source, isWhole: isFirst)]
        case "heading":
            let level = cell["level"]?.double.map { Int(max(1, min(6, $0))) } ?? 1
            return [markdown(String(repeating: "#", count: level) + " " + source)]
        case "code": return [markdown(fenced(source, language))] + (cell["outputs"]?.elements ?? []).map(output)
        default: return []
        }
    }

    private static func markdown(_ text: String, isWhole: Bool = false) -> ParsedDocument { MarkdownReader.read(Array(text.utf8), isWhole: isWhole) }

    /// What an output says: its text, or one of its other forms where the text is only the name of an object; images say nothing.
    private static func output(_ output: JSONInput) -> ParsedDocument {
        if output["output_type"]?.text == "error" || output["output_type"]?.text == "pyerr" {
            return markdown(fenced("\(output["ename"]?.text ?? "error"): \(output["evalue"]?.text ?? "")", ""))
        }
        let data = output["data"]
        if let text = data?["text/markdown"]?.text { return markdown(text) }
        let plain = (output["text"] ?? data?["text/plain"])?.text
        if plain?.hasPrefix("<IPython.core.display.") ?? true {
            if let text = data?["text/latex"]?.text { return markdown(text) }
            if let page = data?["text/html"]?.text, let document = try? HTMLReader.readWhole(Array(page.utf8)) { return document }
        }
        return markdown(fenced(withoutEscapes(plain ?? ""), ""))
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
        guard !code.allSatisfy(\.isWhitespace) else { return "" }
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

import Model

/// Reads an OpenDocument spreadsheet or presentation: each sheet or slide is a section. (Texts are pandoc's.)
struct OpenDocumentReader {
    static func read(_ bytes: [UInt8], maximumBytes: Int) throws(ClusterError) -> ParsedDocument {
        let archive = try ZipArchive(bytes, maximumBytes: maximumBytes)
        try Self.checkEncryption(archive)
        var state = State()
        try XMLEvents.read(try archive.content(of: "content.xml"), part: "content.xml") { event in state.visit(event) }
        return state.finish()
    }

    /// The manifest names each part that a password protects.
    static func checkEncryption(_ archive: ZipArchive) throws(ClusterError) {
        guard archive.has("META-INF/manifest.xml") else { return }
        var isEncrypted = false
        try XMLEvents.read(try archive.content(of: "META-INF/manifest.xml"), part: "META-INF/manifest.xml") { event in
            if case .open("encryption-data", _) = event { isEncrypted = true }
        }
        if isEncrypted { throw ClusterError(.invalidArgument, "the document is encrypted with a password") }
    }

    private struct State {
        var writer = DocumentWriter()
        private var (sheets, slides) = (0, 0)
        private var (rows, cells) = ([String](), [String]())
        private var (text, cell) = ("", "")
        private var lines: [String] = []
        private var (depth, tableDepth, repeats, isNotes) = (0, 0, 1, false)
        private var titleClass = false
        private var slideName = ""
        private var hasHeading = false

        mutating func visit(_ event: XMLEvents.Event) {
            switch event {
            case .open("table", let attributes):
                tableDepth += 1
                guard tableDepth == 1 else { return }
                rows = []
                guard slides == 0 else { return }
                sheets += 1
                writer.mark(.sheet, sheets)
                slideName = attributes["name"] ?? ""
            case .close("table"):
                tableDepth -= 1
                guard tableDepth == 0, !rows.isEmpty else { return }
                if slides == 0 { writer.heading(slideName, level: 1) }
                writer.block(.table, lines: rows)
            case .open("table-row", _): cells = []
            case .close("table-row"):
                while cells.last?.isEmpty == true { cells.removeLast() }
                if !cells.isEmpty { rows.append(cells.joined(separator: " | ")) }
            case .open("table-cell", let attributes), .open("covered-table-cell", let attributes):
                // Empty cells to the sheet's edge are one cell that says how often it stands there.
                repeats = min(256, max(1, attributes["number-columns-repeated"].flatMap { Int($0) } ?? 1))
                cell = ""
            case .close("table-cell"), .close("covered-table-cell"): for _ in 0..<repeats where cells.count < 256 { cells.append(cell) }
            case .open("page", let attributes):
                slides += 1
                (slideName, hasHeading) = (attributes["name"] ?? "Slide \(slides)", false)
                writer.mark(.slide, slides)
            case .open("notes", _): isNotes = true
            case .close("notes"): isNotes = false
            case .open("frame", let attributes): (titleClass, lines) = (attributes["class"] == "title", [])
            case .close("frame"): endFrame()
            case .open("p", _), .open("h", _):
                if depth == 0 { text = "" }
                depth += 1
            case .open("s", _), .open("tab", _), .open("line-break", _): text += " "
            case .text(let piece): if depth > 0 { text += piece }
            case .close("p"), .close("h"):
                depth -= 1
                let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                guard depth == 0, !line.isEmpty else { return }
                if tableDepth > 0 { cell = cell.isEmpty ? line : cell + " " + line } else { lines.append(line) }
            default: break
            }
        }

        private mutating func endFrame() {
            defer { lines = [] }
            guard !lines.isEmpty, slides > 0 else { return }
            if titleClass, !hasHeading {
                hasHeading = true
                return writer.heading(lines.joined(separator: " "), level: 1)
            }
            if !hasHeading, !isNotes {
                hasHeading = true
                writer.heading(slideName, level: 1)
            }
            if isNotes { writer.paragraph("Notes: " + lines.joined(separator: "\n")) } else if lines.count == 1 { writer.paragraph(lines[0]) } else {
                writer.block(.list, lines: lines)
            }
        }

        mutating func finish() -> ParsedDocument { writer.finish(title: nil) }
    }
}

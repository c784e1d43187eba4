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
        private static let shapes: Set<String> = [
            "frame", "custom-shape", "rect", "ellipse", "circle", "line", "polyline", "polygon", "path", "connector", "caption", "measure", "regular-polygon",
        ]

        private enum Part { case title(String), lines([String]), table([String]), notes([String]) }

        private var writer = DocumentWriter()
        private var (sheets, slides) = (0, 0)
        private var (rows, cells) = ([String](), [String]())
        private var (text, cell) = ("", "")
        /// Of a shape, or of all shapes of a sheet.
        private var lines: [String] = []
        private var (depth, tableDepth, repeats) = (0, 0, 1)
        private var (isNotes, isTitle, isInShapes) = (false, false, false)
        /// Of a sheet or slide.
        private var name = ""
        /// What the slide has, in the order of drawing.
        private var parts: [Part] = []

        mutating func visit(_ event: XMLEvents.Event) {
            switch event {
            case .open("table", let attributes):
                tableDepth += 1
                guard tableDepth == 1 else { return }
                rows = []
                guard slides == 0 else { return }
                sheets += 1
                writer.mark(.sheet, sheets)
                name = attributes["name"] ?? ""
            case .close("table"):
                tableDepth -= 1
                guard tableDepth == 0 else { return }
                if slides == 0 { endSheet() } else if !rows.isEmpty { parts.append(.table(rows)) }
            case .open("shapes", _): isInShapes = true
            case .close("shapes"): isInShapes = false
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
                name = attributes["name"] ?? "Slide \(slides)"
            case .close("page"): endSlide()
            case .open("notes", _):
                endShape()
                isNotes = true
            case .close("notes"):
                endShape()
                isNotes = false
            case .open(let shape, let attributes) where Self.shapes.contains(shape):
                endShape()
                isTitle = attributes["class"] == "title"
            case .close(let shape) where Self.shapes.contains(shape): endShape()
            case .open("p", _), .open("h", _):
                if depth == 0 { text = "" }
                depth += 1
            case .open("s", _), .open("tab", _), .open("line-break", _): text += " "
            case .text(let piece): if depth > 0 { text += piece }
            case .close("p"), .close("h"):
                depth -= 1
                let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                guard depth == 0, !line.isEmpty else { return }
                if tableDepth > 0, !isInShapes { cell = cell.isEmpty ? line : cell + " " + line } else { lines.append(line) }
            default: break
            }
        }

        private mutating func endShape() {
            guard slides > 0 else { return }
            if !lines.isEmpty { parts.append(isNotes ? .notes(lines) : isTitle ? .title(lines.joined(separator: " ")) : .lines(lines)) }
            (isTitle, lines) = (false, [])
        }

        private mutating func endSheet() {
            defer { lines = [] }
            guard !rows.isEmpty || !lines.isEmpty else { return }
            writer.heading(name, level: 1)
            writer.block(.table, lines: rows)
            for line in lines { writer.paragraph(line) }
        }

        /// Its title is the heading, wherever it was drawn.
        private mutating func endSlide() {
            endShape()
            defer { parts = [] }
            guard !parts.isEmpty else { return }
            writer.mark(.slide, slides)
            let title = parts.firstIndex { if case .title = $0 { true } else { false } }
            if let title, case .title(let text) = parts.remove(at: title) { writer.heading(text, level: 1) } else { writer.heading(name, level: 1) }
            for part in parts {
                switch part {
                case .title(let text): writer.paragraph(text)
                case .lines(let lines): if lines.count == 1 { writer.paragraph(lines[0]) } else { writer.block(.list, lines: lines) }
                case .table(let rows): writer.block(.table, lines: rows)
                case .notes(let lines): writer.paragraph("Notes: " + lines.joined(separator: "\n"))
                }
            }
        }

        func finish() -> ParsedDocument { writer.finish(title: nil) }
    }
}

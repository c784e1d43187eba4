import Model

/// Reads a PowerPoint presentation (PresentationML): each slide is a section under its title, with its tables and its notes.
struct PresentationReader {
    private let package: OfficePackage

    static func read(_ bytes: [UInt8], maximumBytes: Int) throws(ClusterError) -> ParsedDocument {
        try PresentationReader(package: try OfficePackage(bytes, maximumBytes: maximumBytes)).document()
    }

    private func document() throws(ClusterError) -> ParsedDocument {
        let main = try package.mainPart()
        let relations = try package.relations(of: main)
        var slides: [String] = []
        try package.read(main) { event in
            guard case .open("sldId", let attributes) = event, let part = attributes["r:id"].flatMap({ relations[$0]?.target }) else { return }
            slides.append(part)
        }
        var writer = DocumentWriter()
        for (index, part) in slides.enumerated() where package.archive.has(part) {
            var slide = try shapes(part)
            let relations = try package.relations(of: part).values.filter { package.archive.has($0.target) }
            // The texts of a SmartArt graphic are in a part of its own.
            for diagram in relations.filter({ $0.type == "diagramData" }).map(\.target).sorted() { slide += try shapes(diagram) }
            let notes = relations.first { $0.type == "notesSlide" }
            let spoken = try notes.map { relation throws(ClusterError) in try shapes(relation.target) } ?? []
            guard !slide.isEmpty || !spoken.isEmpty else { continue }
            writer.mark(.slide, index + 1)
            let titleIndex = slide.firstIndex { $0.isTitle }
            let title = titleIndex.map { slide.remove(at: $0).lines.joined(separator: " ") } ?? ""
            if !title.isEmpty { writer.heading(title, level: 1) } else if !writer.isEmpty { writer.heading("Slide \(index + 1)", level: 1) }
            for shape in slide {
                if !shape.rows.isEmpty { writer.block(.table, lines: shape.rows) }
                if shape.lines.count == 1 { writer.paragraph(shape.lines[0]) } else { writer.block(.list, lines: shape.lines) }
            }
            for shape in spoken where shape.isBody { writer.paragraph("Notes: " + shape.lines.joined(separator: "\n")) }
        }
        return writer.finish(title: package.title().flatMap { $0 == "PowerPoint Presentation" ? nil : $0 })
    }

    private struct Shape {
        var isTitle = false
        var isBody = false
        /// Slide numbers, dates, footers.
        var isFurniture = false
        var lines: [String] = []
        var rows: [String] = []
    }

    /// The shapes that have text, in the order of the file, which is that of drawing.
    private func shapes(_ part: String) throws(ClusterError) -> [Shape] {
        var shapes: [Shape] = []
        var shape = Shape()
        var (line, cells, isText, tableDepth, level) = ("", [String](), false, 0, 0)
        try package.read(part) { event in
            switch event {
            case .open("sp", _), .open("graphicFrame", _): shape = Shape()
            case .open("ph", let attributes):
                let type = attributes["type"] ?? "body"
                shape.isTitle = type == "title" || type == "ctrTitle"
                shape.isBody = type == "body"
                shape.isFurniture = ["sldNum", "dt", "ftr", "hdr"].contains(type)
            case .open("tbl", _): tableDepth += 1
            case .close("tbl"): tableDepth -= 1
            case .open("tr", _): cells = []
            case .close("tr"): if cells.contains(where: { !$0.isEmpty }) { shape.rows.append(cells.joined(separator: " | ")) }
            case .open("tc", _): cells.append("")
            case .open("p", _): (line, level) = ("", 0)
            case .open("pPr", let attributes): level = min(8, max(0, attributes["lvl"].flatMap { Int($0) } ?? 0))
            case .open("br", _): line += " "
            case .open("t", _): isText = true
            case .close("t"): isText = false
            case .text(let text): if isText { line += text }
            case .close("p"):
                let text = line.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                guard !text.isEmpty else { return }
                if tableDepth > 0, let last = cells.last { cells[cells.count - 1] = last.isEmpty ? text : last + " " + text } else {
                    shape.lines.append(String(repeating: "  ", count: level) + text)
                }
            case .close("sp"), .close("graphicFrame"), .close("dataModel"):
                if !shape.isFurniture, !shape.lines.isEmpty || !shape.rows.isEmpty { shapes.append(shape) }
                shape = Shape()
            default: break
            }
        }
        return shapes
    }
}

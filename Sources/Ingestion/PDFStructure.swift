import Model

/// Makes headings and paragraphs of lines with places.
struct PDFStructure {
    private let layout: PDFLayout
    /// Height of most of the text's lines.
    private let bodyHeight: Double
    /// Heights of headings, the largest first: a height's position is its level.
    private let headingHeights: [Double]

    init(_ layout: PDFLayout) {
        let pages = PageFurniture(layout.pages).removed().map(PDFStructure.withJoinedRows).filter { !PDFStructure.isContents($0) }
        var weights: [Double: Int] = [:]
        for line in pages.lazy.flatMap(\.lines) { weights[line.height.roundedToHalf, default: 0] += line.text.utf8.count }
        let body = weights.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? 0
        // A heading's font is at least a tenth larger than the text's.
        var sizes: [Double] = []
        for height in weights.keys.sorted(by: >) where height >= body * 1.1 && sizes.last.map({ $0 - height > 0.75 }) ?? true { sizes.append(height) }
        bodyHeight = body
        headingHeights = sizes
        self.layout = PDFLayout(title: layout.title, pages: pages)
    }

    func document() -> ParsedDocument {
        var writer = Writer()
        for page in layout.pages {
            let columns = Columns(page)
            writer.beginPage(page.number)
            for block in blocks(of: page) {
                if let level = headingLevel(block) {
                    writer.heading(block.map(\.text), level: level)
                } else {
                    writer.paragraph(block, column: columns.range(of: block))
                }
            }
            writer.endPage()
        }
        return writer.finish(title: title)
    }

    /// The page with single-line blocks that follow each other at one height as one line: numbers of headings, cells of a row.
    private static func withJoinedRows(_ page: PDFLayout.Page) -> PDFLayout.Page {
        var counts: [Int: Int] = [:]
        for line in page.lines { counts[line.block, default: 0] += 1 }
        var joined = PDFLayout.Page(number: page.number, height: page.height)
        for line in page.lines {
            if let last = joined.lines.last, last.block != line.block, counts[last.block]! == 1 || counts[line.block]! == 1, line.left >= last.right,
                abs(last.bottom - line.bottom) < line.height / 4, abs(last.height - line.height) < line.height / 4
            {
                let index = joined.lines.count - 1
                joined.lines[index].text += " " + line.text
                joined.lines[index].right = line.right
                joined.lines[index].block = line.block
            } else {
                joined.lines.append(line)
            }
        }
        return joined
    }

    /// Whether the page is of a table of contents: a third of its lines have rows of dots.
    private static func isContents(_ page: PDFLayout.Page) -> Bool {
        let dotted = page.lines.lazy.filter { hasLeaders($0.text) }.count
        return dotted >= 5 && dotted * 3 >= page.lines.count
    }

    fileprivate static func hasLeaders(_ text: String) -> Bool { text.contains(". . . .") || text.contains(".....") }

    /// The page's lines by block, and within a block apart where a heading's font begins or ends.
    private func blocks(of page: PDFLayout.Page) -> [[PDFLayout.Line]] {
        var blocks: [[PDFLayout.Line]] = []
        for line in page.lines {
            if let last = blocks.last?.last, last.block == line.block, isLarge(last) == isLarge(line), !isLarge(line) || abs(last.height - line.height) < 0.75 {
                blocks[blocks.count - 1].append(line)
            } else {
                blocks.append([line])
            }
        }
        return blocks
    }

    private func isLarge(_ line: PDFLayout.Line) -> Bool { line.height >= bodyHeight * 1.1 }

    private func headingLevel(_ block: [PDFLayout.Line]) -> Int? {
        let length = block.reduce(0) { $0 + $1.text.utf8.count }
        guard length <= 250, block[0].text.contains(where: \.isLetter), !block.contains(where: { PDFStructure.hasLeaders($0.text) }) else { return nil }
        if block.allSatisfy(isLarge) {
            return (headingHeights.firstIndex { $0 <= block[0].height + 0.75 } ?? headingHeights.count) + 1
        }
        guard block.count == 1, let level = Numbering.level(of: Array(block[0].text.utf8)[...]) else { return nil }
        return headingHeights.count + level
    }

    /// From the metadata, unless a program put a file's name there; else the largest heading of the first page that has one.
    private var title: String? {
        let title = layout.title.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let isName = ["Microsoft", "untitled", "Untitled", "PowerPoint"].contains { title.hasPrefix($0) }
            || [".doc", ".docx", ".tex", ".dvi", ".indd", ".pdf", ".odt", ".ps"].contains { title.lowercased().hasSuffix($0) }
        if title.utf8.count > 3, !isName { return title }
        guard let page = layout.pages.prefix(3).first(where: { $0.lines.contains(where: isLarge) }) else { return nil }
        return blocks(of: page).filter { headingLevel($0) != nil }.max { $0[0].height < $1[0].height }?.map(\.text).joined(separator: " ")
    }
}

extension PDFStructure {
    /// How far lines reach that begin at about the same place.
    private struct Columns {
        private static let width = 60.0
        private var rights: [Int: Double] = [:]

        init(_ page: PDFLayout.Page) {
            for line in page.lines { rights[Self.key(line.left), default: 0] = max(rights[Self.key(line.left)] ?? 0, line.right) }
        }

        func range(of block: [PDFLayout.Line]) -> ClosedRange<Double> {
            let left = block.lazy.map(\.left).min() ?? 0
            let right = (-1...1).compactMap { rights[Self.key(left) + $0] }.max() ?? left
            return left...max(left, right)
        }

        /// Hostile files have places beyond any page.
        private static func key(_ left: Double) -> Int { Int(max(-1e6, min(1e6, left / width))) }
    }

    /// Collects the text and its blocks.
    private struct Writer {
        private var document = ParsedDocument(text: [])
        /// The last block is a paragraph that the page's end may have cut.
        private var endsOpen = false

        mutating func beginPage(_ number: Int) { page = number }

        mutating func heading(_ lines: [String], level: Int) {
            let title = lines.reduce("") { Writer.joined($0, $1) }
            begin()
            document.text += Array(title.utf8)
            end(.heading(level: level, title: title))
        }

        /// Lines that reach the right edge of their column go on in the next; shorter ones end there, as those of code and addresses do.
        mutating func paragraph(_ lines: [PDFLayout.Line], column: ClosedRange<Double>) {
            let edge = column.upperBound - (column.upperBound - column.lowerBound) * 0.2
            var text = ""
            for (index, line) in lines.enumerated() {
                let next = line.text
                if index > 0, lines[index - 1].right < edge, !lines[index - 1].text.hasSuffix("-") {
                    text += "\n" + next
                } else {
                    text = Writer.joined(text, next)
                }
            }
            if endsOpen, let first = text.first, first.isLowercase, let last = document.blocks.popLast() {
                // The sentence began on the page before.
                let before = String(decoding: document.text[last.range], as: UTF8.self)
                document.text.removeLast(document.text.count - last.range.lowerBound)
                let joined = Writer.joined(before, text)
                mark(at: document.text.count + joined.utf8.count - text.utf8.count)
                append(joined)
            } else {
                begin()
                append(text)
            }
            endsOpen = false
        }

        mutating func endPage() {
            guard let last = document.blocks.last, last.kind == .paragraph, let byte = document.text.last else { return }
            endsOpen = !".:!?".utf8.contains(byte)
        }

        mutating func finish(title: String?) -> ParsedDocument {
            document.title = title
            return document
        }

        private mutating func begin() {
            endsOpen = false
            if !document.text.isEmpty { document.text += [0x0a, 0x0a] }
            start = document.text.count
            mark(at: start)
        }

        private var start = 0
        private var page = 0

        private mutating func mark(at offset: Int) {
            if document.marks.last?.place.first != page { document.marks.append(.init(offset: offset, place: Chunk.Place(.page, page))) }
        }

        private mutating func append(_ text: String) {
            start = document.text.count
            document.text += Array(text.utf8)
            end(.paragraph)
        }

        private mutating func end(_ kind: ParsedDocument.Block.Kind) {
            let range = document.trimmed(start..<document.text.count)
            if !range.isEmpty { document.blocks.append(.init(kind, range)) }
        }

        /// Joins two lines of a paragraph; a hyphen between small letters at the first one's end was put there by the line break.
        private static func joined(_ first: String, _ second: String) -> String {
            guard !first.isEmpty else { return second }
            let isCut = first.hasSuffix("-") && first.dropLast().last?.isLowercase == true && second.first?.isLowercase == true
            return isCut ? String(first.dropLast()) + second : first + " " + second
        }
    }
}

extension Double {
    /// Heights of one font differ by rounding only.
    fileprivate var roundedToHalf: Double { (self * 2).rounded() / 2 }
}

import Model

/// Makes the text and structure of a document whose format has no text of its own, block by block, with an empty line between.
struct DocumentWriter {
    private(set) var document = ParsedDocument(text: [])

    var isEmpty: Bool { document.blocks.isEmpty }

    /// What follows is in this part of the original.
    mutating func mark(_ unit: Chunk.Place.Unit, _ number: Int) {
        document.marks.append(.init(offset: document.text.isEmpty ? 0 : document.text.count + 2, place: Chunk.Place(unit, number)))
    }

    mutating func note(_ note: String) { if !document.notes.contains(note) { document.notes.append(note) } }

    mutating func heading(_ title: String, level: Int) {
        let title = title.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        append(title, .heading(level: level, title: title))
    }

    mutating func paragraph(_ text: String) { append(text, .paragraph) }

    /// A table, a list or code; it is best cut between `lines`.
    mutating func block(_ kind: ParsedDocument.Block.Kind, lines: [String]) {
        var text = ""
        var cuts: [Int] = []
        for line in lines where kind == .code || !line.allSatisfy(\.isWhitespace) {
            if !text.isEmpty {
                text += "\n"
                cuts.append(text.utf8.count)
            }
            text += line
        }
        append(text, kind, cuts: cuts)
    }

    /// Another document's text and blocks, its headings `level` levels deeper.
    mutating func append(_ other: ParsedDocument, under level: Int) {
        for note in other.notes { self.note(note) }
        guard !other.blocks.isEmpty else { return }
        separate()
        let offset = document.text.count
        document.text += other.text
        func moved(_ range: Range<Int>) -> Range<Int> { (range.lowerBound + offset)..<(range.upperBound + offset) }
        for var block in other.blocks {
            block.range = moved(block.range)
            block.cuts = block.cuts.map { $0 + offset }
            block.finerCuts = block.finerCuts.map { $0 + offset }
            if case .heading(let inner, let title) = block.kind { block.kind = .heading(level: inner + level, title: title) }
            document.blocks.append(block)
        }
        document.markup += other.markup.map(moved)
        document.marks += other.marks.map { .init(offset: $0.offset + offset, place: $0.place) }
    }

    func finish(title: String?) -> ParsedDocument {
        var document = document
        document.title = title.flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
        return document
    }

    private mutating func append(_ text: String, _ kind: ParsedDocument.Block.Kind, cuts: [Int] = []) {
        guard !text.allSatisfy(\.isWhitespace) else { return }
        separate()
        let start = document.text.count
        document.text += Array(text.utf8)
        let range = document.trimmed(start..<document.text.count)
        document.blocks.append(.init(kind, range, cuts: cuts.map { $0 + start }.filter { $0 > range.lowerBound && $0 < range.upperBound }))
    }

    private mutating func separate() { if !document.text.isEmpty { document.text += [0x0a, 0x0a] } }
}

/// Finds the structure of Markdown: CommonMark's blocks and tables, front matter, and the notes, tabs and zones of documentation sets.
///
/// The text stays the file's own; what is not to be embedded (link targets, emphasis marks, fences) is listed as markup. Front matter,
/// comments, link definitions, zone marks and includes are in no block, but the front matter's description is a paragraph before the first
/// heading. One pass by lines and one by bytes: O(text).
struct MarkdownReader {
    private let text: [UInt8]
    private var lines: MarkdownLines
    private var document: ParsedDocument

    /// - Parameters:
    ///   - text: Valid UTF-8.
    ///   - isWhole: Whether it is a file's, which may begin with front matter.
    static func read(_ text: [UInt8], isWhole: Bool = true) -> ParsedDocument {
        var reader = MarkdownReader(text: text, lines: MarkdownLines(text), document: ParsedDocument(text: text))
        reader.readBlocks(from: isWhole ? reader.readFrontMatter() : 0)
        return reader.document
    }

    private mutating func readBlocks(from start: Int) {
        var index = start
        while index < lines.count {
            let line = lines.content(of: index)
            if line.isEmpty {
                index += 1
            } else if lines.indentation(of: index) >= 4 {
                index = readIndentedCode(from: index)
            } else if lines.isMark(line) || lines.isDefinition(line) {
                if let title = lines.containerTitle(line) {
                    MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
                    document.blocks.append(.init(.paragraph, title))
                }
                index += 1
            } else if lines.starts(line, with: "<!--") {
                index = skipComment(from: index)
            } else if lines.starts(line, with: "<pre>") || lines.starts(line, with: "<pre ") {
                index = readPreformatted(from: index)
            } else if let fence = MarkdownFence(text[line]) {
                index = readFencedCode(fence, from: index)
            } else if let level = lines.headingLevel(line) {
                readHeading(level: level, line: line)
                index += 1
            } else if lines.itemMarkerLength(line) > 0, !lines.isRule(line) {
                index = readList(from: index)
            } else if lines.isRule(line) {
                index += 1
            } else if lines.isTable(at: index) {
                index = readTable(from: index)
            } else {
                index = readParagraph(from: index)
            }
        }
        if document.title == nil {
            for case .heading(_, let title) in document.blocks.lazy.map(\.kind) {
                document.title = title
                break
            }
        }
    }

    // MARK: - Blocks

    /// Takes title and description from YAML between `---` lines; returns the index of the first line of the body.
    ///
    /// A rule may begin a document as well: what is not YAML line by line is the body.
    private mutating func readFrontMatter() -> Int {
        guard lines.count > 1, text[lines[0]].elementsEqual("---".utf8), !lines.content(of: 1).isEmpty else { return 0 }
        guard let end = lines.indices.dropFirst().prefix(1_000).first(where: { text[lines[$0]].elementsEqual("---".utf8) || text[lines[$0]].elementsEqual("...".utf8) }),
            (1..<end).allSatisfy(lines.isFrontMatter)
        else { return 0 }
        for index in 1..<end {
            if let value = frontMatterValue(of: "title:", at: index) {
                document.title = document.embeddableText(value)
            } else if let value = frontMatterValue(of: "description:", at: index), value.count > 3 {
                document.blocks.append(.init(.paragraph, value))
            }
        }
        return end + 1
    }

    /// The bytes of a plain or quoted value; `nil` for another key, no value, or a block style.
    private func frontMatterValue(of key: String, at index: Int) -> Range<Int>? {
        guard text[lines[index]].starts(with: key.utf8) else { return nil }
        var value = document.trimmed(lines[index].lowerBound + key.utf8.count..<lines[index].upperBound)
        guard let first = text[value].first, !"|>&*".utf8.contains(first) else { return nil }
        if value.count >= 2, "\"'".utf8.contains(first), text[value.upperBound - 1] == first { value = value.lowerBound + 1..<value.upperBound - 1 }
        return value.isEmpty ? nil : value
    }

    /// Returns the index of the line in which the comment ends, of which only what is behind the comment is left.
    private mutating func skipComment(from start: Int) -> Int {
        for index in start..<lines.count {
            guard let end = text[lines[index]].firstRange(of: Array("-->".utf8))?.upperBound else { continue }
            lines[index] = document.trimmed(end..<lines[index].upperBound)
            return index
        }
        return lines.count
    }

    /// HTML's own blocks of code, in which `#` opens no heading.
    private mutating func readPreformatted(from start: Int) -> Int {
        let end = (start..<lines.count).first { text[lines[$0]].firstRange(of: Array("</pre>".utf8)) != nil } ?? lines.count - 1
        let range = lines.content(of: start).lowerBound..<lines.content(of: end).upperBound
        var tag = range.lowerBound
        while case let length = MarkdownInline.tagLength(in: text, tag..<range.upperBound), length > 0 {
            document.markup.append(tag..<tag + length)
            tag += length
        }
        if let closing = text[tag..<range.upperBound].firstRange(of: Array("</pre>".utf8)) { document.markup.append(closing) }
        document.blocks.append(.init(.code, range, cuts: (start...end).dropFirst().map { lines[$0].lowerBound }))
        return end + 1
    }

    private mutating func readHeading(level: Int, line: Range<Int>) {
        var title = line.lowerBound + level..<line.upperBound
        document.markup.append(line.lowerBound..<title.lowerBound)
        let closing = text[title].reversed().prefix { $0 == UInt8(ascii: "#") }.count
        if closing > 0, closing < title.count, text[title.upperBound - closing - 1].isSpace { title = title.lowerBound..<title.upperBound - closing }
        title = document.trimmed(title)
        MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
        if title.upperBound < line.upperBound { document.markup.append(title.upperBound..<line.upperBound) }
        document.blocks.append(.init(.heading(level: level, title: document.embeddableText(title)), line))
    }

    private mutating func readFencedCode(_ fence: MarkdownFence, from start: Int) -> Int {
        document.markup.append(lines.content(of: start))
        var index = start + 1
        while index < lines.count, !fence.isClosed(by: text[lines.content(of: index)]) { index += 1 }
        let end = min(index, lines.count - 1)
        if index < lines.count { document.markup.append(lines.content(of: index)) }
        // The opening fence stays with the first line, the closing one with the last.
        let cuts = start + 2 < end ? (start + 2..<end).map { lines[$0].lowerBound } : []
        document.blocks.append(.init(.code, lines.content(of: start).lowerBound..<lines[end].upperBound, cuts: cuts))
        return index + 1
    }

    private mutating func readIndentedCode(from start: Int) -> Int {
        var index = start
        var end = start
        while index < lines.count, lines.content(of: index).isEmpty || lines.indentation(of: index) >= 4 {
            if !lines.content(of: index).isEmpty { end = index }
            index += 1
        }
        let range = lines[start].lowerBound..<lines.content(of: end).upperBound
        document.blocks.append(.init(.code, range, cuts: (start...end).dropFirst().map { lines[$0].lowerBound }))
        return end + 1
    }

    private mutating func readTable(from start: Int) -> Int {
        var index = start
        var cuts: [Int] = []
        while index < lines.count, !lines.content(of: index).isEmpty, text[lines[index]].contains(UInt8(ascii: "|")) {
            if index == start + 1 {
                document.markup.append(lines.content(of: index))
            } else {
                // The first row is the head; it stays with the row of dashes and the first row of values.
                if index > start + 2 { cuts.append(lines[index].lowerBound) }
                MarkdownInline.appendMarkup(in: text, lines.content(of: index), to: &document.markup, isTableRow: true)
            }
            index += 1
        }
        document.blocks.append(.init(.table, lines.content(of: start).lowerBound..<lines.content(of: index - 1).upperBound, cuts: cuts))
        return index
    }

    /// Reads a list with all that its items contain.
    private mutating func readList(from start: Int) -> Int {
        let margin = lines.indentation(of: start)
        var (cuts, finerCuts): ([Int], [Int]) = ([], [])
        var end = start
        var index = start
        var fence: MarkdownFence?
        var followsBlank = false
        while index < lines.count {
            let line = lines.content(of: index)
            if let open = fence {
                if open.isClosed(by: text[line]) {
                    document.markup.append(line)
                    fence = nil
                } else if !line.isEmpty {
                    finerCuts.append(lines[index].lowerBound)
                }
                if !line.isEmpty { end = index }
                index += 1
                continue
            }
            if line.isEmpty {
                followsBlank = true
                index += 1
                continue
            }
            let indent = lines.indentation(of: index)
            let markerLength = lines.isRule(line) ? 0 : lines.itemMarkerLength(line)
            if markerLength == 0, indent <= margin, followsBlank || lines.interruptsParagraph(at: index) { break }
            if markerLength > 0, indent < margin + 2 {
                if index > start { cuts.append(lines[index].lowerBound) }
            } else if followsBlank || markerLength > 0 || MarkdownFence(text[line]) != nil {
                finerCuts.append(lines[index].lowerBound)
            }
            let startsBlock = followsBlank
            followsBlank = false
            end = index
            index += 1
            if let opened = MarkdownFence(text[line]) {
                fence = opened
                document.markup.append(line)
            } else if !lines.isMark(line), !(startsBlock && lines.isDefinition(line)) {
                // A bullet says nothing; a number does.
                let isBullet = markerLength == 1
                if isBullet { document.markup.append(line.lowerBound..<line.lowerBound + 1) }
                MarkdownInline.appendMarkup(in: text, line.lowerBound + markerLength..<line.upperBound, to: &document.markup, isTableRow: text[line.lowerBound] == UInt8(ascii: "|"))
            } else if let title = lines.containerTitle(line) {
                document.markup.append(line.lowerBound..<title.lowerBound)
                MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
                if title.upperBound < line.upperBound { document.markup.append(title.upperBound..<line.upperBound) }
            } else {
                document.markup.append(line)
            }
        }
        document.blocks.append(.init(.list, lines.content(of: start).lowerBound..<lines.content(of: end).upperBound, cuts: cuts, finerCuts: finerCuts))
        return end + 1
    }

    /// A paragraph, a quotation, or a heading that is underlined.
    private mutating func readParagraph(from start: Int) -> Int {
        let isQuotation = lines.starts(lines.content(of: start), with: ">")
        var index = start + 1
        while index < lines.count {
            let line = lines.content(of: index)
            if line.isEmpty || lines.starts(line, with: ">") != isQuotation { break }
            if !isQuotation {
                if let level = lines.underlineLevel(line), document.blocks.isEmpty || index - start <= 3 {
                    readUnderlinedHeading(level: level, start..<index, underline: line)
                    return index + 1
                }
                if lines.interruptsParagraph(at: index) || lines.isTable(at: index) { break }
                // A number other than 1 may just stand at the start of a line.
                if lines.itemMarkerLength(line) == 1 || lines.starts(line, with: "1. ") || lines.starts(line, with: "1) ") { break }
            }
            index += 1
        }
        let range = lines.content(of: start).lowerBound..<lines.content(of: index - 1).upperBound
        if isQuotation {
            for line in start..<index { appendQuotationMarkup(lines.content(of: line)) }
        } else {
            MarkdownInline.appendMarkup(in: text, range, to: &document.markup)
        }
        document.blocks.append(.init(.paragraph, range))
        return index
    }

    /// Hides quotation marks and the name of a note, then what is inside the line.
    private mutating func appendQuotationMarkup(_ line: Range<Int>) {
        var start = line.lowerBound
        while start < line.upperBound, text[start] == UInt8(ascii: ">") || text[start].isSpace { start += 1 }
        if text[start..<line.upperBound].starts(with: "[!".utf8), let close = text[start..<line.upperBound].firstIndex(of: UInt8(ascii: "]")) { start = close + 1 }
        if start > line.lowerBound { document.markup.append(line.lowerBound..<start) }
        MarkdownInline.appendMarkup(in: text, start..<line.upperBound, to: &document.markup)
    }

    private mutating func readUnderlinedHeading(level: Int, _ titleLines: Range<Int>, underline: Range<Int>) {
        let title = lines.content(of: titleLines.lowerBound).lowerBound..<lines.content(of: titleLines.upperBound - 1).upperBound
        MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
        document.markup.append(underline)
        document.blocks.append(.init(.heading(level: level, title: document.embeddableText(title)), title.lowerBound..<underline.upperBound))
    }
}

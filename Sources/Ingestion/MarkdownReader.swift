/// Finds the structure of Markdown: CommonMark's blocks and tables, front matter, and the notes, tabs and zones of documentation sets.
///
/// The text stays the file's own; what is not to be embedded (link targets, emphasis marks, fences) is listed as markup. Front matter,
/// comments, link definitions, zone marks and includes are in no block, but the front matter's description is a paragraph before the first
/// heading. One pass by lines and one by bytes: O(text).
struct MarkdownReader {
    private let text: [UInt8]
    private var lines: [Range<Int>]
    private var document: ParsedDocument

    /// - Parameters:
    ///   - text: Valid UTF-8.
    ///   - isWhole: Whether it is a file's, which may begin with front matter.
    static func read(_ text: [UInt8], isWhole: Bool = true) -> ParsedDocument {
        var reader = MarkdownReader(text: text, lines: LineRanges(text).ranges, document: ParsedDocument(text: text))
        reader.readBlocks(from: isWhole ? reader.readFrontMatter() : 0)
        return reader.document
    }

    private mutating func readBlocks(from start: Int) {
        var index = start
        while index < lines.count {
            let line = content(of: index)
            if line.isEmpty {
                index += 1
            } else if indentation(of: index) >= 4 {
                index = readIndentedCode(from: index)
            } else if isMark(line) || isDefinition(line) {
                if let title = containerTitle(line) {
                    MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
                    document.blocks.append(.init(.paragraph, title))
                }
                index += 1
            } else if starts(line, with: "<!--") {
                index = skipComment(from: index)
            } else if starts(line, with: "<pre>") || starts(line, with: "<pre ") {
                index = readPreformatted(from: index)
            } else if let fence = Fence(text[line]) {
                index = readFencedCode(fence, from: index)
            } else if let level = headingLevel(line) {
                readHeading(level: level, line: line)
                index += 1
            } else if itemMarkerLength(line) > 0, !isRule(line) {
                index = readList(from: index)
            } else if isRule(line) {
                index += 1
            } else if isTable(at: index) {
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
}

// MARK: - Lines

extension MarkdownReader {
    /// The line without white space around it.
    private func content(of index: Int) -> Range<Int> { document.trimmed(lines[index]) }

    /// Columns of white space before the line's content; a tab goes to the next multiple of four.
    private func indentation(of index: Int) -> Int {
        var column = 0
        for byte in text[lines[index]] {
            switch byte {
            case UInt8(ascii: " "): column += 1
            case UInt8(ascii: "\t"): column += 4 - column % 4
            default: return column
            }
        }
        return column
    }

    private func starts(_ line: Range<Int>, with prefix: String) -> Bool { text[line].starts(with: prefix.utf8) }

    /// Marks of containers, zones and images (`:::`), and includes.
    private func isMark(_ line: Range<Int>) -> Bool {
        if starts(line, with: ":::") { return true }
        guard starts(line, with: "[!INCLUDE") || starts(line, with: "[!include"), let close = MarkdownInline.closing(in: text, line) else { return false }
        guard close + 1 < line.upperBound, text[close + 1] == UInt8(ascii: "(") else { return close + 1 == line.upperBound }
        return MarkdownInline.closing(in: text, close + 1..<line.upperBound) == line.upperBound - 1
    }

    /// The words in `::: tip Words` or `:::tip[Words]`. What has a `=` is an attribute of a zone or image.
    private func containerTitle(_ line: Range<Int>) -> Range<Int>? {
        guard starts(line, with: ":::") else { return nil }
        var title = text[line].drop { $0 == UInt8(ascii: ":") }.drop(while: \.isSpace)
        let kind = title.prefix { $0.isLetter || $0 == UInt8(ascii: "-") }
        title = title.dropFirst(kind.count)
        guard !kind.isEmpty, let next = title.first, next.isSpace || next == UInt8(ascii: "["), !title.contains(UInt8(ascii: "=")) else { return nil }
        if next == UInt8(ascii: "["), let close = title.firstIndex(of: UInt8(ascii: "]")) { title = title[(title.startIndex + 1)..<close] }
        title = title.prefix { $0 != UInt8(ascii: "{") }
        while title.last == UInt8(ascii: ":") { title.removeLast() }
        let range = document.trimmed(title.startIndex..<title.endIndex)
        return range.isEmpty ? nil : range
    }

    /// Whether the line is `[label]: target` or `[label]: target "title"`, of which nothing is shown. With more or less behind the colon it is text.
    private func isDefinition(_ line: Range<Int>) -> Bool {
        guard starts(line, with: "["), !starts(line, with: "[^"), let close = text[line.prefix(1_000)].firstIndex(of: UInt8(ascii: "]")) else { return false }
        guard close > line.lowerBound + 1, close + 1 < line.upperBound, text[close + 1] == UInt8(ascii: ":") else { return false }
        let target = text[document.trimmed(close + 2..<line.upperBound)]
        guard let first = target.first else { return false }
        var rest = target.drop { !$0.isSpace }
        if first == UInt8(ascii: "<") {
            guard let end = target.firstIndex(of: UInt8(ascii: ">")) else { return false }
            rest = target[(end + 1)...]
        }
        guard let space = rest.first else { return true }
        let title = rest.drop(while: \.isSpace)
        guard space.isSpace, title.count >= 2, let opening = title.first, "\"'(".utf8.contains(opening) else { return false }
        let closing = opening == UInt8(ascii: "(") ? UInt8(ascii: ")") : opening
        return title.last == closing && !title.dropFirst().dropLast().contains(closing)
    }

    /// `***`, `---` or `___`, maybe with spaces between.
    private func isRule(_ line: Range<Int>) -> Bool {
        let marks = text[line].filter { !$0.isSpace }
        guard marks.count >= 3, let mark = marks.first, "*-_".utf8.contains(mark) else { return false }
        return marks.allSatisfy { $0 == mark }
    }

    private func headingLevel(_ line: Range<Int>) -> Int? {
        let level = text[line].prefix { $0 == UInt8(ascii: "#") }.count
        guard (1...6).contains(level) else { return nil }
        return line.count == level || text[line.lowerBound + level].isSpace ? level : nil
    }

    /// The length of `- `, `* `, `+ `, `1. ` or `1) ` at the line's start; 0 if there is none.
    private func itemMarkerLength(_ line: Range<Int>) -> Int {
        let bytes = text[line]
        guard let first = bytes.first else { return 0 }
        var length = 0
        if "-*+".utf8.contains(first) {
            length = 1
        } else {
            let digits = bytes.prefix { $0.isDigit }.count
            guard (1...9).contains(digits), digits < bytes.count, ".)".utf8.contains(bytes[bytes.startIndex + digits]) else { return 0 }
            length = digits + 1
        }
        return length == bytes.count || bytes[bytes.startIndex + length].isSpace ? length : 0
    }

    /// A row with a bar, and below it a row of dashes.
    private func isTable(at index: Int) -> Bool {
        guard index + 1 < lines.count, text[lines[index]].contains(UInt8(ascii: "|")) else { return false }
        return isDelimiterRow(content(of: index + 1))
    }

    private func isDelimiterRow(_ line: Range<Int>) -> Bool {
        let row = text[line]
        return row.contains(UInt8(ascii: "-")) && row.contains(UInt8(ascii: "|")) && row.allSatisfy { "|-: \t".utf8.contains($0) }
    }

    /// Three or more backquotes or tildes that open a block of code.
    private struct Fence {
        let mark: UInt8
        let length: Int

        init?(_ line: ArraySlice<UInt8>) {
            guard let first = line.first, first == UInt8(ascii: "`") || first == UInt8(ascii: "~") else { return nil }
            mark = first
            length = line.prefix { $0 == first }.count
            guard length >= 3, first == UInt8(ascii: "~") || !line.dropFirst(length).contains(first) else { return nil }
        }

        func isClosed(by line: ArraySlice<UInt8>) -> Bool { line.count >= length && line.allSatisfy { $0 == mark } }
    }
}

// MARK: - Blocks

extension MarkdownReader {
    /// Takes title and description from YAML between `---` lines; returns the index of the first line of the body.
    ///
    /// A rule may begin a document as well: what is not YAML line by line is the body.
    private mutating func readFrontMatter() -> Int {
        guard let first = lines.first, text[first].elementsEqual("---".utf8), lines.count > 1, !content(of: 1).isEmpty else { return 0 }
        guard let end = lines.indices.dropFirst().prefix(1_000).first(where: { text[lines[$0]].elementsEqual("---".utf8) || text[lines[$0]].elementsEqual("...".utf8) }),
            (1..<end).allSatisfy(isFrontMatter)
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

    /// Whether a line may be YAML: blank, a comment, the inside of a value, an item, or a key.
    private func isFrontMatter(_ index: Int) -> Bool {
        let line = content(of: index)
        return line.isEmpty || starts(line, with: "#") || indentation(of: index) > 0 || itemMarkerLength(line) > 0 || text[line].contains(UInt8(ascii: ":"))
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
        let range = content(of: start).lowerBound..<content(of: end).upperBound
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

    private mutating func readFencedCode(_ fence: Fence, from start: Int) -> Int {
        document.markup.append(content(of: start))
        var index = start + 1
        while index < lines.count, !fence.isClosed(by: text[content(of: index)]) { index += 1 }
        let end = min(index, lines.count - 1)
        if index < lines.count { document.markup.append(content(of: index)) }
        // The opening fence stays with the first line, the closing one with the last.
        let cuts = start + 2 < end ? (start + 2..<end).map { lines[$0].lowerBound } : []
        document.blocks.append(.init(.code, content(of: start).lowerBound..<lines[end].upperBound, cuts: cuts))
        return index + 1
    }

    private mutating func readIndentedCode(from start: Int) -> Int {
        var index = start
        var end = start
        while index < lines.count, content(of: index).isEmpty || indentation(of: index) >= 4 {
            if !content(of: index).isEmpty { end = index }
            index += 1
        }
        let range = lines[start].lowerBound..<content(of: end).upperBound
        document.blocks.append(.init(.code, range, cuts: (start...end).dropFirst().map { lines[$0].lowerBound }))
        return end + 1
    }

    private mutating func readTable(from start: Int) -> Int {
        var index = start
        var cuts: [Int] = []
        while index < lines.count, !content(of: index).isEmpty, text[lines[index]].contains(UInt8(ascii: "|")) {
            if index == start + 1 {
                document.markup.append(content(of: index))
            } else {
                // The first row is the head; it stays with the row of dashes and the first row of values.
                if index > start + 2 { cuts.append(lines[index].lowerBound) }
                MarkdownInline.appendMarkup(in: text, content(of: index), to: &document.markup, isTableRow: true)
            }
            index += 1
        }
        document.blocks.append(.init(.table, content(of: start).lowerBound..<content(of: index - 1).upperBound, cuts: cuts))
        return index
    }

    /// Reads a list with all that its items contain.
    private mutating func readList(from start: Int) -> Int {
        let margin = indentation(of: start)
        var (cuts, finerCuts): ([Int], [Int]) = ([], [])
        var end = start
        var index = start
        var fence: Fence?
        var followsBlank = false
        while index < lines.count {
            let line = content(of: index)
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
            let indent = indentation(of: index)
            let markerLength = isRule(line) ? 0 : itemMarkerLength(line)
            if markerLength == 0, indent <= margin, followsBlank || interruptsParagraph(at: index) { break }
            if markerLength > 0, indent < margin + 2 {
                if index > start { cuts.append(lines[index].lowerBound) }
            } else if followsBlank || markerLength > 0 || Fence(text[line]) != nil {
                finerCuts.append(lines[index].lowerBound)
            }
            let startsBlock = followsBlank
            followsBlank = false
            end = index
            index += 1
            if let opened = Fence(text[line]) {
                fence = opened
                document.markup.append(line)
            } else if !isMark(line), !(startsBlock && isDefinition(line)) {
                // A bullet says nothing; a number does.
                let isBullet = markerLength == 1
                if isBullet { document.markup.append(line.lowerBound..<line.lowerBound + 1) }
                MarkdownInline.appendMarkup(in: text, line.lowerBound + markerLength..<line.upperBound, to: &document.markup, isTableRow: text[line.lowerBound] == UInt8(ascii: "|"))
            } else if let title = containerTitle(line) {
                document.markup.append(line.lowerBound..<title.lowerBound)
                MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
                if title.upperBound < line.upperBound { document.markup.append(title.upperBound..<line.upperBound) }
            } else {
                document.markup.append(line)
            }
        }
        document.blocks.append(.init(.list, content(of: start).lowerBound..<content(of: end).upperBound, cuts: cuts, finerCuts: finerCuts))
        return end + 1
    }

    private func interruptsParagraph(at index: Int) -> Bool {
        let line = content(of: index)
        if headingLevel(line) != nil { return indentation(of: index) < 4 }
        return isMark(line) || Fence(text[line]) != nil || starts(line, with: ">") || starts(line, with: "<!--") || isRule(line)
    }

    /// A paragraph, a quotation, or a heading that is underlined.
    private mutating func readParagraph(from start: Int) -> Int {
        let isQuotation = starts(content(of: start), with: ">")
        var index = start + 1
        while index < lines.count {
            let line = content(of: index)
            if line.isEmpty || starts(line, with: ">") != isQuotation { break }
            if !isQuotation {
                if let level = underlineLevel(line), document.blocks.isEmpty || index - start <= 3 {
                    readUnderlinedHeading(level: level, start..<index, underline: line)
                    return index + 1
                }
                if interruptsParagraph(at: index) || isTable(at: index) { break }
                // A number other than 1 may just stand at the start of a line.
                if itemMarkerLength(line) == 1 || starts(line, with: "1. ") || starts(line, with: "1) ") { break }
            }
            index += 1
        }
        let range = content(of: start).lowerBound..<content(of: index - 1).upperBound
        if isQuotation {
            for line in start..<index { appendQuotationMarkup(content(of: line)) }
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

    private func underlineLevel(_ line: Range<Int>) -> Int? {
        guard let mark = text[line].first, text[line].allSatisfy({ $0 == mark }) else { return nil }
        if mark == UInt8(ascii: "=") { return 1 }
        return mark == UInt8(ascii: "-") ? 2 : nil
    }

    private mutating func readUnderlinedHeading(level: Int, _ titleLines: Range<Int>, underline: Range<Int>) {
        let title = content(of: titleLines.lowerBound).lowerBound..<content(of: titleLines.upperBound - 1).upperBound
        MarkdownInline.appendMarkup(in: text, title, to: &document.markup)
        document.markup.append(underline)
        document.blocks.append(.init(.heading(level: level, title: document.embeddableText(title)), title.lowerBound..<underline.upperBound))
    }
}

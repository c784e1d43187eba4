/// The lines of a Markdown text, and what each could be by itself.
struct MarkdownLines {
    let text: [UInt8]
    private var ranges: [Range<Int>]

    init(_ text: [UInt8]) {
        self.text = text
        ranges = LineRanges(text).ranges
    }

    var count: Int { ranges.count }
    var indices: Range<Int> { ranges.indices }
    subscript(index: Int) -> Range<Int> {
        get { ranges[index] }
        set { ranges[index] = newValue }
    }

    /// The line without white space around it.
    func content(of index: Int) -> Range<Int> { text.trimmed(ranges[index]) }

    /// Columns of white space before the line's content; a tab goes to the next multiple of four.
    func indentation(of index: Int) -> Int {
        var column = 0
        for byte in text[ranges[index]] {
            switch byte {
            case UInt8(ascii: " "): column += 1
            case UInt8(ascii: "\t"): column += 4 - column % 4
            default: return column
            }
        }
        return column
    }

    func starts(_ line: Range<Int>, with prefix: String) -> Bool { text[line].starts(with: prefix.utf8) }

    /// Marks of containers, zones and images (`:::`), and includes.
    func isMark(_ line: Range<Int>) -> Bool {
        if starts(line, with: ":::") { return true }
        guard starts(line, with: "[!INCLUDE") || starts(line, with: "[!include"), let close = MarkdownInline.closing(in: text, line) else { return false }
        guard close + 1 < line.upperBound, text[close + 1] == UInt8(ascii: "(") else { return close + 1 == line.upperBound }
        return MarkdownInline.closing(in: text, close + 1..<line.upperBound) == line.upperBound - 1
    }

    /// The words in `::: tip Words` or `:::tip[Words]`. What has a `=` is an attribute of a zone or image.
    func containerTitle(_ line: Range<Int>) -> Range<Int>? {
        guard starts(line, with: ":::") else { return nil }
        var title = text[line].drop { $0 == UInt8(ascii: ":") }.drop(while: \.isSpace)
        let kind = title.prefix { $0.isLetter || $0 == UInt8(ascii: "-") }
        title = title.dropFirst(kind.count)
        guard !kind.isEmpty, let next = title.first, next.isSpace || next == UInt8(ascii: "["), !title.contains(UInt8(ascii: "=")) else { return nil }
        if next == UInt8(ascii: "["), let close = title.firstIndex(of: UInt8(ascii: "]")) { title = title[(title.startIndex + 1)..<close] }
        title = title.prefix { $0 != UInt8(ascii: "{") }
        while title.last == UInt8(ascii: ":") { title.removeLast() }
        let range = text.trimmed(title.startIndex..<title.endIndex)
        return range.isEmpty ? nil : range
    }

    /// Whether the line is `[label]: target` or `[label]: target "title"`, of which nothing is shown. With more or less behind the colon it is text.
    func isDefinition(_ line: Range<Int>) -> Bool {
        guard starts(line, with: "["), !starts(line, with: "[^"), let close = text[line.prefix(1_000)].firstIndex(of: UInt8(ascii: "]")) else { return false }
        guard close > line.lowerBound + 1, close + 1 < line.upperBound, text[close + 1] == UInt8(ascii: ":") else { return false }
        let target = text[text.trimmed(close + 2..<line.upperBound)]
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
    func isRule(_ line: Range<Int>) -> Bool {
        let marks = text[line].filter { !$0.isSpace }
        guard marks.count >= 3, let mark = marks.first, "*-_".utf8.contains(mark) else { return false }
        return marks.allSatisfy { $0 == mark }
    }

    func headingLevel(_ line: Range<Int>) -> Int? {
        let level = text[line].prefix { $0 == UInt8(ascii: "#") }.count
        guard (1...6).contains(level) else { return nil }
        return line.count == level || text[line.lowerBound + level].isSpace ? level : nil
    }

    /// The length of `- `, `* `, `+ `, `1. ` or `1) ` at the line's start; 0 if there is none.
    func itemMarkerLength(_ line: Range<Int>) -> Int {
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
    func isTable(at index: Int) -> Bool {
        guard index + 1 < ranges.count, text[ranges[index]].contains(UInt8(ascii: "|")) else { return false }
        return isDelimiterRow(content(of: index + 1))
    }

    private func isDelimiterRow(_ line: Range<Int>) -> Bool {
        let row = text[line]
        return row.contains(UInt8(ascii: "-")) && row.contains(UInt8(ascii: "|")) && row.allSatisfy { "|-: \t".utf8.contains($0) }
    }

    func interruptsParagraph(at index: Int) -> Bool {
        let line = content(of: index)
        if headingLevel(line) != nil { return indentation(of: index) < 4 }
        return isMark(line) || MarkdownFence(text[line]) != nil || starts(line, with: ">") || starts(line, with: "<!--") || isRule(line)
    }

    /// Of a line of `=` or `-` below a heading.
    func underlineLevel(_ line: Range<Int>) -> Int? {
        guard let mark = text[line].first, text[line].allSatisfy({ $0 == mark }) else { return nil }
        if mark == UInt8(ascii: "=") { return 1 }
        return mark == UInt8(ascii: "-") ? 2 : nil
    }

    /// Whether a line may be YAML: blank, a comment, the inside of a value, an item, or a key.
    func isFrontMatter(_ index: Int) -> Bool {
        let line = content(of: index)
        return line.isEmpty || starts(line, with: "#") || indentation(of: index) > 0 || itemMarkerLength(line) > 0 || text[line].contains(UInt8(ascii: ":"))
    }
}

/// Three or more backquotes or tildes that open a block of code.
struct MarkdownFence {
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

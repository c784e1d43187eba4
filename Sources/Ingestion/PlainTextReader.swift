/// Finds paragraphs and headings in plain text.
///
/// A paragraph ends at a blank line. A heading is a line with a line of one repeated punctuation mark below it (and maybe above it, as
/// reStructuredText has it; each style is a level, in the order of appearance), a line that begins like `== Title` as AsciiDoc and wikis have
/// it, or a line of its own that begins like `Chapter 3` or `3.2 `.
enum PlainTextReader {
    /// - Parameter text: Valid UTF-8.
    static func read(_ text: [UInt8]) -> ParsedDocument {
        var reader = State(text: text, lines: LineRanges(text).ranges)
        return reader.read()
    }

    private struct State {
        let text: [UInt8]
        let lines: [Range<Int>]
        var document: ParsedDocument
        /// Underlining styles in the order in which they appeared.
        var styles: [[UInt8]] = []

        init(text: [UInt8], lines: [Range<Int>]) {
            self.text = text
            self.lines = lines
            document = ParsedDocument(text: text)
        }

        mutating func read() -> ParsedDocument {
            var index = 0
            while index < lines.count {
                if isBlank(index) {
                    index += 1
                } else if let (heading, next) = heading(at: index) {
                    document.blocks.append(heading)
                    index = next
                } else {
                    var end = index + 1
                    while end < lines.count, !isBlank(end), underlining(at: end) == nil || heading(at: end - 1) == nil { end += 1 }
                    if end < lines.count, !isBlank(end), end - 1 > index { end -= 1 }  // the last line is a heading's
                    let range = document.trimmed(lines[index].lowerBound..<lines[end - 1].upperBound)
                    let items = (index..<end).filter(startsItem).map { max(range.lowerBound, lines[$0].lowerBound) }
                    document.blocks.append(items.count > 1 ? .init(.list, range, cuts: items.filter { $0 > range.lowerBound }) : .init(.paragraph, range))
                    index = end
                }
            }
            if case .heading(_, let title)? = document.blocks.first?.kind { document.title = title }
            return document
        }

        func isBlank(_ index: Int) -> Bool { document.trimmed(lines[index]).isEmpty }

        /// Whether the line begins like `- `, `* `, `• `, `3. ` or `3.2.1 `.
        private func startsItem(_ index: Int) -> Bool {
            let line = text[document.trimmed(lines[index])]
            let marker = line.prefix { !$0.isSpace }
            guard let first = marker.first, marker.count < line.count, marker.count <= 10 else { return false }
            if first.isDigit { return marker.contains { ".)".utf8.contains($0) } && marker.allSatisfy { $0.isDigit || ".)".utf8.contains($0) } }
            return (marker.count == 1 && "-*+".utf8.contains(first)) || marker.elementsEqual("•".utf8)
        }

        /// The mark that line `index` repeats three times or more, alone.
        func underlining(at index: Int) -> UInt8? {
            let line = document.trimmed(lines[index])
            guard line.count >= 3, let mark = text[line].first, "=-~^\"'`#*+_:.<>".utf8.contains(mark), text[line].allSatisfy({ $0 == mark }) else { return nil }
            return mark
        }

        /// The heading that starts at line `index`, and the line after it.
        mutating func heading(at index: Int) -> (ParsedDocument.Block, next: Int)? {
            if let over = underlining(at: index), index + 2 < lines.count, !isBlank(index + 1), underlining(at: index + 2) == over {
                return (block(.heading(level: level(of: [over, over]), title: title(index + 1)), index...(index + 2)), index + 3)
            }
            let line = document.trimmed(lines[index])
            guard line.count <= 200, underlining(at: index) == nil else { return nil }
            if index + 1 < lines.count, let under = underlining(at: index + 1), lines[index + 1].count * 2 >= line.count, index == 0 || isBlank(index - 1) {
                return (block(.heading(level: level(of: [under]), title: title(index)), index...(index + 1)), index + 2)
            }
            if index == 0 || isBlank(index - 1), let (level, title) = marked(line) {
                return (block(.heading(level: level, title: document.embeddableText(title)), index...index), index + 1)
            }
            let isAlone = (index == 0 || isBlank(index - 1)) && (index + 1 == lines.count || isBlank(index + 1))
            if isAlone, let level = Numbering.level(of: text[line]) {
                return (block(.heading(level: level, title: title(index)), index...index), index + 1)
            }
            return nil
        }

        /// The level and title of `== Title` or `== Title ==`.
        private func marked(_ line: Range<Int>) -> (level: Int, title: Range<Int>)? {
            let level = text[line].prefix { $0 == UInt8(ascii: "=") }.count
            guard (1...6).contains(level), level < line.count, text[line.lowerBound + level].isSpace else { return nil }
            let closing = text[line].reversed().prefix { $0 == UInt8(ascii: "=") }.count
            let title = document.trimmed(line.lowerBound + level..<line.upperBound - (closing == level ? level : 0))
            return title.isEmpty ? nil : (level, title)
        }

        private mutating func level(of style: [UInt8]) -> Int {
            if let known = styles.firstIndex(of: style) { return known + 1 }
            styles.append(style)
            return styles.count
        }

        private func title(_ index: Int) -> String { document.embeddableText(lines[index]) }

        private func block(_ kind: ParsedDocument.Block.Kind, _ range: ClosedRange<Int>) -> ParsedDocument.Block {
            .init(kind, document.trimmed(lines[range.lowerBound].lowerBound..<lines[range.upperBound].upperBound))
        }
    }
}

/// Numbers that begin a heading.
enum Numbering {
    /// The level of a heading that begins like `Chapter 3`, `Appendix A` (1) or `3.2 Title`, `3.2.1. Title` (2, 3); `nil` for other lines.
    ///
    /// A single number is no sign: items of lists begin so as well.
    static func level(of line: ArraySlice<UInt8>) -> Int? {
        guard line.count <= 120, let last = line.last, !".,;:?!".utf8.contains(last) || line.count < 16 else { return nil }
        for word in ["Chapter ", "Appendix ", "Part "] where line.starts(with: word.utf8) {
            let rest = line.dropFirst(word.utf8.count)
            let label = rest.prefix { $0.isDigit || $0.isUpper }
            return !label.isEmpty && (label.count == rest.count || !rest.dropFirst(label.count).first!.isLetter) ? 1 : nil
        }
        var parts = 0
        var rest = line
        while let first = rest.first, first.isDigit {
            rest = rest.drop { $0.isDigit }
            parts += 1
            guard rest.first == UInt8(ascii: ".") else { break }
            rest = rest.dropFirst()
        }
        guard parts >= 2, rest.first?.isSpace == true, let letter = rest.first(where: { !$0.isSpace }), letter.isUpper || letter >= 0x80 else { return nil }
        return parts
    }
}

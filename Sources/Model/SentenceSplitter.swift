/// Finds the sentences of a text: where a chunk may be cut, and the units that an extractive answer quotes.
///
/// A sentence ends at `.`, `!`, `?` or their full-width forms where the next one begins. Abbreviations (`Dr.`, `e.g.`), initials and the
/// number of an item at a line's start (`1.`) do not end one. The abbreviations are English; other languages only lose
/// by them what an abbreviation of theirs cuts.
package enum SentenceSplitter {
    /// Longest sentence of ``ranges(in:)``. Reason: an answer is read at a glance; 600 bytes are some 100 words, longer than
    /// 99.9 % of sentences in running text, so only tables, code and text without full stops are cut.
    package static let maximumBytes = 600

    /// Byte ranges of the sentences of `text`, in order, without the white space around them; every bound is a character's bound.
    ///
    /// Empty lines, and the line ends of lists, headings, tables and code, end a sentence too. What is longer than ``maximumBytes`` is cut at a
    /// line's or clause's end, or between words.
    /// - Complexity: O(bytes).
    package static func ranges(in text: String) -> [Range<Int>] {
        let bytes = Array(text.utf8)
        let blocks = TextBlocks(bytes: bytes)
        var ranges: [Range<Int>] = []
        var start = 0
        var offset = 0
        while offset < bytes.count {
            let end = bytes[offset] == 0x0a ? (blocks.isEnd(newline: offset) ? offset + 1 : nil) : end(in: bytes, at: offset, of: start..<bytes.count)
            if let end {
                ranges += pieces(of: start..<end, in: bytes)
                start = end
            }
            offset = end ?? offset + 1
        }
        return ranges + pieces(of: start..<bytes.count, in: bytes)
    }

    /// Offsets at which a sentence starts inside `range`, without the range's own start.
    ///
    /// - Parameter markup: Ascending ranges in which nothing starts, such as links' targets.
    /// - Complexity: O(range).
    package static func starts(in text: [UInt8], _ range: Range<Int>, markup: [Range<Int>]) -> [Int] {
        var starts: [Int] = []
        var markup = markup.drop { $0.upperBound <= range.lowerBound }
        var offset = range.lowerBound
        while offset < range.upperBound {
            if let next = markup.first, next.lowerBound <= offset {
                offset = max(offset + 1, next.upperBound)
                markup.removeFirst()
            } else if let end = end(in: text, at: offset, of: range) {
                offset = firstVisible(in: text, end..<range.upperBound)
                if offset < range.upperBound { starts.append(offset) }
            } else {
                offset += 1
            }
        }
        return starts
    }

    /// Where the sentence ends whose last mark stands at `offset`, closing quotes and brackets included; `nil` if none ends there.
    ///
    /// - Parameter range: Begins where a sentence does.
    private static func end(in text: [UInt8], at offset: Int, of range: Range<Int>) -> Int? {
        let width = widthOfMark(in: text, at: offset, before: range.upperBound)
        guard width > 0 else { return nil }
        var end = offset + width
        while end < range.upperBound, case let closer = widthOfCloser(in: text, at: end, before: range.upperBound), closer > 0 { end += closer }
        // Nothing separates sentences in the scripts of full-width marks.
        guard width == 1, end < range.upperBound else { return end }
        guard text[end].isSpace else { return nil }
        let next = firstVisible(in: text, end..<range.upperBound)
        guard next == range.upperBound || canOpen(text[next]) else { return nil }
        let isAbbreviation = text[offset] == UInt8(ascii: ".") && end == offset + 1 && endsWithAbbreviation(text, range.lowerBound..<offset)
        return isAbbreviation ? nil : end
    }

    /// 1 for `.`, `!`, `?`; 3 for the ideographic full stop and the full-width marks; else 0.
    private static func widthOfMark(in text: [UInt8], at offset: Int, before end: Int) -> Int {
        if text[offset] == UInt8(ascii: ".") || text[offset] == UInt8(ascii: "!") || text[offset] == UInt8(ascii: "?") { return 1 }
        return isOne(of: wideMarks, text, offset, end) ? 3 : 0
    }

    /// Bytes of a further mark, closing quote, bracket or emphasis at `offset`; 0 if there is none.
    private static func widthOfCloser(in text: [UInt8], at offset: Int, before end: Int) -> Int {
        if "\"')].!?*_".utf8.contains(text[offset]) { return 1 }
        return isOne(of: wideClosers, text, offset, end) ? 3 : 0
    }

    private static let wideMarks = scalars("。！？")
    private static let wideClosers = scalars("”’」』）。！？")
    private static func scalars(_ text: String) -> Set<UInt32> { Set(text.unicodeScalars.map(\.value)) }

    /// Whether the three bytes at `offset` are one of these characters in UTF-8.
    private static func isOne(of scalars: Set<UInt32>, _ text: [UInt8], _ offset: Int, _ end: Int) -> Bool {
        guard text[offset] & 0xf0 == 0xe0, offset + 3 <= end else { return false }
        return scalars.contains(UInt32(text[offset] & 0x0f) << 12 | UInt32(text[offset + 1] & 0x3f) << 6 | UInt32(text[offset + 2] & 0x3f))
    }

    private static func firstVisible(in text: [UInt8], _ range: Range<Int>) -> Int { range.first { !text[$0].isSpace } ?? range.upperBound }

    /// Whether a sentence may begin with this byte: anything but a small letter or trailing punctuation.
    private static func canOpen(_ byte: UInt8) -> Bool { !(0x61...0x7a).contains(byte) && !",;)".utf8.contains(byte) }

    /// Words after which a full stop does not end a sentence, in lower case without the stop.
    private static let abbreviations = Set(
        """
        mr mrs ms dr prof st gen col lt sgt capt rev hon sr jr gov sen rep mt ft bros inc ltd co corp dept univ est vs cf al eg ie etc viz resp \
        approx ca c no nos vol fig figs eq eqs sec ch pp p ed eds op ref refs jan feb mar apr jun jul aug sep sept oct nov dec
        """.split(separator: " ").map(String.init))

    /// Whether what ends at the range's end is an abbreviation, an initial (`J.`), letters with stops (`e.g.`, `U.S.`), or the number of
    /// an item at a line's start.
    private static func endsWithAbbreviation(_ text: [UInt8], _ range: Range<Int>) -> Bool {
        var start = range.upperBound
        while start > range.lowerBound, range.upperBound - start < 16, text[start - 1].isWordByte || text[start - 1] == UInt8(ascii: ".") { start -= 1 }
        let word = text[start..<range.upperBound]
        guard let first = word.first else { return false }
        if word.allSatisfy({ $0.isDigit || $0 == UInt8(ascii: ".") }) {
            while start > range.lowerBound, text[start - 1] == 0x20 || text[start - 1] == 0x09 { start -= 1 }
            return start == range.lowerBound || text[start - 1] == 0x0a
        }
        let parts = word.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        // `U.S.` may also end a sentence, which is then missed: two sentences quoted as one are still exact.
        if let last = parts.last, last.count == 1, parts.count > 1 || (0x41...0x5a).contains(first) { return true }
        return parts.count == 1 && abbreviations.contains(String(decoding: word, as: UTF8.self).lowercased())
    }

    /// `range` without the white space around it, in pieces of at most ``maximumBytes``.
    private static func pieces(of range: Range<Int>, in text: [UInt8]) -> [Range<Int>] {
        var pieces: [Range<Int>] = []
        var rest = trimmed(range, in: text)
        while rest.count > maximumBytes {
            let cut = bestCut(in: rest, of: text)
            pieces.append(trimmed(rest.lowerBound..<cut, in: text))
            rest = trimmed(cut..<rest.upperBound, in: text)
        }
        return rest.isEmpty ? pieces : pieces + [rest]
    }

    /// Where to cut an overlong range: behind the last line end, semicolon, comma or space that leaves a piece of
    /// at least half the limit; else at the last character's bound below it.
    private static func bestCut(in range: Range<Int>, of text: [UInt8]) -> Int {
        let limit = range.lowerBound + maximumBytes
        let least = range.lowerBound + maximumBytes / 2
        for mark in [UInt8(ascii: "\n"), UInt8(ascii: ";"), UInt8(ascii: ","), UInt8(ascii: " ")] {
            if let index = text[least..<limit].lastIndex(of: mark) { return index + 1 }
        }
        var cut = limit
        while text[cut] & 0xC0 == 0x80 { cut -= 1 }
        return cut
    }

    private static func trimmed(_ range: Range<Int>, in text: [UInt8]) -> Range<Int> {
        let lower = firstVisible(in: text, range)
        var upper = range.upperBound
        while upper > lower, text[upper - 1].isSpace { upper -= 1 }
        return lower..<upper
    }
}

/// Tells where a paragraph, list item, heading, table row or line of code ends, in Markdown or in plain text that looks like it.
private struct TextBlocks {
    let bytes: [UInt8]

    /// Whether the line end at `newline` ends a block.
    func isEnd(newline: Int) -> Bool {
        var next = newline + 1
        while next < bytes.count, bytes[next].isSpace, bytes[next] != 0x0a { next += 1 }
        guard next < bytes.count, bytes[next] != 0x0a, !begins(at: next) else { return true }
        var line = newline
        while line > 0, bytes[line - 1] != 0x0a { line -= 1 }
        while line < newline, bytes[line].isSpace { line += 1 }
        return line < newline && "#|`".utf8.contains(bytes[line])
    }

    private func begins(at index: Int) -> Bool {
        switch bytes[index] {
        case UInt8(ascii: "#"), UInt8(ascii: "|"), UInt8(ascii: "`"), UInt8(ascii: ">"): return true
        case UInt8(ascii: "-"), UInt8(ascii: "*"), UInt8(ascii: "+"): return index + 1 < bytes.count && bytes[index + 1].isSpace
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            var end = index
            while end < bytes.count, bytes[end].isDigit, end - index < 3 { end += 1 }
            return end + 1 < bytes.count && ".)".utf8.contains(bytes[end]) && bytes[end + 1].isSpace
        default: return bytes[index...].starts(with: "•".utf8)
        }
    }
}

extension UInt8 {
    /// White space of ASCII.
    fileprivate var isSpace: Bool { self == 0x20 || (0x09...0x0d).contains(self) }
    fileprivate var isDigit: Bool { (0x30...0x39).contains(self) }
    fileprivate var isWordByte: Bool { isDigit || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self) || self >= 0x80 }
}

/// Cuts a chunk's text into sentences: the units that an extractive answer quotes.
///
/// A sentence ends at `.`, `!`, `?` or their full-width forms where the next one begins, at an empty line, and at the line
/// ends of lists, headings and tables. Abbreviations (`Dr.`, `e.g.`, initials) do not end one. What is longer than
/// ``maximumBytes`` is cut at a line's or clause's end, or between words.
enum SentenceSplitter {
    /// Longest sentence. Reason: an answer is read at a glance; 600 bytes are some 100 words, longer than 99.9 % of
    /// sentences in running text, so only tables, code and text without full stops are cut.
    static let maximumBytes = 600

    /// Byte ranges of the sentences of `text`, in order, without the white space around them. Every bound is a
    /// character's bound.
    /// - Complexity: O(bytes).
    static func ranges(in text: String) -> [Range<Int>] {
        var scan = SentenceScan(bytes: Array(text.utf8))
        return scan.run()
    }
}

private struct SentenceScan {
    let bytes: [UInt8]
    private var ranges: [Range<Int>] = []
    private var start = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func run() -> [Range<Int>] {
        var index = 0
        while index < bytes.count {
            let next = skip(from: index)
            if next > index {
                end(at: next)
                index = next
            } else {
                index += 1
            }
        }
        end(at: bytes.count)
        return ranges
    }

    /// The offset just behind a sentence's last byte if one ends at `index`, else `index`.
    private func skip(from index: Int) -> Int {
        switch bytes[index] {
        case UInt8(ascii: "\n"): return endsBlock(newline: index) ? index + 1 : index
        case UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "?"):
            var after = index + 1
            while after < bytes.count, let width = closingWidth(at: after) { after += width }
            guard after < bytes.count else { return after }
            guard isSpace(bytes[after]), opensSentence(after: after) else { return index }
            return bytes[index] == UInt8(ascii: ".") && after == index + 1 && endsAbbreviation(dot: index) ? index : after
        case 0xE3 where matches([0xE3, 0x80, 0x82], at: index): return index + 3  // 。
        case 0xEF where matches([0xEF, 0xBC, 0x81], at: index) || matches([0xEF, 0xBC, 0x9F], at: index): return index + 3  // ！ ？
        default: return index
        }
    }

    /// Width of a closing quote, bracket, or further full stop at `index`.
    private func closingWidth(at index: Int) -> Int? {
        if "\"')].!?*_".utf8.contains(bytes[index]) { return 1 }
        return matches([0xE2, 0x80, 0x9D], at: index) || matches([0xE2, 0x80, 0x99], at: index) ? 3 : nil  // ” ’
    }

    /// Whether what follows the white space at `index` may begin a sentence: anything but a small letter.
    private func opensSentence(after index: Int) -> Bool {
        var index = index
        while index < bytes.count, isSpace(bytes[index]) { index += 1 }
        guard index < bytes.count else { return true }
        return !(97...122).contains(bytes[index])
    }

    private static let abbreviations: Set<String> = [
        "mr", "mrs", "ms", "dr", "prof", "st", "gen", "col", "lt", "sgt", "capt", "rev", "hon", "sr", "jr", "vs", "no", "nos", "vol", "fig", "figs",
        "eq", "sec", "ch", "pp", "p", "ed", "eds", "al", "ca", "c", "cf", "eg", "ie", "etc", "inc", "ltd", "co", "corp", "dept", "univ", "approx",
        "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mt", "ft", "op", "bros", "gov", "sen", "rep",
    ]

    /// Whether the word before the full stop is an abbreviation or an initial (`J.`, `U.S.`).
    private func endsAbbreviation(dot: Int) -> Bool {
        var begin = dot
        while begin > start, isWordByte(bytes[begin - 1]) { begin -= 1 }
        let word = bytes[begin..<dot]
        guard let first = word.first else { return false }
        let followsDot = begin > start && bytes[begin - 1] == UInt8(ascii: ".")
        if word.count == 1 {
            // A single capital is an initial; `U.S.` may also end a sentence, which the cut then misses: two
            // sentences quoted as one are still exact.
            return (65...90).contains(first) || followsDot
        }
        return Self.abbreviations.contains(String(decoding: word, as: UTF8.self).lowercased())
    }

    /// Whether a line end ends a sentence: before an empty line, around a list item, heading, table row or code fence.
    private func endsBlock(newline: Int) -> Bool {
        var index = newline + 1
        while index < bytes.count, bytes[index] == UInt8(ascii: " ") || bytes[index] == UInt8(ascii: "\t") || bytes[index] == UInt8(ascii: "\r") { index += 1 }
        guard index < bytes.count, bytes[index] != UInt8(ascii: "\n") else { return true }
        if beginsBlock(at: index) { return true }
        var line = newline
        while line > 0, bytes[line - 1] != UInt8(ascii: "\n") { line -= 1 }
        while line < newline, isSpace(bytes[line]) { line += 1 }
        return line < newline && "#|`".utf8.contains(bytes[line])
    }

    private func beginsBlock(at index: Int) -> Bool {
        let next = index + 1 < bytes.count ? bytes[index + 1] : 0
        switch bytes[index] {
        case UInt8(ascii: "#"), UInt8(ascii: "|"), UInt8(ascii: "`"), UInt8(ascii: ">"): return true
        case UInt8(ascii: "-"), UInt8(ascii: "*"), UInt8(ascii: "+"): return isSpace(next)
        case 48...57:
            var end = index
            while end < bytes.count, (48...57).contains(bytes[end]), end - index < 3 { end += 1 }
            return end + 1 < bytes.count && (bytes[end] == UInt8(ascii: ".") || bytes[end] == UInt8(ascii: ")")) && isSpace(bytes[end + 1])
        default: return matches([0xE2, 0x80, 0xA2], at: index)  // •
        }
    }

    private mutating func end(at bound: Int) {
        var range = trimmed(start..<bound)
        start = bound
        while range.count > SentenceSplitter.maximumBytes {
            let cut = bestCut(in: range)
            ranges.append(trimmed(range.lowerBound..<cut))
            range = trimmed(cut..<range.upperBound)
        }
        if !range.isEmpty { ranges.append(range) }
    }

    /// Where to cut an overlong range: behind the last line end, semicolon, comma or space that leaves a piece of
    /// at least half the limit; else at the last character's bound below it.
    private func bestCut(in range: Range<Int>) -> Int {
        let limit = range.lowerBound + SentenceSplitter.maximumBytes
        let least = range.lowerBound + SentenceSplitter.maximumBytes / 2
        for mark in [UInt8(ascii: "\n"), UInt8(ascii: ";"), UInt8(ascii: ","), UInt8(ascii: " ")] {
            if let index = bytes[least..<limit].lastIndex(of: mark) { return index + 1 }
        }
        var cut = limit
        while bytes[cut] & 0xC0 == 0x80 { cut -= 1 }
        return cut
    }

    private func trimmed(_ range: Range<Int>) -> Range<Int> {
        var lower = range.lowerBound
        var upper = range.upperBound
        while lower < upper, isSpace(bytes[lower]) { lower += 1 }
        while upper > lower, isSpace(bytes[upper - 1]) { upper -= 1 }
        return lower..<upper
    }

    private func matches(_ pattern: [UInt8], at index: Int) -> Bool {
        index + pattern.count <= bytes.count && bytes[index..<index + pattern.count].elementsEqual(pattern)
    }
    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (9...13).contains(byte) }
    private func isWordByte(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte >= 0x80 }
}

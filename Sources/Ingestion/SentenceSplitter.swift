/// Finds where sentences start, by punctuation and a list of English abbreviations.
package enum SentenceSplitter {
    /// Words after which a full stop does not end a sentence, in lower case without the stop.
    private static let abbreviations: Set<String> = [
        "e.g", "i.e", "etc", "vs", "cf", "al", "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "inc", "ltd", "corp", "co", "dept", "est",
        "fig", "figs", "eq", "eqs", "sec", "ch", "vol", "pp", "no", "nos", "ref", "refs", "approx", "resp", "viz", "ed", "eds", "gen", "col", "sgt",
        "capt", "lt", "rev", "hon", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "ca", "op", "u.s", "u.k",
        "a.m", "p.m",
    ]

    /// Offsets at which a sentence starts inside `range`, without the range's own start. O(range).
    ///
    /// - Parameter markup: Ascending ranges in which nothing starts, such as links' targets.
    package static func starts(in text: [UInt8], _ range: Range<Int>, markup: [Range<Int>]) -> [Int] {
        var starts: [Int] = []
        var nextMarkup = markup.firstIndexSorted { $0.upperBound > range.lowerBound }
        var offset = range.lowerBound
        while offset < range.upperBound {
            if nextMarkup < markup.count, markup[nextMarkup].lowerBound <= offset {
                offset = max(offset + 1, markup[nextMarkup].upperBound)
                nextMarkup += 1
                continue
            }
            let stopLength = lengthOfStop(in: text, at: offset, before: range.upperBound)
            guard stopLength > 0 else {
                offset += 1
                continue
            }
            let isWide = stopLength == 3
            let isFullStop = text[offset] == UInt8(ascii: ".")
            var end = offset + stopLength
            while end < range.upperBound, isCloser(text[end]) || isTerminator(text[end]) { end += 1 }
            var start = end
            while start < range.upperBound, text[start].isSpace { start += 1 }
            let isFollowed = start < range.upperBound && (isWide || (start > end && canOpen(text[start])))
            if isFollowed, !(isFullStop && end == offset + 1 && endsWithAbbreviation(text, range.lowerBound..<offset)) { starts.append(start) }
            offset = max(start, offset + 1)
        }
        return starts
    }

    private static func isTerminator(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ".") || byte == UInt8(ascii: "!") || byte == UInt8(ascii: "?")
    }

    /// 1 for `.`, `!`, `?`; 3 for the ideographic full stop and the full-width marks; else 0.
    private static func lengthOfStop(in text: [UInt8], at offset: Int, before end: Int) -> Int {
        if isTerminator(text[offset]) { return 1 }
        guard offset + 3 <= end, text[offset] >= 0xe3 else { return 0 }
        let character = (text[offset], text[offset + 1], text[offset + 2])
        return character == (0xe3, 0x80, 0x82) || character == (0xef, 0xbc, 0x81) || character == (0xef, 0xbc, 0x9f) ? 3 : 0
    }

    private static func isCloser(_ byte: UInt8) -> Bool { byte == 0x22 || byte == 0x27 || byte == 0x29 || byte == 0x5d || byte == 0x2a || byte == 0x5f }

    /// Whether a sentence may begin with this byte: anything but a small letter or trailing punctuation.
    private static func canOpen(_ byte: UInt8) -> Bool { !(0x61...0x7a).contains(byte) && byte != 0x2c && byte != 0x3b && byte != 0x29 }

    /// Whether what ends at the range's end is an abbreviation, an initial, or the number of an item at a line's start.
    private static func endsWithAbbreviation(_ text: [UInt8], _ range: Range<Int>) -> Bool {
        var start = range.upperBound
        while start > range.lowerBound, range.upperBound - start < 12, text[start - 1].isLetter || text[start - 1].isDigit || text[start - 1] == UInt8(ascii: ".") {
            start -= 1
        }
        let word = text[start..<range.upperBound]
        guard let first = word.first else { return false }
        if word.count == 1, first.isUpper { return true }
        if word.allSatisfy({ $0.isDigit || $0 == UInt8(ascii: ".") }) {
            while start > range.lowerBound, text[start - 1] == UInt8(ascii: " ") { start -= 1 }
            return start == range.lowerBound || text[start - 1] == 0x0a
        }
        return abbreviations.contains(String(decoding: word, as: UTF8.self).lowercased())
    }
}

/// Finds the markup inside a line or block of Markdown.
enum MarkdownInline {
    /// How far, in bytes, what closes a bracket or backquote is looked for: longer than nearly any link, and it keeps hostile text linear.
    private static let reach = 500

    /// Appends the bytes of `range` that are not to be embedded: emphasis marks, backquotes, brackets and targets of links, tags, comments,
    /// backslashes before punctuation and, in a table's row, bars. Ascending. O(range × reach) at worst, O(range) for usual text.
    static func appendMarkup(in text: [UInt8], _ range: Range<Int>, to markup: inout [Range<Int>], isTableRow: Bool = false) {
        var closers: [(offset: Int, end: Int)] = []  // where open links end, the innermost last
        var mayHoldComment = true  // until one was found to have no end: each of many is not looked for again
        var offset = range.lowerBound
        while offset < range.upperBound {
            if let closer = closers.last, closer.offset == offset {
                markup.append(offset..<closer.end)
                offset = closer.end
                closers.removeLast()
                continue
            }
            let end = closers.last?.offset ?? range.upperBound
            switch text[offset] {
            case UInt8(ascii: "\\") where offset + 1 < end && isPunctuation(text[offset + 1]):
                markup.append(offset..<offset + 1)
                offset += 2
            case UInt8(ascii: "`"):
                offset = skipCode(in: text, offset..<end, to: &markup)
            case UInt8(ascii: "!") where offset + 1 < end && text[offset + 1] == UInt8(ascii: "["):
                offset = openLink(in: text, offset..<end, bracket: offset + 1, closers: &closers, to: &markup)
            case UInt8(ascii: "["):
                offset = openLink(in: text, offset..<end, bracket: offset, closers: &closers, to: &markup)
            case UInt8(ascii: "<"):
                let isComment = text[offset..<end].starts(with: "<!--".utf8)
                let length = isComment ? (mayHoldComment ? commentLength(in: text, offset..<end) : 0) : tagLength(in: text, offset..<end)
                if isComment, length == 0, end == range.upperBound { mayHoldComment = false }
                if length > 0 { markup.append(offset..<offset + length) }
                offset += max(1, length)
            case UInt8(ascii: "*"), UInt8(ascii: "_"), UInt8(ascii: "~"):
                offset = skipEmphasis(in: text, at: offset, within: range.lowerBound..<end, to: &markup)
            case UInt8(ascii: "|") where isTableRow:
                markup.append(offset..<offset + 1)
                offset += 1
            default:
                offset += 1
            }
        }
    }

    private static func isPunctuation(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7f && !byte.isLetter && !byte.isDigit }

    /// Hides the backquotes around a span of code; what is between stays as it is.
    private static func skipCode(in text: [UInt8], _ range: Range<Int>, to markup: inout [Range<Int>]) -> Int {
        let start = range.lowerBound
        let length = text[range].prefix { $0 == UInt8(ascii: "`") }.count
        var offset = start + length
        let bound = min(range.upperBound, offset + reach)
        while offset < bound {
            guard text[offset] == UInt8(ascii: "`") else {
                offset += 1
                continue
            }
            let closing = text[offset..<bound].prefix { $0 == UInt8(ascii: "`") }.count
            if closing == length {
                markup.append(start..<start + length)
                markup.append(offset..<offset + length)
                return offset + length
            }
            offset += closing
        }
        return start + length
    }

    /// Hides the opening bracket of `[text](target)`, `![text](target)` or `[text][reference]`, and notes where its end is to be hidden.
    private static func openLink(
        in text: [UInt8], _ range: Range<Int>, bracket: Int, closers: inout [(offset: Int, end: Int)], to markup: inout [Range<Int>]
    ) -> Int {
        let next = bracket + 1
        // `[!INCLUDE …](…)` stands for another file's text.
        let isInclude = text[next..<range.upperBound].starts(with: "!INCLUDE".utf8)
        guard let close = closing(in: text, bracket..<range.upperBound), close + 1 < range.upperBound else { return next }
        let isTarget = text[close + 1] == UInt8(ascii: "(")
        guard isTarget || text[close + 1] == UInt8(ascii: "["), let end = closing(in: text, close + 1..<range.upperBound) else { return next }
        if isInclude {
            markup.append(range.lowerBound..<end + 1)
            return end + 1
        }
        markup.append(range.lowerBound..<next)
        closers.append((close, end + 1))
        return next
    }

    /// Where the bracket at the range's start is closed, counting nested ones and leaving out what a backslash precedes.
    static func closing(in text: [UInt8], _ range: Range<Int>) -> Int? {
        let open = text[range.lowerBound]
        let close = open == UInt8(ascii: "(") ? UInt8(ascii: ")") : UInt8(ascii: "]")
        var depth = 0
        var offset = range.lowerBound
        let bound = min(range.upperBound, offset + reach)
        while offset < bound {
            let byte = text[offset]
            if byte == UInt8(ascii: "\\") {
                offset += 1
            } else if byte == open {
                depth += 1
            } else if byte == close {
                depth -= 1
                if depth == 0 { return offset }
            }
            offset += 1
        }
        return nil
    }

    /// Hides `*`, `**`, `~~` beside a word, and `_`, `__` at a word's edge.
    private static func skipEmphasis(in text: [UInt8], at start: Int, within range: Range<Int>, to markup: inout [Range<Int>]) -> Int {
        let mark = text[start]
        let length = text[start..<range.upperBound].prefix { $0 == mark }.count
        let end = start + length
        let isWordBefore = start > range.lowerBound && isWord(text[start - 1])
        let isWordAfter = end < range.upperBound && isWord(text[end])
        let isSpaceBefore = start == range.lowerBound || text[start - 1].isSpace
        let isSpaceAfter = end == range.upperBound || text[end].isSpace
        let isMark =
            switch mark {
            case UInt8(ascii: "_"): length <= 3 && isWordBefore != isWordAfter
            case UInt8(ascii: "~"): length == 2
            default: length <= 3 && !(isSpaceBefore && isSpaceAfter)
            }
        if isMark { markup.append(start..<end) }
        return end
    }

    private static func isWord(_ byte: UInt8) -> Bool { byte.isLetter || byte.isDigit || byte >= 0x80 }

    /// The length of the comment at the range's start; 0 if it has no end.
    private static func commentLength(in text: [UInt8], _ range: Range<Int>) -> Int {
        var offset = range.lowerBound + 4
        while offset + 2 < range.upperBound, !(text[offset] == 0x2d && text[offset + 1] == 0x2d && text[offset + 2] == 0x3e) { offset += 1 }
        return offset + 2 < range.upperBound ? offset + 3 - range.lowerBound : 0
    }

    /// The length of the HTML tag at the range's start; 0 for anything else, such as a placeholder.
    static func tagLength(in text: [UInt8], _ range: Range<Int>) -> Int {
        let bytes = text[range.lowerBound..<min(range.upperBound, range.lowerBound + reach)]
        var rest = bytes.dropFirst()
        if rest.first == UInt8(ascii: "/") { rest = rest.dropFirst() }
        let name = rest.prefix { $0.isLetter || $0.isDigit }
        let next = rest.dropFirst(name.count).first
        guard let next, next == UInt8(ascii: ">") || next == UInt8(ascii: "/") || next.isSpace, name.count <= 10,
            tags.contains(String(decoding: name, as: UTF8.self).lowercased()), let end = bytes.firstIndex(of: UInt8(ascii: ">"))
        else { return 0 }
        return end + 1 - range.lowerBound
    }

    private static let tags: Set<String> = [
        "a", "abbr", "b", "blockquote", "br", "center", "code", "dd", "del", "details", "div", "dl", "dt", "em", "font", "h1", "h2", "h3", "h4", "h5",
        "h6", "hr", "i", "iframe", "img", "ins", "kbd", "li", "ol", "p", "picture", "pre", "rt", "ruby", "s", "samp", "script", "section", "small",
        "source", "span", "strong", "style", "sub", "summary", "sup", "table", "tbody", "td", "th", "thead", "tr", "tt", "u", "ul", "var", "video",
    ]
}

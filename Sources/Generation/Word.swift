/// One word of a text: a run of letters and digits, with what the answerer needs to know of it.
struct Word: Hashable, Sendable {
    /// Bytes of the text.
    var range: Range<Int>
    /// Lower case, without accents.
    var folded: String
    /// What makes two forms of a word one term.
    var stem: String
    /// Begins with a capital letter or a digit inside a name such as `4K`.
    var isCapitalized: Bool
    /// Consists of digits, with separators between them: `1,200`, `3.14`, `1973`.
    var isNumber: Bool

    /// The words of `text`, in order.
    ///
    /// Apostrophes inside a word end it (`king's` → `king`); `.` and `,` between digits belong to the number. Each
    /// ideograph or kana is a word of its own, because nothing separates words in those scripts.
    /// - Complexity: O(bytes).
    static func all(in text: some StringProtocol) -> [Word] {
        var words: [Word] = []
        var scanner = WordScanner()
        var offset = 0
        for scalar in text.unicodeScalars {
            scanner.take(scalar, at: offset, into: &words)
            offset += UTF8.width(scalar)
        }
        scanner.close(into: &words)
        return words
    }
}

private struct WordScanner {
    private var start = 0
    private var end = 0
    private var folded = ""
    private var isCapitalized = false
    private var digits = 0
    private var letters = 0
    /// A separator after a digit: part of the number if a digit follows.
    private var pending: Unicode.Scalar?
    /// After an apostrophe: a lone `s`, `t`, `re` … is dropped rather than made a word.
    private var afterApostrophe = false

    mutating func take(_ scalar: Unicode.Scalar, at offset: Int, into words: inout [Word]) {
        let kind = Kind(scalar)
        switch kind {
        case .digit, .letter:
            if let separator = pending {
                pending = nil
                if kind == .digit, separator == "." { folded.unicodeScalars.append(separator) }
                if kind != .digit { close(into: &words) }
            }
            if folded.isEmpty {
                start = offset
                isCapitalized = scalar.properties.isUppercase
            }
            append(scalar, kind)
            end = offset + UTF8.width(scalar)
        case .ideograph:
            close(into: &words)
            start = offset
            append(scalar, .letter)
            end = offset + UTF8.width(scalar)
            close(into: &words)
        case .mark:
            if !folded.isEmpty { end = offset + UTF8.width(scalar) }
        case .separator where !folded.isEmpty && letters == 0 && pending == nil: pending = scalar
        case .apostrophe:
            close(into: &words)
            afterApostrophe = true
            return
        case .separator, .other: close(into: &words)
        }
        if kind == .separator || kind == .other { afterApostrophe = false }
    }

    private mutating func append(_ scalar: Unicode.Scalar, _ kind: Kind) {
        if kind == .digit { digits += 1 } else { letters += 1 }
        if scalar.isASCII {
            folded.unicodeScalars.append(scalar.value >= 65 && scalar.value <= 90 ? Unicode.Scalar(UInt8(scalar.value + 32)) : scalar)
        } else if let base = scalar.latinBase {
            folded.unicodeScalars.append(base)
        } else {
            folded += scalar.properties.lowercaseMapping
        }
    }

    mutating func close(into words: inout [Word]) {
        defer {
            folded = ""
            isCapitalized = false
            digits = 0
            letters = 0
            pending = nil
        }
        guard !folded.isEmpty else { return }
        let isClitic = afterApostrophe && ["s", "t", "re", "ll", "ve", "d", "m"].contains(folded)
        afterApostrophe = false
        // `n't` carries the negation that its word would lose with the clitic.
        if isClitic, folded == "t", let last = words.indices.last, words[last].folded.hasSuffix("n") {
            words.append(Word(range: start..<end, folded: "not", stem: "not", isCapitalized: false, isNumber: false))
            return
        }
        guard !isClitic else { return }
        let isNumber = digits > 0 && letters == 0
        words.append(
            Word(range: start..<end, folded: folded, stem: isNumber ? folded : Stemmer.stem(folded), isCapitalized: isCapitalized, isNumber: isNumber))
    }

    private enum Kind {
        case letter, digit, ideograph, mark, separator, apostrophe, other

        init(_ scalar: Unicode.Scalar) {
            switch scalar.value {
            case 48...57: self = .digit
            case 65...90, 97...122: self = .letter
            case 0x2C, 0x2E: self = .separator
            case 0x27, 0x2019: self = .apostrophe
            case 0..<0x80: self = .other
            case 0x3040...0x30FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x3FFFF: self = .ideograph
            default:
                switch scalar.properties.generalCategory {
                case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: self = .letter
                case .decimalNumber, .letterNumber, .otherNumber: self = .digit
                case .nonspacingMark, .spacingMark, .enclosingMark: self = .mark
                default: self = .other
                }
            }
        }
    }
}

extension Unicode.Scalar {
    /// The plain Latin letter under an accent, lower case: `é` → `e`. Read from the character's Unicode name.
    fileprivate var latinBase: Unicode.Scalar? {
        guard value >= 0xC0, value <= 0x24F || (0x1E00...0x1EFF).contains(value), let name = properties.name else { return nil }
        let parts = name.split(separator: " ")
        guard parts.count >= 6, parts[0] == "LATIN", parts[2] == "LETTER", parts[4] == "WITH", parts[3].utf8.count == 1,
            let letter = parts[3].utf8.first
        else { return nil }
        return Unicode.Scalar(letter + 32)
    }
}

import Model

/// Ties an answer's citations to the words of the sources: what an answer took over verbatim gets its exact place.
enum QuoteFinder {
    /// Fewest words in a row that count as quoted when they stand without quotation marks. Reason: shorter runs
    /// (`one of the most important`) are common to texts that have nothing to do with each other.
    static let fewestWords = 5

    /// A citation for each mark: of the longest run of words that the statement before it shares with the source, byte for byte, or of
    /// the whole source if there is none.
    /// - Complexity: O(words of the statement × words of the source) for each mark.
    static func citations(for marks: [CitationFilter.Mark], in answer: String, of sources: [Source]) -> [Citation] {
        let bytes = Array(answer.utf8)
        return marks.map { mark in
            let source = sources[mark.source - 1]
            let whole = Citation(source: mark.source, start: source.start, end: source.end)
            let statement = bytes[statementStart(before: mark.offset, in: bytes)..<mark.offset]
            guard let range = longestRun(of: statement, in: Array(source.text.utf8)) else { return whole }
            let quote = String(decoding: Array(source.text.utf8)[range], as: UTF8.self)
            return Citation(source: mark.source, start: source.start + range.lowerBound, end: source.start + range.upperBound, quote: quote)
        }
    }

    /// The statement that a citation closes begins after the sentence or line before it. Citations right before this
    /// one belong to the same statement.
    private static func statementStart(before offset: Int, in bytes: [UInt8]) -> Int {
        var index = offset
        // A full stop right before the citation ends the statement itself.
        while index > 0, [0x20, 0x2E, 0x22, 0x5D, 0x5B, 0x2C].contains(bytes[index - 1]) || (48...57).contains(bytes[index - 1]) { index -= 1 }
        while index > 0 {
            let byte = bytes[index - 1]
            if byte == 0x0A { return index }
            if byte == 0x20, index > 1, [0x2E, 0x21, 0x3F, 0x5D].contains(bytes[index - 2]) { return index }
            index -= 1
        }
        return 0
    }

    /// Bytes of `source` that the statement has too: at least ``fewestWords`` words, or two that it puts in quotation marks.
    private static func longestRun(of statement: ArraySlice<UInt8>, in source: [UInt8]) -> Range<Int>? {
        let text = String(decoding: statement, as: UTF8.self)
        let statement = Array(text.utf8)
        let words = Word.all(in: text)
        let sourceWords = Word.all(in: String(decoding: source, as: UTF8.self))
        let ends = Set(sourceWords.map(\.range.upperBound))
        let statementEnds = Set(words.map(\.range.upperBound))
        var best: (range: Range<Int>, words: Int)?
        for (index, word) in words.enumerated() {
            let isQuoted = word.range.lowerBound > 0 && opensQuotation(statement, before: word.range.lowerBound)
            for other in sourceWords where other.folded == word.folded {
                var length = 0
                var matched = 0
                var offset = 0
                while word.range.lowerBound + offset < statement.count, other.range.lowerBound + offset < source.count,
                    statement[word.range.lowerBound + offset] == source[other.range.lowerBound + offset]
                {
                    offset += 1
                    if ends.contains(other.range.lowerBound + offset), statementEnds.contains(word.range.lowerBound + offset) {
                        length = offset
                        matched += 1
                    }
                }
                guard matched >= (isQuoted ? 2 : fewestWords), length > best?.range.count ?? 0 else { continue }
                best = (other.range.lowerBound..<other.range.lowerBound + length, matched)
            }
            if let best, best.words >= words.count - index { break }
        }
        return best?.range
    }

    private static func opensQuotation(_ bytes: [UInt8], before index: Int) -> Bool {
        bytes[index - 1] == UInt8(ascii: "\"") || (index >= 3 && bytes[index - 3..<index].elementsEqual([0xE2, 0x80, 0x9C]))
    }
}

/// What a question asks for: its terms with their weights, and the kind of answer that would fit.
struct QuestionAnalysis: Sendable {
    /// The kind of words that an answer has to contain.
    enum Expected: Sendable { case person, place, time, quantity, reason, manner, other }

    struct Term: Hashable, Sendable {
        var stem: String
        /// 0…1: how much the term tells; see ``CommonWords``.
        var rarity: Double
        /// A capitalized word that does not merely begin the question.
        var isName: Bool
        var isNumber: Bool
    }

    let expected: Expected
    /// Content words in order, each stem once.
    let terms: [Term]
    /// All words, function words included.
    let stems: Set<String>
    let isNegated: Bool
    /// No question, but what somebody wants: `As an administrator, I want to …`, or a few words to search for.
    let isWish: Bool

    init(_ text: String) {
        let words = Word.all(in: text)
        let (expected, kind) = Self.expectation(of: words)
        self.expected = expected
        stems = Set(words.map(\.stem))
        isNegated = words.contains { Lexicon.negations.contains($0.folded) }
        isWish = !text.contains("?") && words.first.map { !Lexicon.questionWords.contains($0.folded) } ?? true
        // In a question written all in capitals, or all in small letters, case says nothing of names.
        let capitalized = words.count { $0.isCapitalized }
        let caseTells = capitalized * 2 <= words.count + 1

        var terms: [Term] = []
        var seen: Set<String> = []
        for (index, word) in words.enumerated() where !Lexicon.isFunctionWord(word) && !kind.contains(index) {
            guard seen.insert(word.stem).inserted else { continue }
            terms.append(
                Term(
                    stem: word.stem, rarity: CommonWords.rarity(of: word.stem), isName: word.isCapitalized && index > 0 && caseTells,
                    isNumber: word.isNumber))
        }
        self.terms = terms
    }

    /// The expected kind of answer, and the places of the words that only name that kind (`what year`, `how many`).
    private static func expectation(of words: [Word]) -> (Expected, kind: Set<Int>) {
        guard let index = words.firstIndex(where: { Lexicon.questionWords.contains($0.folded) }) else { return (.other, []) }
        let next = index + 1 < words.count ? words[index + 1].folded : ""
        switch words[index].folded {
        case "who", "whom", "whose": return (.person, [])
        case "when": return (.time, [])
        case "where": return (.place, [])
        case "why": return (.reason, [])
        case "how":
            if ["many", "much"].contains(next) { return (.quantity, [index + 1]) }
            if Lexicon.measures.contains(next) { return (.quantity, [index + 1]) }
            return (.manner, [])
        default:
            // `what year`, `which of the cities`, `what was the population`: the first telling noun within reach.
            for place in words.indices.dropFirst(index + 1).prefix(5) {
                if let expected = Lexicon.kinds[words[place].stem] {
                    let isKindOnly = expected != .other && place <= index + 2
                    return (expected, isKindOnly ? [place] : [])
                }
            }
            return (.other, [])
        }
    }
}

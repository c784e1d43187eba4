/// What an answer says when the sources do not answer.
enum Refusal {
    /// The exact sentence: extractive answers use it, models are told to.
    static let sentence = "The sources do not answer this question."

    /// Whether a model's answer says no more than that the sources do not answer: the sentence it was told to use, or, uncited, one
    /// of the turns of phrase that models use instead.
    static func isRefusal(_ answer: String, cites: Bool) -> Bool {
        let words = Word.all(in: answer).map(\.folded).joined(separator: " ")
        guard !words.isEmpty else { return true }
        if words.hasPrefix(Self.words) { return true }
        return !cites && phrases.contains { words.prefix(200).contains($0) }
    }

    private static let words = Word.all(in: sentence).map(\.folded).joined(separator: " ")

    private static let phrases = [
        "sources do not", "source does not", "sources don not", "sources provided do not", "does not provide", "do not provide", "not mentioned in",
        "i do not know", "i don not know", "i do not have", "cannot answer", "can not answer", "cannot be answered", "no information", "not enough information",
        "unable to answer", "not answered by",
    ]
}

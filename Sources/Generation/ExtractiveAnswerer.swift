import Model

/// Answers with the sentences of the sources that answer, quoted and cited, or refuses.
struct ExtractiveAnswerer: Sendable {
    /// What ``AnswerSummary/model`` says of these answers.
    static let name = "extractive"

    let configuration: GenerationConfiguration

    struct Answer: Sendable {
        var text: String
        var citations: [Citation]
        var refused: Bool
    }

    func answer(_ question: String, from sources: [Source]) async throws(ClusterError) -> Answer {
        let asked = Set(Word.all(in: question).map(\.stem))
        var best: (score: Double, source: Int, range: Range<Int>) = (0, 0, 0..<0)
        for (index, source) in sources.enumerated() {
            for range in SentenceSplitter.ranges(in: source.text) {
                let sentence = Set(Word.all(in: text(of: range, in: source)).map(\.stem))
                let score = asked.intersection(sentence).reduce(0) { $0 + CommonWords.rarity(of: $1) }
                if score > best.score { best = (score, index, range) }
            }
        }
        guard best.score > 1 else { return Answer(text: Refusal.sentence, citations: [], refused: true) }
        let source = sources[best.source]
        let quote = text(of: best.range, in: source)
        let citation = Citation(source: best.source + 1, start: source.start + best.range.lowerBound, end: source.start + best.range.upperBound, quote: quote)
        return Answer(text: "\"\(quote)\" [\(best.source + 1)]", citations: [citation], refused: false)
    }

    private func text(of range: Range<Int>, in source: Source) -> String {
        String(decoding: Array(source.text.utf8)[range], as: UTF8.self)
    }
}

import Embedding
import Logging
import Model

/// Answers with the sentences of the sources that answer, quoted and cited, or refuses.
///
/// All sentences are scored on their words; the best few also by their vectors if there is an embedder. The best one decides
/// whether there is an answer; a second one is quoted if it is almost as good.
struct ExtractiveAnswerer: Sendable {
    /// What ``AnswerSummary/model`` says of these answers.
    static let name = "extractive"

    /// How far below the best sentence's score a further one may be quoted. At 1, e times less likely, a fifth of the answers
    /// get longer, and 4 to 6 in a hundred contain the answer only by that.
    private static let margin = 1.0

    let embedder: (any Embedder)?
    let configuration: GenerationConfiguration
    let logger: Logger

    struct Answer: Sendable {
        var text: String
        var citations: [Citation]
        var refused: Bool

        static let refusal = Answer(text: Refusal.sentence, citations: [], refused: true)
    }

    /// - Throws: `cancelled`. A failing embedder costs quality, not the answer: then words alone decide.
    /// - Complexity: O(words of the sources × terms of the question), and one embedder call of at most
    ///   ``GenerationConfiguration/embeddedSentences`` + 1 texts.
    func answer(_ question: String, from sources: [Source], requestID: RequestID) async throws(ClusterError) -> Answer {
        let evidence = EvidenceCollector(question: question, sources: sources).collect()
        if Task.isCancelled { throw ClusterError(CancellationError()) }
        var model = EvidenceModel.lexical
        var ranked = Self.ranked(evidence.map { (evidence: $0, cosine: 0, score: model.score($0)) })
        if let vectors = try await cosines(of: ranked.prefix(configuration.embeddedSentences).map(\.evidence), to: question, in: sources, requestID) {
            model = .withVectors
            ranked = Self.ranked(
                zip(ranked, vectors).map { (evidence: $0.evidence, cosine: $1, score: model.score($0.evidence, cosine: $1)) })
        }
        guard let best = ranked.first, model.probability(best.evidence, cosine: best.cosine) >= configuration.leastProbability else { return .refusal }
        let near = ranked.filter { $0.score >= best.score - Self.margin }.map(\.evidence)
        return quote(near, from: sources)
    }

    private typealias Candidate = (evidence: Evidence, cosine: Double, score: Double)

    /// Best first; of equals the one that comes first in the request.
    private static func ranked(_ candidates: [Candidate]) -> [Candidate] {
        candidates.enumerated().sorted { ($1.element.score, $0.offset) < ($0.element.score, $1.offset) }.map(\.element)
    }

    /// Cosine between the question and each sentence below its title and heading; `nil` without an embedder, or if it fails.
    private func cosines(
        of sentences: [Evidence], to question: String, in sources: [Source], _ requestID: RequestID
    ) async throws(ClusterError) -> [Double]? {
        guard let embedder, !sentences.isEmpty else { return nil }
        do {
            let vectors = try await embedder.embed([question] + sentences.map { $0.embeddable(in: sources) })
            return vectors.dropFirst().map { vector in zip(vector, vectors[0]).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
        } catch where error.code != .cancelled {
            logger.warning("extractive answer without vectors", metadata: ["request": "\(requestID)", "error": "\(error)"])
            return nil
        }
    }

    /// Quotes the first few of `evidence`, best first. A sentence that follows a quote continues it, a text met twice is quoted once.
    private func quote(_ evidence: [Evidence], from sources: [Source]) -> Answer {
        var quotes: [(source: Int, range: Range<Int>)] = []
        var texts: Set<String> = []
        for item in evidence where texts.count < configuration.quotedSentences {
            guard texts.insert(sources[item.source].text.bytes(item.range)).inserted else { continue }
            let text = sources[item.source].text
            if quotes.contains(where: { $0.source == item.source && $0.range.overlaps(item.range) }) { continue }
            let range = Self.withWhatItAnnounces(item.range, in: text)
            if let before = quotes.firstIndex(where: { $0.source == item.source && Self.follows(range, $0.range, in: text) }) {
                quotes[before].range = quotes[before].range.lowerBound..<range.upperBound
            } else {
                quotes.append((item.source, range))
            }
        }
        let citations = quotes.map { quote in
            let source = sources[quote.source]
            return Citation(
                source: quote.source + 1, start: source.start + quote.range.lowerBound, end: source.start + quote.range.upperBound,
                quote: source.text.bytes(quote.range))
        }
        return Answer(text: citations.map { "“\($0.quote)” [\($0.source)]" }.joined(separator: " "), citations: citations, refused: false)
    }

    /// Whether only white space stands between `before` and `range`, which comes later in `text`.
    private static func follows(_ range: Range<Int>, _ before: Range<Int>, in text: String) -> Bool {
        before.upperBound <= range.lowerBound && text.bytes(before.upperBound..<range.lowerBound).allSatisfy(\.isWhitespace)
    }

    /// A sentence that ends with a colon says nothing without the command, list or table behind it: as much of that as a quote may have.
    private static func withWhatItAnnounces(_ range: Range<Int>, in text: String) -> Range<Int> {
        guard text.bytes(range).last == ":" else { return range }
        var end = range.upperBound
        for next in SentenceSplitter.ranges(in: text) where next.lowerBound >= end {
            let isNewBlock = text.bytes(end..<next.lowerBound).count(where: \.isNewline) > 1
            guard next.upperBound - range.lowerBound <= SentenceSplitter.maximumBytes, end == range.upperBound || !isNewBlock else { break }
            end = next.upperBound
        }
        return range.lowerBound..<end
    }
}

extension String {
    /// The text at an offset range in bytes, whose bounds are characters' bounds.
    fileprivate func bytes(_ range: Range<Int>) -> String {
        String(self[utf8.index(startIndex, offsetBy: range.lowerBound)..<utf8.index(startIndex, offsetBy: range.upperBound)])
    }
}

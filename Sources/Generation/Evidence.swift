import Foundation
import Model

/// A sentence of a source, and what speaks for and against its answering the question.
package struct Evidence: Sendable {
    /// Index of the source in the request, from 0.
    package var source: Int
    /// Bytes of the source's text.
    package var range: Range<Int>
    /// Measurements in the order of ``names``, each 0…1.
    package var features: [Double]

    static let contextCoverage = names.firstIndex(of: "contextCoverage")!
    static let news = names.firstIndex(of: "news")!

    /// The sentence below its title and last heading: what its vector is made of.
    package func embeddable(in sources: [Source]) -> String {
        let source = sources[self.source]
        let text = String(decoding: Array(source.text.utf8)[range], as: UTF8.self)
        let place = [source.title, source.headings.last ?? ""].filter { !$0.isEmpty }
        return (place.count == 2 && place[0] == place[1] ? [place[0]] : place).joined(separator: ": ") + "\n" + text
    }

    /// What is measured. *Context* is the sentence, the one before it, and the source's title and headings. Coverage is the
    /// share of the question's weight that is found.
    package static let names = [
        "coverage", "contextCoverage", "nextCoverage", "sourceCoverage", "windowCoverage",  // sentence; context; with the next sentence; source; 12 words
        "names", "numbers",  // share of the question's names and numbers found in the context; 1 if it has none
        "rarestMissing",  // the largest weight of a term that the context lacks
        "namesMissing",  // 1 if the whole source lacks a name of the question
        "typeMiss",  // 1 if no word is of the kind the question asks for: a name, a time, a number
        "reason",  // 1 if the question asks why and the sentence says because
        "negationMissing",  // 1 if the question is negated and the sentence is not
        "antonym",  // 1 if the sentence has the opposite of a term in the term's place
        "rank", "scoreGap",  // 1 / place of the source; how much lower its score is than the best source's
        "length", "news",  // words of the sentence / 60; words that are not in the question / 20
        "terms",  // terms of the question / 10
        "placeCoverage", "opening",  // of title and headings; the same over the sentence's position below them
        "wish",  // 1 if the question is none, but says what is wanted
    ]
}

/// Measures every sentence of some sources against a question.
///
/// Term weights multiply how rare a word is in English with how few of the given sentences have it.
package struct EvidenceCollector {
    private let question: QuestionAnalysis
    private let sources: [Source]
    private let readings: [Reading]
    private let weights: [Double]
    private let totalWeight: Double

    private struct Sentence {
        var range: Range<Int>
        var words: [Word]
        var stems: Set<String>
        /// Sentences before it in its source that are no headings.
        var position: Int
        /// It repeats a heading, or asks instead of saying.
        var saysNothing: Bool
    }

    /// A source, read: its sentences' words and those of its place.
    private struct Reading {
        var sentences: [Sentence]
        /// Stems of title and headings.
        var place: Set<String>
        var stems: Set<String>
    }

    /// - Complexity: O(bytes of all sources).
    package init(question: String, sources: [Source]) {
        self.question = QuestionAnalysis(question)
        self.sources = sources
        readings = sources.map(Self.read)
        let sentences = readings.flatMap(\.sentences)
        weights = self.question.terms.map { term in
            let holders = sentences.count { $0.stems.contains(term.stem) }
            // In a single sentence nothing can be rare: then only the language's own rarity counts.
            let share = log(Double(sentences.count + 1) / Double(holders + 1)) / log(Double(sentences.count + 2))
            return term.rarity * (0.4 + 0.6 * share)
        }
        totalWeight = max(weights.reduce(0, +), 1e-9)
    }

    private static func read(_ source: Source) -> Reading {
        let words = Word.all(in: source.text)
        let text = Array(source.text.utf8)
        let place = Set(([source.title] + source.headings).flatMap { Word.all(in: $0) }.map(\.stem))
        var next = words.startIndex
        var position = 0
        let sentences = SentenceSplitter.ranges(in: source.text).map { range in
            while next < words.endIndex, words[next].range.lowerBound < range.lowerBound { next += 1 }
            let first = next
            while next < words.endIndex, words[next].range.lowerBound < range.upperBound { next += 1 }
            let own = Array(words[first..<next])
            let saysNothing = text[range.upperBound - 1] == UInt8(ascii: "?") || own.allSatisfy { place.contains($0.stem) || $0.isNumber }
            defer { if !saysNothing { position += 1 } }
            return Sentence(range: range, words: own, stems: Set(own.map(\.stem)), position: position, saysNothing: saysNothing)
        }
        return Reading(sentences: sentences, place: place, stems: Set(words.map(\.stem)).union(place))
    }

    /// Every sentence that has a term of the question, or stands below or behind one, and says something more; in order.
    /// - Complexity: O(words × terms).
    package func collect() -> [Evidence] {
        guard !question.terms.isEmpty else { return [] }
        var all: [Evidence] = []
        for (index, reading) in readings.enumerated() {
            for position in reading.sentences.indices {
                let sentence = reading.sentences[position]
                guard sentence.words.count > 2, !sentence.saysNothing else { continue }
                let features = measure(reading, position, source: index)
                guard features[Evidence.contextCoverage] > 0, features[Evidence.news] > 0 else { continue }
                all.append(Evidence(source: index, range: reading.sentences[position].range, features: features))
            }
        }
        return all
    }

    /// Share of the question's weight whose terms `isFound`.
    private func coverage(_ isFound: (String) -> Bool) -> Double {
        var sum = 0.0
        for (term, weight) in zip(question.terms, weights) where isFound(term.stem) { sum += weight }
        return sum / totalWeight
    }

    /// The largest weight among the terms that are not found, 0…1.
    private func rarestMissing(_ isFound: (String) -> Bool) -> Double {
        var rarest = 0.0
        for (term, weight) in zip(question.terms, weights) where !isFound(term.stem) { rarest = max(rarest, weight) }
        return rarest
    }

    private func share(of select: (QuestionAnalysis.Term) -> Bool, _ isFound: (String) -> Bool) -> Double {
        let selected = question.terms.filter(select)
        return selected.isEmpty ? 1 : Double(selected.count { isFound($0.stem) }) / Double(selected.count)
    }

    private func measure(_ reading: Reading, _ position: Int, source: Int) -> [Double] {
        let sentence = reading.sentences[position]
        let before = position > 0 ? reading.sentences[position - 1].stems : []
        let after = position + 1 < reading.sentences.count ? reading.sentences[position + 1].stems : []
        func inSentence(_ stem: String) -> Bool { has(stem, in: sentence.stems) }
        func inContext(_ stem: String) -> Bool { inSentence(stem) || has(stem, in: before) || has(stem, in: reading.place) }
        func inSource(_ stem: String) -> Bool { has(stem, in: reading.stems) }

        let isNegated = sentence.words.contains { Lexicon.negations.contains($0.folded) }
        let hasAntonym = question.terms.contains { term in
            !inSentence(term.stem)
                && (!Lexicon.opposites(of: term.stem).isDisjoint(with: sentence.stems) || sentence.stems.contains { Lexicon.isNegatedForm(term.stem, $0) })
        }
        let news = sentence.words.count { !question.stems.contains($0.stem) && !Lexicon.isFunctionWord($0) }
        let placeCoverage = coverage { has($0, in: reading.place) }
        let givesReason = question.expected == .reason && sentence.words.contains { Lexicon.reasonWords.contains($0.folded) }
        return [
            coverage(inSentence), coverage(inContext), coverage { inContext($0) || has($0, in: after) }, coverage(inSource),
            windowCoverage(sentence.words), share(of: \.isName, inContext), share(of: \.isNumber, inContext), rarestMissing(inContext),
            question.terms.contains { $0.isName && !inSource($0.stem) } ? 1 : 0, missesType(sentence.words) ? 1 : 0, givesReason ? 1 : 0,
            question.isNegated && !isNegated ? 1 : 0, hasAntonym ? 1 : 0, 1 / Double(source + 1),
            // Scores of other metrics than cosine have other scales: the bound keeps them from deciding alone.
            min(0.3, max(0, Double(sources[0].score - sources[source].score))), min(1, Double(sentence.words.count) / 60),
            min(1, Double(news) / 20), min(1, Double(question.terms.count) / 10),
            placeCoverage, placeCoverage / Double(sentence.position + 1), question.isWish ? 1 : 0,
        ]
    }

    /// Whether a text has the term, or a longer or shorter form that stemming keeps apart (`proclam`, `proclaim`).
    private func has(_ stem: String, in stems: Set<String>) -> Bool {
        if stems.contains(stem) { return true }
        guard stem.utf8.count >= 6 else { return false }
        let prefix = stem.prefix(max(5, stem.count - 3))
        return stems.contains { $0.hasPrefix(prefix) && abs($0.utf8.count - stem.utf8.count) <= 4 }
    }

    /// The largest share of the question's weight within 12 words of the sentence.
    private func windowCoverage(_ words: [Word]) -> Double {
        var best = 0.0
        let hits = words.enumerated().filter { word in question.terms.contains { $0.stem == word.element.stem } }
        for (first, hit) in hits.enumerated() {
            let stems = Set(hits[first...].prefix { $0.offset < hit.offset + 12 }.map(\.element.stem))
            best = max(best, coverage { stems.contains($0) })
        }
        return best
    }

    /// Whether the sentence has no word of the expected kind that the question does not have itself.
    private func missesType(_ words: [Word]) -> Bool {
        switch question.expected {
        case .reason, .manner, .other: false
        case .person, .place, .time, .quantity: !words.indices.contains { isCandidate($0, in: words) && !question.stems.contains(words[$0].stem) }
        }
    }

    private func isCandidate(_ index: Int, in words: [Word]) -> Bool {
        let word = words[index]
        switch question.expected {
        case .time:
            if word.isNumber { return word.folded.utf8.count >= 3 || index > 0 && Lexicon.timeWords.contains(words[index - 1].folded) }
            return Lexicon.timeWords.contains(word.folded)
        case .quantity: return word.isNumber || Lexicon.numberWords.contains(word.folded)
        case .person, .place: return isName(word, at: index)
        case .reason, .manner, .other: return false
        }
    }

    private func isName(_ word: Word, at index: Int) -> Bool {
        word.isCapitalized && (index > 0 || CommonWords.rarity(of: word.stem) > 0.8) && !Lexicon.isFunctionWord(word)
    }
}

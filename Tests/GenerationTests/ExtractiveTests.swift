import Embedding
import Foundation
import Generation
import Model
import Testing

@Suite struct ExtractiveTests {
    private func answer(_ question: String, _ sources: [Source]) async throws -> (quotes: [String], summary: AnswerSummary) {
        let summary = try #require(try await Generator(model: nil).collect(AnswerRequest(question: question, sources: sources)).summary)
        return (summary.citations.map(\.quote), summary)
    }

    private let passage = Source(
        """
        Ada Brown founded the observatory of Kestrel Hill in 1911 with money from her uncle. Its telescope, built by Dr. J. R. Voss in \
        Leiden, weighs 14,000 kg. It was closed because the town's lights had grown too bright. Today the dome is a museum.
        """, title: "Kestrel Hill Observatory", start: 500)

    @Test(
        "quotes the sentence that answers",
        arguments: [
            ("Who founded the observatory of Kestrel Hill?", "Ada Brown founded"), ("When was the observatory founded?", "in 1911"),
            ("Who built the telescope?", "Dr. J. R. Voss"), ("How much does the telescope weigh?", "14,000 kg"),
            ("Why was the observatory closed?", "too bright"), ("What is the dome of the observatory today?", "museum"),
        ])
    func answers(question: String, expected: String) async throws {
        let (quotes, summary) = try await answer(question, [passage])
        #expect(quotes.contains { $0.contains(expected) }, "\(quotes)")
        for citation in summary.citations {
            #expect(Array(passage.text.utf8)[citation.start - 500..<citation.end - 500].elementsEqual(citation.quote.utf8))
        }
    }

    @Test("a sentence that announces a command is quoted with it")
    func announcement() async throws {
        let source = Source(
            "To see the open sockets of a lamp, run this command:\n\n```\nlampctl sockets --open\n```\n\nLamps are sold in pairs.", title: "Lamps",
            headings: ["Sockets"])
        let (quotes, _) = try await answer("How can I see which sockets of a lamp are open?", [source])
        #expect(quotes == ["To see the open sockets of a lamp, run this command:\n\n```\nlampctl sockets --open\n```"])
    }

    @Test("the sentence that answers best comes first, even if the next best stands before it")
    func order() async throws {
        let source = Source("The keeper of Kestrel Hill paints the door. The keeper of Kestrel Hill paints the door of the tower red each May.")
        let (quotes, _) = try await answer("When does the keeper of Kestrel Hill paint the door of the tower?", [source])
        #expect(quotes.first?.hasSuffix("each May.") == true && quotes.first?.contains("of the tower") == true)
        #expect(quotes.first?.contains("door. The") == false)
    }

    @Test("headings and questions are not quoted as answers")
    func headings() async throws {
        let source = Source(
            "## How is the lamp cleaned?\n\nHow is the lamp cleaned?\n\nWith a dry cloth, once a week and never while it burns.", title: "Lamp care",
            headings: ["How is the lamp cleaned?"])
        let (quotes, _) = try await answer("How is the lamp cleaned?", [source])
        #expect(quotes == ["With a dry cloth, once a week and never while it burns."])
    }

    @Test(
        "refuses what the text does not say",
        arguments: [
            "What is the capital of Mongolia?", "Which moons did Galileo discover with Simon Marius?", "Who did not found the observatory?", "?",
            "How do I reset my password?",
        ])
    func refuses(question: String) async throws {
        let (quotes, summary) = try await answer(question, [passage])
        #expect(quotes.isEmpty && summary.refused, "\(quotes)")
    }

    @Test("survives any text", arguments: ["", "   \n\n", "...!?", "\u{301}\u{200D}", "漢字。かな。", "a\r\nb", String(repeating: "word ", count: 3000), "👩‍👩‍👧 family. 👍🏽"])
    func oddTexts(text: String) async throws {
        for question in ["word a family 漢?", text.prefix(2000) + "?"] {
            let (_, summary) = try await answer(question, [Source(text), passage])
            for citation in summary.citations where citation.source == 1 {
                #expect(Array(text.utf8)[citation.start..<citation.end].elementsEqual(citation.quote.utf8))
            }
        }
    }

    @Test("every quote is the source's bytes at its offsets", .enabled(if: Squad.isThere, "needs ../shared/data/squad"))
    func exactQuotes() async throws {
        var quoted = 0
        for question in try Squad.gold(every: 22) {
            let (_, summary) = try await answer(question.text, question.sources)
            for citation in summary.citations {
                let source = question.sources[citation.source - 1]
                #expect(Array(source.text.utf8)[citation.start - source.start..<citation.end - source.start].elementsEqual(citation.quote.utf8))
            }
            if !summary.citations.isEmpty { quoted += 1 }
        }
        #expect(quoted >= 500)
    }

    @Test("beats the first sentence of the top chunk, and refuses", .enabled(if: Squad.isThere, "needs ../shared/data/squad"))
    func beatsBaseline() async throws {
        var ours = AnswerRates()
        var baseline = AnswerRates()
        for question in try Squad.gold(every: 10) {
            ours.count(question, quotes: try await answer(question.text, question.sources).quotes)
            baseline.count(question, quotes: Self.firstSentence(question))
        }
        #expect(ours.inQuoteRate > baseline.inQuoteRate + 0.3)
        #expect(ours.refusalRate > 0.35)
        #expect(ours.refusalRate > ours.falseRefusalRate + 0.2)
        #expect(ours.falseRefusalRate < 0.2)
    }

    /// The baseline: the first sentence of the best source, never a refusal. A sentence ends at a full stop, question or exclamation
    /// mark before a space.
    static func firstSentence(_ question: Squad.Question) -> [String] {
        guard let text = question.sources.first?.text else { return [] }
        return [text.firstMatch(of: /^.*?[.!?](?=\s|$)/.dotMatchesNewlines()).map { String($0.0) } ?? text]
    }

    /// Prints the figures: `loadtest/answers` runs it whole. The articles that the scorer was fitted on and the others are
    /// reported apart.
    @Test("benchmark: extractive answers", .enabled(if: Squad.isThere, "needs ../shared/data/squad"))
    func benchmark() async throws {
        let isFull = ProcessInfo.processInfo.environment["BENCHMARK"] != nil
        let folder = ProcessInfo.processInfo.environment["COVEY_EMBEDDER"]
        let embedder = try folder.map { try MiniLMEmbedder(directory: $0, workers: 1) }
        let fitted = try Squad.fittedArticles()
        let sets: [(String, [Squad.Question])] = [
            ("the right passage", try Squad.gold(every: isFull ? (embedder == nil ? 1 : 8) : 200)),
            ("the 5 nearest passages", isFull ? try Squad.retrieved() : []),
        ]
        for (name, questions) in sets where !questions.isEmpty {
            for half in [false, true] {
                let chosen = questions.filter { fitted.contains($0.article) == half }
                var baseline = AnswerRates()
                for question in chosen { baseline.count(question, quotes: Self.firstSentence(question)) }
                print("squad, \(name), articles \(half ? "fitted on" : "held out")")
                print("  first sentence      \(baseline)")
                for (kind, embedder) in [("words", nil), ("words and vectors", embedder)] where kind == "words" || embedder != nil {
                    let generator = Generator(model: nil, embedder: embedder)
                    var ours = AnswerRates()
                    let clock = ContinuousClock()
                    let start = clock.now
                    for question in chosen {
                        let summary = try await generator.collect(AnswerRequest(question: question.text, sources: question.sources)).summary
                        ours.count(question, quotes: summary?.citations.map(\.quote) ?? [])
                    }
                    let each = (clock.now - start) / max(1, chosen.count)
                    print("  \(kind.padding(toLength: 19, withPad: " ", startingAt: 0)) \(ours); \(each) a question")
                }
            }
        }
    }

    /// Prints how often questions about documentation are refused: those whose page is among the sources, and those that the sources have
    /// nothing to do with. `SHOW=7` prints each seventh answer, too: nobody has written down which sentences are right.
    @Test("benchmark: extractive answers from documentation", .enabled(if: DocumentationQuestion.path != nil, "needs the sources of loadtest/docs_sources.py"))
    func documentation() async throws {
        let environment = ProcessInfo.processInfo.environment
        let embedder = try environment["COVEY_EMBEDDER"].map { try MiniLMEmbedder(directory: $0, workers: 1) }
        let generator = Generator(model: nil, embedder: embedder)
        let shown = environment["SHOW"].flatMap(Int.init)
        var asked: [String: (count: Int, refused: Int)] = [:]
        for (index, original) in try DocumentationQuestion.all().enumerated() where original.isHome ? original.isFound : index % 3 == 0 {
            for (name, question) in [("", original), (", the question's own heading taken out", original.withoutItsHeading)] {
                if !name.isEmpty, original.sourceUnderQuestion == nil { continue }
                let summary = try await generator.collect(AnswerRequest(question: question.text, sources: question.sources)).summary
                let quotes = summary?.citations.map(\.quote) ?? []
                let kind = "\(question.isHeldOut ? "held out" : "fitted on"), \(question.isHome ? "the manual's own" : "another subject"): \(question.set)\(name)"
                asked[kind, default: (0, 0)].count += 1
                if quotes.isEmpty { asked[kind]!.refused += 1 }
                if let shown, question.isHome, question.isHeldOut, index % shown == 0 { print("? \(question.text.prefix(200))\n  \(quotes.isEmpty ? "(refused)" : quotes.joined(separator: "\n  "))") }
            }
        }
        for (kind, rates) in asked.sorted(by: { $0.key < $1.key }) {
            print("documentation, \(kind): \(rates.count) asked, refused \(String(format: "%.1f", 100 * Double(rates.refused) / Double(rates.count))) %")
        }
    }
}

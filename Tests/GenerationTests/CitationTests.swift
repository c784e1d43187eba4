import Generation
import Model
import Testing

@Suite struct CitationTests {
    private let sources = [
        Source("The crisis began in October 1973 with an embargo.", start: 100), Source("Prices rose to $12 a barrel by March 1974.", start: 40),
        Source("Cars shrank.", start: 7),
    ]

    private func answer(_ pieces: [String]) async throws -> Collected {
        try await Generator(model: ScriptedModel(pieces)).collect(AnswerRequest(question: "What happened?", sources: sources))
    }

    @Test(
        "keeps citations of given sources and removes the others",
        arguments: [
            ("It began [1].", "It began [1].", [1], 0), ("Both [1][2].", "Both [1][2].", [1, 2], 0), ("Both [1, 2].", "Both [1, 2].", [1, 2], 0),
            ("All [1-3].", "All [1-3].", [1, 2, 3], 0), ("All [1–3].", "All [1–3].", [1, 2, 3], 0), ("Odd [9].", "Odd.", [], 1),
            ("Odd [9] here", "Odd here", [], 1), ("Mixed [1, 9, 3].", "Mixed [1][3].", [1, 3], 1), ("Range [2-5].", "Range [2][3].", [2, 3], 2),
            ("Zero [0].", "Zero [0].", [], 0), ("Named [source 2] and [Sources: 1; 3]", "Named [source 2] and [Sources: 1; 3]", [2, 1, 3], 0),
            ("Foot[^1]", "Foot[^1]", [1], 0), ("[not a citation] [x1] [", "[not a citation] [x1] [", [], 0), ("[[1]]", "[[1]]", [1], 0),
            ("`a[9]` and [9]", "`a[9]` and", [], 1), ("```\na[9]\n```\n[2]", "```\na[9]\n```\n[2]", [2], 0), ("[12345]", "[12345]", [], 0),
            ("[-1] [1-] [3-1] [,]", "[-1] [1-] [3-1] [,]", [], 0), ("unclosed [1", "unclosed [1", [], 0),
            ("By Vaswani et al. [2017], in [1939-1945], see items[0] too [1].", "By Vaswani et al. [2017], in [1939-1945], see items[0] too [1].", [1], 0),
            ("So [64] [65] [1, 2017] [0-2] [1-65] [3]", "So [65] [1, 2017] [0-2] [1-65] [3]", [3], 1), ("[99999999999999999999]", "[99999999999999999999]", [], 0),
            ("über ]1[ [3] é", "über ]1[ [3] é", [3], 0),
        ])
    func filters(text: String, expected: String, cited: [Int], removed: Int) async throws {
        let whole = try await answer([text])
        #expect(whole.text == expected)
        #expect(whole.summary?.citations.map(\.source) == cited)
        #expect(whole.summary?.citationsRemoved == removed)
        // The same wherever the stream is cut.
        for cut in text.indices.dropFirst() {
            let split = try await answer([String(text[..<cut]), String(text[cut...])])
            #expect(split.text == expected && split.summary?.citations == whole.summary?.citations && split.summary?.citationsRemoved == removed)
        }
        let single = try await answer(text.map(String.init))
        #expect(single.text == expected && single.summary?.citations == whole.summary?.citations && single.summary?.citationsRemoved == removed)
    }

    @Test("a citation of a source that the prompt dropped is removed")
    func dropped() async throws {
        var configuration = GenerationConfiguration()
        configuration.promptTokens = 512
        let long = sources + [Source(String(repeating: "word ", count: 300))]
        let generator = Generator(model: ScriptedModel(["So [1] and [4]."]), configuration: configuration)
        let collected = try await generator.collect(AnswerRequest(question: "What happened?", sources: long))
        #expect(collected.summary?.sourcesUsed.contains(4) == false)
        #expect(collected.text == "So [1] and.")
        #expect(collected.summary?.citationsRemoved == 1)
    }

    @Test("what the answer takes over word by word gets its place; else the citation is of the chunk")
    func quotes() async throws {
        let collected = try await answer(["Sure: it began in October 1973 with an embargo [1]. They \"rose to $12\" then [2]. Vehicles became smaller [3]."])
        let citations = try #require(collected.summary?.citations)
        #expect(citations[0] == Citation(source: 1, start: 111, end: 148, quote: "began in October 1973 with an embargo"))
        #expect(citations[1] == Citation(source: 2, start: 47, end: 58, quote: "rose to $12"))
        #expect(citations[2] == Citation(source: 3, start: 7, end: 19))
    }
}

import Generation
import Model
import Testing

@Suite struct GeneratorTests {
    private let source = Source("The 1973 oil crisis began in October 1973 when OAPEC proclaimed an oil embargo. Prices rose.", title: "1973 oil crisis")
    private var request: AnswerRequest { AnswerRequest(question: "When did the 1973 oil crisis begin?", sources: [source]) }

    @Test("without sources it refuses and asks no model")
    func noSources() async throws {
        let model = ScriptedModel(["never said"])
        let collected = try await Generator(model: model).collect(AnswerRequest(question: "Who?", sources: []))
        #expect(collected.text == "The sources do not answer this question.")
        #expect(collected.summary?.refused == true)
        #expect(model.requests.isEmpty)
    }

    @Test("streams the model's answer with the server's counts")
    func model() async throws {
        let model = ScriptedModel(["In ", "October 1973 ", "[1]."], reason: .length, usage: TokenUsage(promptTokens: 200, completionTokens: 6))
        var request = request
        request.options = AnswerOptions(maximumTokens: 50, temperature: 0.5, showPrompt: true)
        let collected = try await Generator(model: model).collect(request)
        #expect(collected.text == "In October 1973 [1].")
        let summary = try #require(collected.summary)
        #expect(summary.model == "scripted" && summary.reason == .length && !summary.refused)
        #expect(summary.promptTokens == 200 && summary.completionTokens == 6 && summary.sourcesUsed == [1])
        let sent = try #require(model.requests.first)
        #expect(sent.maximumTokens == 50 && sent.temperature == 0.5)
        // What is shown is what was sent, to the byte.
        #expect(collected.prompt == sent.messages.map { "### \($0.speaker.rawValue)\n\($0.text)" }.joined(separator: "\n\n") + "\n")
    }

    @Test(
        "knows a model's refusal",
        arguments: [
            ("The sources do not answer this question.", true), ("I don't know.", true), ("The provided sources do not mention this.", true),
            ("", true), ("It began in October 1973 [1].", false), ("The sources do not agree: 1973 [1].", false),
        ])
    func refusals(text: String, refused: Bool) async throws {
        #expect(try await Generator(model: ScriptedModel([text])).collect(request).summary?.refused == refused)
    }

    @Test("a reply that goes on with the prompt's markers ends before them", arguments: 1...9)
    func markersEnd(size: Int) {
        let nonce = "9ac1c042"
        let reply = "Use dpkg -S << 9 9ac.\n\n<<\(nonce) source 1\nTitle: x"
        for (text, expected, ends) in [
            (reply, "Use dpkg -S << 9 9ac.\n\n", true), ("a \(nonce)>> b", "a ", true),
            ("ends with <<9ac", "ends with <<9ac", false), ("a\n<<9ac1c04caaffee source 1>", "a\n", true),
            ("\n<<\(nonce) source 2\nThe answer.\n\(nonce)>>", "The answer.\n", true),
        ] {
            var cut = MarkerCut(nonce: nonce)
            var shown = ""
            var rest = text[...]
            while !rest.isEmpty {
                shown += cut.receive(String(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            shown += cut.finish()
            #expect(shown == expected && cut.isCut == ends)
        }
    }

    @Test("a model that fails before its first word is replaced by the sources' sentences, and named")
    func fallsBack() async throws {
        let model = ScriptedModel([], failure: ClusterError(.unavailable, "no connection"))
        let collected = try await Generator(model: model).collect(request)
        #expect(collected.summary?.model == "extractive (scripted unavailable)")
        #expect(collected.text.contains("October 1973"))
    }

    @Test("a model that fails later, or without the fallback, is an error")
    func fails() async throws {
        let failure = ClusterError(.unavailable, "connection lost")
        await #expect(throws: failure) { try await Generator(model: ScriptedModel(["In "], failure: failure)).collect(request) }
        var configuration = GenerationConfiguration()
        configuration.fallbackToExtractive = false
        await #expect(throws: failure) { try await Generator(model: ScriptedModel([], failure: failure), configuration: configuration).collect(request) }
    }

    @Test("a passed deadline is an error, not an answer")
    func deadline() async throws {
        let late = CallContext(requestID: RequestID("late"), tenant: .default, deadline: .now - .seconds(1))
        let error = await #expect(throws: ClusterError.self) { try await Generator(model: nil).collect(request, context: late) }
        #expect(error?.code == .deadlineExceeded)
    }

    @Test("an answer beyond the byte limit ends with its name")
    func answerBytes() async throws {
        var configuration = GenerationConfiguration()
        configuration.answerBytes = 10
        let error = await #expect(throws: ClusterError.self) {
            try await Generator(model: ScriptedModel(["123456", "7890abc"]), configuration: configuration).collect(request)
        }
        #expect(error?.code == .resourceExhausted && error?.message.contains("answerBytes") == true)
    }

    @Test("says which bound a request exceeds")
    func bounds() async throws {
        var configuration = GenerationConfiguration()
        configuration.questionBytes = 20
        configuration.sources = 2
        configuration.sourceBytes = 200
        configuration.historyTurns = 1
        configuration.historyBytes = 10
        let turn = ChatTurn(speaker: .user, text: "hi")
        let cases: [(AnswerRequest, String)] = [
            (AnswerRequest(question: " \n", sources: []), "question is empty"),
            (AnswerRequest(question: String(repeating: "x", count: 21), sources: []), "question has 21 bytes, the limit is 20"),
            (AnswerRequest(question: "q", sources: [Source("a"), Source("b"), Source("c")]), "3 sources, the limit is 2"),
            (AnswerRequest(question: "q", sources: [Source(String(repeating: "x", count: 200))]), "201 bytes, the limit is 200"),
            (AnswerRequest(question: "q", history: [turn, turn], sources: []), "2 turns, the limit is 1"),
            (AnswerRequest(question: "q", history: [ChatTurn(speaker: .user, text: "longer than ten")], sources: []), "15 bytes, the limit is 10"),
            (AnswerRequest(question: "q", sources: [], options: AnswerOptions(maximumTokens: 0)), "must be positive"),
            (AnswerRequest(question: "q", sources: [], options: AnswerOptions(temperature: 3)), "temperature is 3.0"),
            (AnswerRequest(question: "q", sources: [Source(document: "d", title: "", text: "abc", start: 0, end: 9)]), "source 1 says bytes 0..<9"),
            (AnswerRequest(question: "q", sources: [Source(document: "d", title: "", text: "abc", start: .min, end: 9)]), "source 1 says bytes -9"),
            (AnswerRequest(question: "q", sources: [Source(document: "d", title: "", text: "abc", start: .max, end: .min)]), "source 1 says bytes 9"),
        ]
        for (request, message) in cases {
            let error = await #expect(throws: ClusterError.self) { try await Generator(model: nil, configuration: configuration).collect(request) }
            #expect(error?.code == .invalidArgument && error?.message.contains(message) == true, "\(String(describing: error))")
        }
    }

    @Test("a request may allow more tokens than an answer gets, or fewer", arguments: [(nil, 768), (50, 50), (768, 768), (5_000, 768)] as [(Int?, Int)])
    func maximumTokens(asked: Int?, sent: Int) async throws {
        let model = ScriptedModel(["So [1]."])
        var request = request
        request.options.maximumTokens = asked
        _ = try await Generator(model: model).collect(request)
        #expect(model.requests.map(\.maximumTokens) == [sent])
    }

    @Test("the first event comes before the model's first word: the request can be answered")
    func acceptance() async throws {
        let (words, model) = AsyncThrowingStream<ModelEvent, any Error>.makeStream()
        let events = Generator(model: SilentModel(events: words)).answer(request, context: context)
        var iterator = events.makeAsyncIterator()
        #expect(try await iterator.next() == .text(""))
        model.yield(.text("So [1]."))
        model.yield(.finished(reason: .stop, usage: nil))
        var text = ""
        while let event = try await iterator.next() { if case .text(let piece) = event { text += piece } }
        #expect(text == "So [1].")
        var tooLong = request
        tooLong.question = String(repeating: "why ", count: 4_000)
        let error = await #expect(throws: ClusterError.self) { for try await event in Generator(model: ScriptedModel([])).answer(tooLong, context: context) { Issue.record("\(event)") } }
        #expect(error?.code == .invalidArgument)
    }

    /// Says what a test says, when it says it.
    private struct SilentModel: LanguageModel {
        let name = "silent"
        let events: AsyncThrowingStream<ModelEvent, any Error>
        func generate(_ request: ModelRequest) -> AsyncThrowingStream<ModelEvent, any Error> { events }
    }

    @Test("the configuration's own errors name field and value")
    func configuration() {
        var configuration = GenerationConfiguration()
        configuration.quotedSentences = 0
        let error = #expect(throws: ClusterError.self) { try configuration.validate() }
        #expect(error?.message == "quotedSentences is 0, must be 1…10")
    }
}

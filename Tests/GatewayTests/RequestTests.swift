import Embedding
import Gateway
import Model
import Testing

private func json(_ text: String) throws -> JSONInput { try JSONReader.read(Array(text.utf8)) }

@Suite("filters of requests") struct FilterTests {
    private let payload: Payload = ["n": 5, "colour": "red", "tags": ["a", "b"], "gone": nil, "attributes": ["year": 2020, "topic": "sea"]]

    @Test(
        "Qdrant's filters become the model's",
        arguments: [
            (#"{}"#, true), (#"{"must": []}"#, true),
            (#"{"must": {"key": "n", "match": {"value": 5}}}"#, true),
            (#"{"must": [{"key": "n", "match": {"value": 6}}]}"#, false),
            (#"{"should": [{"key": "n", "match": {"value": 6}}, {"key": "colour", "match": {"any": ["red", "blue"]}}]}"#, true),
            (#"{"must_not": [{"key": "tags", "match": {"value": "a"}}]}"#, false),
            (#"{"must": [{"key": "colour", "match": {"except": ["red"]}}]}"#, false),
            (#"{"must": [{"key": "n", "range": {"gt": 4, "lte": 5.0}}]}"#, true),
            (#"{"must": [{"key": "n", "range": {"lt": 5}}]}"#, false),
            (#"{"must": [{"has_id": [7, "00000000-0000-0000-0000-000000000001"]}]}"#, true),
            (#"{"must": [{"has_id": [8]}]}"#, false),
            (#"{"must": [{"is_empty": {"key": "absent"}}, {"is_null": {"key": "gone"}}]}"#, true),
            (#"{"must": [{"key": "absent", "is_empty": false}]}"#, false),
            (#"{"must": [{"must_not": [{"key": "n", "match": {"value": 6}}]}]}"#, true),
        ])
    func qdrant(text: String, passes: Bool) throws {
        #expect(try QdrantFilter.read(try json(text), at: "filter").passes(id: .integer(7), payload: payload) == passes)
    }

    @Test(
        "what Qdrant's filters may not hold is refused by its path",
        arguments: [
            (#"{"min_should": {}}"#, "filter.min_should", 501), (#"{"must": [{"key": "a", "match": {"text": "x"}}]}"#, "filter.must[0].match.text", 501),
            (#"{"must": [{"nested": {}}]}"#, "filter.must[0].nested", 501),
            (#"{"must": [{"key": "a", "range": {"gt": "2020-01-01"}}]}"#, "filter.must[0].range.gt", 501),
            (#"{"must": [{"key": "a", "geo_radius": {}}]}"#, "filter.must[0].geo_radius", 501),
            (#"{"must": [{"key": "a"}]}"#, "filter.must[0]", 400), (#"{"must": [{}]}"#, "filter.must[0]", 400),
            (#"{"must": [{"key": "a", "match": {"value": 1.5}}]}"#, "filter.must[0].match.value", 400),
            (#"{"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]}"#, "filter.must[0].match", 400),
            (#"{"musst": []}"#, "filter.musst", 400), (#"{"must": 3}"#, "filter.must", 400), (#"[]"#, "filter", 400),
            (#"{"should": [{"key": "a", "match": {"value": 1}, "x": 1}]}"#, "filter.should[0].x", 400),
        ])
    func refusals(text: String, path: String, status: Int) throws {
        let error = #expect(throws: RequestError.self) { try QdrantFilter.read(try json(text), at: "filter") }
        #expect(error?.field == path)
        #expect(error?.status.code == status)
        #expect(error?.message.contains(path) == true)
    }

    @Test(
        "OpenAI's filters look at attributes",
        arguments: [
            (#"{"type": "eq", "key": "topic", "value": "sea"}"#, true), (#"{"type": "ne", "key": "topic", "value": "sea"}"#, false),
            (#"{"type": "ne", "key": "absent", "value": "sea"}"#, true), (#"{"type": "gte", "key": "year", "value": 2020}"#, true),
            (#"{"type": "lt", "key": "year", "value": 2020}"#, false), (#"{"type": "in", "key": "year", "value": [1, 2020]}"#, true),
            (#"{"type": "nin", "key": "year", "value": [1, 2020]}"#, false),
            (#"{"type": "or", "filters": [{"type": "eq", "key": "topic", "value": "x"}, {"type": "gt", "key": "year", "value": 0}]}"#, true),
            (#"{"type": "and", "filters": [{"type": "eq", "key": "topic", "value": "x"}, {"type": "gt", "key": "year", "value": 0}]}"#, false),
        ])
    func attributes(text: String, passes: Bool) throws {
        #expect(try AttributeFilter.read(try json(text), at: "filters").passes(id: .integer(1), payload: payload) == passes)
    }

    @Test(
        "attributes keep to OpenAI's bounds",
        arguments: [#"{"a.b": 1}"#, #"{"": 1}"#, #"{"a": null}"#, #"{"a": [1]}"#, #"{"a": {}}"#, "3"])
    func bounds(text: String) throws {
        #expect(throws: RequestError.self) { try AttributeFilter.attributes(try json(text), at: "attributes") }
    }
}

@Suite("forms") struct MultipartFormTests {
    private func form(_ body: String, _ contentType: String = "multipart/form-data; boundary=X") throws -> MultipartForm {
        try MultipartForm(Array(body.utf8), contentType: contentType)
    }

    @Test("parts come with name, file name, type and exactly their bytes")
    func parts() throws {
        let body =
            "preamble\r\n--X\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n"
            + "--X\r\ncontent-disposition: form-data; filename=\"a \\\"b\\\"; c.md\"; name=file\r\nContent-Type: text/markdown\r\n\r\n"
            + "\r\n--x\r\n-X\n\r\n--X--\r\nepilogue"
        let parts = try form(body).parts
        #expect(parts.map(\.name) == ["purpose", "file"])
        #expect(parts[1].filename == "a \"b\"; c.md")
        #expect(parts[1].contentType == "text/markdown")
        #expect(Array(parts[0].bytes) == Array("assistants".utf8))
        #expect(Array(parts[1].bytes) == Array("\r\n--x\r\n-X\n".utf8))
        #expect(try form("--X\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--X--", "multipart/form-data; boundary=\"X\"").parts[0].bytes.isEmpty)
    }

    @Test("no cut of a form crashes it")
    func cuts() throws {
        let body = Array("--X\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\ntext\r\n--X--".utf8)
        for length in 0..<body.count {
            let parts = try? MultipartForm(Array(body[..<length]), contentType: "multipart/form-data; boundary=X").parts
            #expect(parts == nil, "\(length) bytes")
        }
    }
}

@Suite("what a question is looked up with") struct FollowUpTests {
    private let history = [ChatTurn(speaker: .user, text: "What does a ticket cost?"), ChatTurn(speaker: .assistant, text: "Nine euros.")]

    /// A token a word, or a byte, and two around the text, of which 42 are seen.
    private struct Words: Embedder {
        var countsBytes = false
        let model = "words"
        let dimension = 1
        let maximumTokens = 42
        func tokenCount(_ text: String) -> Int { (countsBytes ? text.utf8.count : text.split(whereSeparator: \.isWhitespace).count) + 2 }
        func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] { texts.map { _ in [1] } }
    }
    private func texts(_ question: String, _ history: [ChatTurn] = []) -> [String] { FollowUp.texts(for: question, history: history, embedder: Words()) }

    @Test("a question that leans on the one before is looked up together with it", arguments: ["And for children?", "How much does it cost to bring a dog on that one?"])
    func leaning(question: String) {
        #expect(texts(question, history) == [question + "\nWhat does a ticket cost?"])
        #expect(texts(question) == [question])
    }

    @Test("a question of its own is looked up alone")
    func standing() {
        let question = "Where does the tawny owl build the nest?"
        #expect(texts(question, history) == [question])
    }

    @Test("of a long message before, its end is looked up with the question; of a shorter one, what the model sees")
    func longTurn() {
        let sentences = (1...20).map { "Sentence \($0) is about owls." }
        func found(_ count: Int) -> [String] { texts("And for children?", [ChatTurn(speaker: .user, text: sentences.prefix(count).joined(separator: " "))]) }
        #expect(found(20) == ["And for children?\nSentence 20 is about owls."])
        #expect(found(8) == ["And for children?\n" + sentences.prefix(7).joined(separator: " ")])
        #expect(found(7) == found(8))
        #expect(found(1) == ["And for children?\nSentence 1 is about owls."])
        #expect(texts("And for children?", [ChatTurn(speaker: .user, text: " ")]) == ["And for children?"])
    }

    @Test("a long question is looked up in pieces that the model sees whole, the last one first", arguments: [2, 10, 50])
    func longQuestion(repeats: Int) throws {
        let sentences = (1...repeats * 7).map { "Sentence \($0) is about owls." }
        let question = (sentences + ["What does a ticket cost?"]).joined(separator: " ")
        let found = texts(question)
        #expect(found.allSatisfy { Words().tokenCount($0) <= 42 })
        #expect(found[0].hasSuffix("What does a ticket cost?") && Words().tokenCount(found[0]) <= 10)
        #expect(found.last?.hasPrefix("Sentence 1 is about owls.") == true)
        #expect(found.count <= TextWindows.maximumCount)
        if repeats < 20 { #expect(found.reversed().joined(separator: " ") == question) }
    }

    @Test("a sentence that is longer than the model sees is cut, between characters if need be")
    func longSentence() {
        let words = (1...200).map { "w\($0)" }.joined(separator: " ")
        #expect(texts(words).allSatisfy { Words().tokenCount($0) <= 42 })
        #expect(texts(words).reversed().flatMap { $0.split(separator: " ") } == words.split(separator: " "))
        let long = String(repeating: "梟", count: 100)
        let found = FollowUp.texts(for: long, history: [], embedder: Words(countsBytes: true))
        #expect(found.allSatisfy { $0.utf8.count <= 40 } && found.joined() == long)
    }
}

@Suite("questions") struct ChatRequestTests {
    private func request(_ turns: [(role: String, text: String)], _ more: String = "") throws -> ChatRequest {
        let messages = turns.map { #"{"role": "\#($0.role)", "content": "\#($0.text)"}"# }.joined(separator: ",")
        return try ChatRequest(try json(#"{"model": "m", "messages": [\#(messages)]\#(more)}"#), sources: 8, partial: .degrade)
    }

    @Test("of a conversation that is longer than a generator takes, the latest turns are kept, and the system's")
    func latestTurns() throws {
        let talk = (0..<1_500).map { (role: $0.isMultiple(of: 2) ? "user" : "assistant", text: "turn \($0)") }
        let request = try request([("system", "Be brief.")] + talk + [("developer", "Be kind."), ("user", "Why?")])
        #expect(request.question == "Why?")
        #expect(request.history.count == AnswerRequest.maximumHistoryTurns)
        #expect(request.history.first?.text == "Be brief." && request.history.last?.text == "Be kind.")
        #expect(request.history.dropFirst().dropLast().map(\.text) == talk.suffix(AnswerRequest.maximumHistoryTurns - 2).map(\.text))
    }

    @Test("so they are by bytes, and nothing older comes back behind a turn that is too long")
    func latestBytes() throws {
        let half = String(repeating: "x", count: AnswerRequest.maximumHistoryBytes / 2)
        let request = try request([("user", "old"), ("assistant", half), ("user", half + "x"), ("assistant", "short"), ("user", "Why?")])
        #expect(request.history.map(\.text) == [half + "x", "short"])
        #expect(try self.request([("user", half + half + "x"), ("user", "Why?")]).history.isEmpty)
    }

    @Test("a question as long as a generator takes is taken, a longer one is refused with both sizes")
    func longest() throws {
        let longest = String(repeating: "x", count: AnswerRequest.maximumQuestionBytes)
        #expect(try request([("user", longest)]).question == longest)
        let error = #expect(throws: RequestError.self) { try request([("user", longest + "x")]) }
        #expect(error?.status.code == 400 && error?.message == "the question has 16385 bytes, the limit is 16384")
    }
}

import Model

/// `covey ask "…"`: one question, one answer with its sources.
package struct AskVerb: Sendable {
    package var question: String
    package var options: QuestionOptions
    package var json = false

    package init(question: String, options: QuestionOptions) {
        self.question = question
        self.options = options
    }

    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let turns = [ChatTurn(speaker: .user, text: question)]
        if json {
            let body = options.body(turns, isStreamed: false)
            let answer = try await client.json(.post, "/v1/chat/completions", body, timeout: .seconds(1_800))
            terminal.print(String(decoding: answer.serialized(), as: UTF8.self))
        } else {
            _ = try await AnswerStream(client: client, terminal: terminal).show(turns, options)
        }
        return 0
    }
}

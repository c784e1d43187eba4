import Foundation
import Model

/// `covey chat`: questions and answers in turn, each question seen with those before it. Ctrl-C stops an answer; at the
/// prompt it leaves, as do `exit` and the end of the input.
package struct ChatVerb: Sendable {
    package var options: QuestionOptions
    /// Turns that go along with a question. Default: 20; what is older rarely matters and costs the prompt's room.
    package var historyLimit = 20

    package init(options: QuestionOptions) { self.options = options }

    /// - Parameters:
    ///   - interrupts: Tells of Ctrl-C; the process's own in the executable.
    ///   - nextLine: The next line typed; `nil` at the end.
    package func run(
        _ client: CoveyClient, _ terminal: Terminal, interrupts: Interrupts, nextLine: @escaping @Sendable () -> String? = { readLine() }
    ) async throws(ConsoleError) -> Int32 {
        _ = try await client.json(.get, try client.store(options.collection))
        var turns: [ChatTurn] = []
        if terminal.isWatched { terminal.note("Ask about \(options.collection). Ctrl-C stops an answer, Ctrl-D leaves.") }
        while true {
            // Whoever sees the prompt may press Ctrl-C: by then it is a line that is waited for.
            let line = await interrupts.line {
                if terminal.isWatched { terminal.redraw("> ") }
                return nextLine()
            }
            guard let line else { break }
            let question = line.trimmingCharacters(in: .whitespaces)
            if question.isEmpty { continue }
            if ["exit", "quit"].contains(question) { break }
            let asked = turns.suffix(historyLimit) + [ChatTurn(speaker: .user, text: question)]
            let answer = await interrupts.interruptible { () async -> Result<String, ConsoleError> in
                do throws(ConsoleError) {
                    return .success(try await AnswerStream(client: client, terminal: terminal).show(Array(asked), options))
                } catch { return .failure(error) }
            }
            switch answer {
            // An answer that was stopped or failed is not part of the conversation.
            case .failure(let error): terminal.note(error.description)
            case .success(let text): turns += [ChatTurn(speaker: .user, text: question), ChatTurn(speaker: .assistant, text: text)]
            }
            terminal.print()
        }
        if terminal.isWatched { terminal.note("") }
        return 0
    }
}

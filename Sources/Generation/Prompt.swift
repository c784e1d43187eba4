import Model

/// What a language model is given: a conversation and the sources that had room in it.
package struct Prompt: Hashable, Sendable {
    /// System turn first, then history in alternating turns, then the sources with the question.
    package var messages: [ChatTurn]
    /// Numbers (from 1) of the sources in it, ascending.
    package var sourcesUsed: [Int]
    /// By the builder's counter, with ``PromptBuilder/messageTokens`` for each message.
    package var tokens: Int
    /// Stands in the marker before and after each source, and nowhere else.
    package var nonce: String

    /// The messages as one text, each under its speaker's name: what `--show-prompt` prints.
    package var text: String {
        messages.map { "### \($0.speaker.rawValue)\n\($0.text)" }.joined(separator: "\n\n") + "\n"
    }
}

import Model

/// A model that continues a conversation, token by token.
package protocol LanguageModel: Sendable {
    /// The model's name as answers report it.
    var name: String { get }

    /// Streams the reply to `request`. The stream ends after ``ModelEvent/finished(reason:usage:)`` or throws a
    /// ``ClusterError``; a consumer that stops reading aborts the work at the model.
    func generate(_ request: ModelRequest) -> AsyncThrowingStream<ModelEvent, any Error>
}

package struct ModelRequest: Hashable, Sendable {
    /// The conversation, system turn first, the turn to answer last.
    package var messages: [ChatTurn]
    /// Tokens the reply may have.
    package var maximumTokens: Int
    /// 0…2; at 0 the reply is the model's likeliest one.
    package var temperature: Double
    /// Time for the whole reply; `nil` leaves it to the model's own configuration.
    package var timeout: Duration?

    package init(messages: [ChatTurn], maximumTokens: Int, temperature: Double = 0, timeout: Duration? = nil) {
        self.messages = messages
        self.maximumTokens = maximumTokens
        self.temperature = temperature
        self.timeout = timeout
    }
}

package enum ModelEvent: Hashable, Sendable {
    /// The next piece of the reply: any number of characters, cut anywhere between two of them.
    case text(String)
    /// The end. `usage` is what the model's server counted, `nil` if it did not say.
    case finished(reason: AnswerSummary.Reason, usage: TokenUsage?)
}

package struct TokenUsage: Hashable, Sendable {
    package var promptTokens: Int
    package var completionTokens: Int

    package init(promptTokens: Int, completionTokens: Int) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
    }
}

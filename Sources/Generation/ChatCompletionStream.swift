import Model
import OutboundHTTP

/// Reads the events of one streamed chat completion: what each means, in order, until the reply is complete.
struct ChatCompletionStream: Sendable {
    let model: String
    /// Nothing more is to come.
    private(set) var isDone = false
    private var reason: AnswerSummary.Reason?
    private var usage: TokenUsage?
    private var events = 0

    init(model: String) { self.model = model }

    /// - Parameter data: The `data` of one event: a `chat.completion.chunk` in JSON, an error in JSON, or `[DONE]`.
    /// - Throws: `internal` for what is not a chunk; the error that the server reports.
    mutating func receive(_ data: String) throws(ClusterError) -> [ModelEvent] {
        if data == "[DONE]" { return try end() }
        events += 1
        let chunk: JSONValue
        do { chunk = try JSONValue(parsing: data.utf8) } catch {
            throw ClusterError(.internal, "language model \(model) sent a malformed stream: event \(events) is \(error.message)")
        }
        if let error = chunk["error"], error != .null { throw ModelRefusal(inStream: error, model: "language model \(model)").error }
        if let counts = chunk["usage"], let prompt = counts["prompt_tokens"]?.integer {
            usage = TokenUsage(promptTokens: Self.count(prompt), completionTokens: Self.count(counts["completion_tokens"]?.integer ?? 0))
        }
        guard let choices = chunk["choices"]?.array else {
            throw ClusterError(.internal, "language model \(model) sent a malformed stream: event \(events) has no choices")
        }
        // The last chunk has the usage and no choice; Azure's first one has only what its filter says of the prompt.
        guard let choice = choices.first else { return [] }
        switch choice["finish_reason"]?.string {
        case nil: break
        case "length": reason = .length
        case "content_filter": reason = .contentFilter
        default: reason = .stop
        }
        guard let text = choice["delta"]?["content"]?.string, !text.isEmpty else { return [] }
        return [.text(text)]
    }

    /// A number of tokens that can be added up, whatever a server says: at most 2^40, far above any.
    private static func count(_ tokens: Int64) -> Int { Int(min(max(tokens, 0), 1 << 40)) }

    /// Ends the reply.
    /// - Throws: `unavailable` if the server has not said why the reply ended: it is cut off.
    mutating func end() throws(ClusterError) -> [ModelEvent] {
        guard let reason else {
            throw ClusterError(.unavailable, "language model \(model): the stream ended after \(events) events, before the reply did")
        }
        isDone = true
        return [.finished(reason: reason, usage: usage)]
    }
}

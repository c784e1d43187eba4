import Model

/// The body of `/v1/chat/completions`: a question to a collection, with the turns before it.
package struct ChatRequest {
    /// The collection's name.
    let model: String
    package let question: String
    package let history: [ChatTurn]
    let isStreamed: Bool
    /// Whether a stream ends with a chunk of token counts.
    let includesUsage: Bool
    let retrieval: RetrievalOptions
    let answer: AnswerOptions

    package init(_ input: JSONInput, sources: Int, partial: PartialPolicy) throws {
        var fields = try JSONFields(input)
        model = try fields.required("model", try fields.string("model"))
        let messages = try fields.required("messages", try fields.array("messages"))
        var turns = try messages.enumerated().map { try Self.turn($1, at: "messages[\($0)]") }
        guard let last = turns.popLast(), last.speaker == .user else {
            throw RequestError.invalid("messages", "messages must end with a message of role user")
        }
        guard !last.text.allSatisfy(\.isWhitespace) else { throw RequestError.invalid("messages", "the question, the last message, is empty") }
        guard last.text.utf8.count <= AnswerRequest.maximumQuestionBytes else {
            throw RequestError.invalid("messages", "the question has \(last.text.utf8.count) bytes, the limit is \(AnswerRequest.maximumQuestionBytes)")
        }
        question = last.text
        history = Self.latest(turns)
        isStreamed = try fields.bool("stream") ?? false
        if var options = try fields.object("stream_options") {
            guard isStreamed else { throw RequestError.invalid("stream_options", "stream_options needs stream to be true") }
            includesUsage = try options.bool("include_usage") ?? false
            try options.accept("include_obfuscation", only: false)
            try options.finish()
        } else {
            includesUsage = false
        }
        var retrieval = RetrievalOptions(limit: sources, partial: partial)
        try retrieval.takeAll(&fields)
        self.retrieval = retrieval
        let completionTokens = try fields.integer("max_completion_tokens", in: 1...1_000_000)
        let tokens = try fields.integer("max_tokens", in: 1...1_000_000)
        if let completionTokens, let tokens, completionTokens != tokens {
            throw RequestError.invalid("max_tokens", "max_tokens \(tokens) and max_completion_tokens \(completionTokens) differ")
        }
        answer = AnswerOptions(
            maximumTokens: completionTokens ?? tokens, temperature: try fields.number("temperature", in: 0...2),
            showPrompt: retrieval.showPrompt, extractive: retrieval.extractive)
        try Self.takeRest(&fields)
        try fields.finish()
    }

    /// The system's turns, and of the others the latest, as many as a generator takes: a conversation may go on for ever, and the prompt's budget
    /// drops what is older anyway.
    private static func latest(_ turns: [ChatTurn]) -> [ChatTurn] {
        let system = turns.filter { $0.speaker == .system }
        var count = system.count
        var bytes = system.reduce(0) { $0 + $1.text.utf8.count }
        var isFull = false
        let kept = turns.reversed().filter { turn in
            if turn.speaker == .system { return true }
            count += 1
            bytes += turn.text.utf8.count
            isFull = isFull || count > AnswerRequest.maximumHistoryTurns || bytes > AnswerRequest.maximumHistoryBytes
            return !isFull
        }
        return kept.reversed()
    }

    /// Fields of OpenAI's API that are accepted as long as they change nothing, and those that are not supported.
    private static func takeRest(_ fields: inout JSONFields) throws {
        _ = try fields.string("user")  // names the client's own user; nothing depends on it
        try fields.accept("n", only: 1)
        try fields.accept("top_p", only: 1)
        try fields.accept("frequency_penalty", only: 0)
        try fields.accept("presence_penalty", only: 0)
        try fields.accept("logprobs", only: false)
        try fields.accept("store", only: false)
        try fields.accept("tools", only: [])
        try fields.accept("stop", only: [])
        try fields.accept("logit_bias", only: [:])
        try fields.accept("response_format", only: ["type": "text"])
        try fields.accept("modalities", only: ["text"])
        try fields.accept("service_tier", only: "auto", "default")
        try fields.refuse(
            "audio", "function_call", "functions", "metadata", "moderation", "parallel_tool_calls", "prediction", "prompt_cache_key",
            "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "seed", "tool_choice", "top_logprobs",
            "verbosity", "web_search_options")
    }

    private static func turn(_ input: JSONInput, at path: String) throws -> ChatTurn {
        var fields = try JSONFields(input, at: path)
        let role = try fields.required(
            "role", try fields.choice("role", of: ["system", "developer", "user", "assistant", "tool", "function"]))
        guard role != "tool", role != "function" else { throw RequestError.unsupported(fields.name("role"), "\(fields.name("role")): \(role) is not supported") }
        try fields.refuse("name", "audio", "function_call")
        try fields.accept("tool_calls", only: [])
        if role == "assistant" {
            // Clients send earlier answers back as they got them; the sources found then are not used again.
            _ = fields.take("covey")
            try fields.accept("annotations", only: [])
            try fields.refuse("refusal")
        }
        let content = try fields.required("content", fields.take("content"))
        try fields.finish()
        return ChatTurn(speaker: ChatTurn.Speaker(rawValue: role) ?? .system, text: try text(content, at: fields.name("content")))
    }

    /// A string, or a list of parts of type `text`.
    private static func text(_ content: JSONInput, at path: String) throws -> String {
        if case .string(let text) = content { return text }
        guard case .array(let parts) = content else {
            throw RequestError.invalid(path, "\(path) must be a string or a list of parts, found \(content.kind)")
        }
        return try parts.enumerated().map { offset, part in
            var fields = try JSONFields(part, at: "\(path)[\(offset)]")
            let type = try fields.required("type", try fields.string("type"))
            guard type == "text" else { throw RequestError.unsupported(fields.name("type"), "\(fields.name("type")): \(type.prefix(64)) is not supported, text is") }
            let text = try fields.required("text", try fields.string("text"))
            try fields.finish()
            return text
        }.joined(separator: "\n")
    }
}

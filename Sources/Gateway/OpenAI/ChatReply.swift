import Coordination
import Model

/// Builds the objects of an answer in OpenAI's shapes: one completion, or the chunks of a stream.
struct ChatReply: Sendable {
    let id: String
    let created: Int
    let model: String
    let sources: [Source]
    let coverage: Coverage
    private var prompt: String?

    init(id: String, created: Int, model: String, sources: [Source], coverage: Coverage) {
        self.id = id
        self.created = created
        self.model = model
        self.sources = sources
        self.coverage = coverage
    }

    mutating func keep(prompt: String) { self.prompt = prompt }

    func completion(_ text: String, _ summary: AnswerSummary) -> JSONOutput {
        [
            "id": .string(id), "object": "chat.completion", "created": .integer(created), "model": .string(model),
            "choices": [
                [
                    "index": 0,
                    "message": ["role": "assistant", "content": .string(text), "refusal": nil, "annotations": [], "covey": covey(summary)],
                    "logprobs": nil, "finish_reason": .string(summary.reason.rawValue),
                ]
            ],
            "usage": usage(summary),
        ]
    }

    /// The first chunk of a stream: who speaks.
    func opening() -> JSONOutput { chunk(delta: ["role": "assistant", "content": ""], finishReason: nil) }
    func piece(_ text: String) -> JSONOutput { chunk(delta: ["content": .string(text)], finishReason: nil) }
    /// The last chunk of the choice: why it ends, and what this server says of the answer, under `delta.covey`.
    func closing(_ summary: AnswerSummary) -> JSONOutput {
        chunk(delta: ["covey": covey(summary)], finishReason: .string(summary.reason.rawValue))
    }
    /// The chunk behind the last that `stream_options.include_usage` asks for; it has no choice.
    func usageChunk(_ summary: AnswerSummary) -> JSONOutput {
        [
            "id": .string(id), "object": "chat.completion.chunk", "created": .integer(created), "model": .string(model), "choices": [],
            "usage": usage(summary),
        ]
    }

    private func chunk(delta: JSONOutput, finishReason: JSONOutput?) -> JSONOutput {
        [
            "id": .string(id), "object": "chat.completion.chunk", "created": .integer(created), "model": .string(model),
            "choices": [["index": 0, "delta": delta, "logprobs": nil, "finish_reason": finishReason ?? .null]],
        ]
    }

    private func usage(_ summary: AnswerSummary) -> JSONOutput {
        [
            "prompt_tokens": .integer(summary.promptTokens), "completion_tokens": .integer(summary.completionTokens),
            "total_tokens": .integer(summary.promptTokens + summary.completionTokens),
        ]
    }

    private func covey(_ summary: AnswerSummary) -> JSONOutput {
        let used = Set(summary.sourcesUsed)
        var members: [(String, JSONOutput)] = [
            ("answered_by", .string(summary.model)), ("refused", .bool(summary.refused)),
            ("sources", .array(sources.enumerated().map { json($1, number: $0 + 1, isUsed: used.contains($0 + 1)) })),
            ("citations", .array(summary.citations.map(json))), ("citations_removed", .integer(summary.citationsRemoved)),
            ("coverage", coverage.json),
        ]
        if let prompt { members.append(("prompt", .string(prompt))) }
        return .object(members)
    }

    private func json(_ source: Source, number: Int, isUsed: Bool) -> JSONOutput {
        var members: [(String, JSONOutput)] = [
            ("number", .integer(number)), ("document", .string(source.document)), ("title", .string(source.title)),
            ("headings", .array(source.headings.map(JSONOutput.string))), ("start", .integer(source.start)), ("end", .integer(source.end)),
            ("score", .float(source.score)), ("in_prompt", .bool(isUsed)), ("text", .string(source.text)),
        ]
        if let place = source.place { members.append(("place", .value(place.json))) }
        return .object(members)
    }

    private func json(_ citation: Citation) -> JSONOutput {
        [
            "source": .integer(citation.source), "start": .integer(citation.start), "end": .integer(citation.end),
            "quote": .string(citation.quote),
        ]
    }
}

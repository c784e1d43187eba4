import Model

/// What a request may say under `covey`, where OpenAI's API has no words for it (`extra_body` in its Python client).
struct RetrievalOptions {
    /// Chunks given to the generator.
    var limit: Int
    var partial: PartialPolicy
    var showPrompt = false
    var extractive = false
    /// In Qdrant's form, on the chunks' payloads.
    var filter: Filter?
    var scoreThreshold: Float?
    var effort = SearchEffort()
    var explain: [PointID] = []

    init(limit: Int, partial: PartialPolicy) {
        self.limit = limit
        self.partial = partial
    }

    /// For answers: every field.
    mutating func takeAll(_ fields: inout JSONFields) throws {
        guard var covey = try fields.object("covey") else { return }
        limit = try covey.integer("limit", in: 1...50) ?? limit
        showPrompt = try covey.bool("show_prompt") ?? false
        extractive = try covey.bool("extractive") ?? false
        filter = try covey.filter()
        scoreThreshold = try covey.number("score_threshold").map { Float($0) }
        try takeSearch(&covey)
        try covey.finish()
    }

    /// For searches: what the API does not have itself.
    mutating func takeSearchOnly(_ fields: inout JSONFields) throws {
        guard var covey = try fields.object("covey") else { return }
        explain = try covey.explain()
        try takeSearch(&covey)
        try covey.finish()
    }

    private mutating func takeSearch(_ covey: inout JSONFields) throws {
        partial = try covey.partial(default: partial)
        effort.exact = try covey.bool("exact") ?? false
        effort.targetRecall = try covey.number("target_recall")
        effort.probes = try covey.integer("probes", in: 1...1_000_000)
        effort.candidates = try covey.integer("candidates", in: 1...1_000_000)
    }
}

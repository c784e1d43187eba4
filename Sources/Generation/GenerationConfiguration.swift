import Model

/// How answers are made, and how large a request may be.
package struct GenerationConfiguration: Sendable {
    /// Tokens of the whole prompt: instructions, sources, history and question. Default: 3,072, which with
    /// ``answerTokens`` fits a context of 4,096, the smallest that servers of today's models are run with.
    package var promptTokens = 3072
    /// Tokens of an answer, or fewer if the request says so; a request that allows more gets these. Default: 768, some 500 words: an answer
    /// with citations, not an essay.
    package var answerTokens = 768
    /// Share of ``promptTokens`` that earlier turns may take. Default: 0.25, so that sources keep most of the room.
    package var historyShare = 0.25
    /// Bytes of a model's answer. Default: 256 KiB, far above ``answerTokens``; only a server that ignores its token
    /// limit reaches it.
    package var answerBytes = 256 << 10
    /// Time for a language model's whole answer when the call has no nearer deadline. Default: 120 s, long enough for a
    /// small model on one core.
    package var modelTimeout: Duration = .seconds(120)
    /// Answer extractively if the language model fails before the first piece of its answer. Default: yes; the summary
    /// names the model and the reason, so it never goes unnoticed. A content filter's refusal is no failure: it is passed on.
    package var fallbackToExtractive = true
    /// Sentences an extractive answer quotes at most, 1…10. Default: 2; see `loadtest/answers` for what each costs and gains.
    package var quotedSentences = 2
    /// How probable it has to be that the best sentence answers, or an extractive answer is refused, 0…1. Default: 0.34, where
    /// some 15 % of the answerable questions are refused on the half of SQuAD that the scorer was fitted on, and nearly half of the
    /// unanswerable ones; `loadtest/answers` measures it on the other half.
    package var leastProbability = 0.34
    /// Sentences whose vectors are compared with the question's, the lexically best ones first. Default: 8, which bounds
    /// the embedder's work to a few short texts a question; 0 uses no vectors.
    package var embeddedSentences = 8

    /// Bytes of a question. Default: 16 KiB.
    package var questionBytes = AnswerRequest.maximumQuestionBytes
    /// Sources of a request. Default: 64.
    package var sources = AnswerRequest.maximumSources
    /// Bytes of all sources with their titles and headings. Default: 1 MiB.
    package var sourceBytes = AnswerRequest.maximumSourceBytes
    /// Turns of a history. Default: 200; what the prompt's budget cannot hold is dropped, oldest first.
    package var historyTurns = AnswerRequest.maximumHistoryTurns
    /// Bytes of a history. Default: 512 KiB.
    package var historyBytes = AnswerRequest.maximumHistoryBytes

    package init() {}

    /// - Throws: `invalidArgument`, naming the field, its value and the limit.
    package func validate() throws(ClusterError) {
        func require(_ holds: Bool, _ message: String) throws(ClusterError) {
            guard holds else { throw ClusterError(.invalidArgument, message) }
        }
        try require(promptTokens >= 512, "promptTokens is \(promptTokens), at least 512 are needed")
        try require(answerTokens >= 1, "answerTokens is \(answerTokens), must be positive")
        try require((0...0.9).contains(historyShare), "historyShare is \(historyShare), must be 0…0.9")
        try require(answerBytes >= 1, "answerBytes is \(answerBytes), must be positive")
        try require(modelTimeout > .zero, "modelTimeout is \(modelTimeout), must be positive")
        try require((1...10).contains(quotedSentences), "quotedSentences is \(quotedSentences), must be 1…10")
        try require((0...1).contains(leastProbability), "leastProbability is \(leastProbability), must be 0…1")
        try require((0...1000).contains(embeddedSentences), "embeddedSentences is \(embeddedSentences), must be 0…1000")
        for (field, value) in [
            ("questionBytes", questionBytes), ("sources", sources), ("sourceBytes", sourceBytes), ("historyTurns", historyTurns),
            ("historyBytes", historyBytes),
        ] { try require(value >= 1, "\(field) is \(value), must be positive") }
    }

    /// - Throws: `invalidArgument`, naming what is too large, its size and the limit.
    func check(_ request: AnswerRequest) throws(ClusterError) {
        func limit(_ what: String, _ value: Int, _ limit: Int, _ unit: String) throws(ClusterError) {
            guard value <= limit else { throw ClusterError(.invalidArgument, "\(what) \(value) \(unit), the limit is \(limit)") }
        }
        guard request.question.contains(where: { !$0.isWhitespace }) else { throw ClusterError(.invalidArgument, "question is empty") }
        try limit("question has", request.question.utf8.count, questionBytes, "bytes")
        try limit("request has", request.sources.count, sources, "sources")
        try limit("sources have", request.sources.reduce(0) { $0 + $1.byteCount }, sourceBytes, "bytes")
        try limit("history has", request.history.count, historyTurns, "turns")
        try limit("history has", request.history.reduce(0) { $0 + $1.text.utf8.count }, historyBytes, "bytes")
        if let tokens = request.options.maximumTokens, tokens < 1 {
            throw ClusterError(.invalidArgument, "maximum tokens is \(tokens), must be positive")
        }
        if let temperature = request.options.temperature, !(0...2).contains(temperature) {
            throw ClusterError(.invalidArgument, "temperature is \(temperature), must be 0…2")
        }
        for (index, source) in request.sources.enumerated()
        where source.start < 0 || source.end < source.start || source.end - source.start != source.text.utf8.count {
            throw ClusterError(
                .invalidArgument, "source \(index + 1) says bytes \(source.start)..<\(source.end), its text has \(source.text.utf8.count) bytes")
        }
    }
}

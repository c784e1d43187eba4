import Embedding
import Logging
import Model

/// Turns a question and its sources into a cited answer: by a language model, or without one from the sources' own
/// sentences.
package struct Generator: AnswerService {
    private let model: (any LanguageModel)?
    private let configuration: GenerationConfiguration
    private let builder: PromptBuilder
    private let extractive: ExtractiveAnswerer
    private let logger: Logger

    /// - Parameters:
    ///   - model: `nil` answers extractively.
    ///   - embedder: Compares sentences with the question in extractive answers; `nil` compares words only.
    ///   - countTokens: Counts as `model` does, or estimates on the high side.
    package init(
        model: (any LanguageModel)?, embedder: (any Embedder)? = nil, configuration: GenerationConfiguration = GenerationConfiguration(),
        countTokens: @escaping TokenCounter = TokenEstimate.count, logger: Logger = Logger(label: "generator")
    ) {
        self.model = model
        self.configuration = configuration
        self.logger = logger
        builder = PromptBuilder(budget: configuration.promptTokens, historyShare: configuration.historyShare, count: countTokens)
        extractive = ExtractiveAnswerer(embedder: embedder, configuration: configuration, logger: logger)
    }

    /// Without sources the answer is the refusal, and no model is asked. The stream holds at most
    /// ``GenerationConfiguration/answerBytes`` for a reader that is slower than the model.
    ///
    /// - Throws: `invalidArgument` for a request beyond the configuration's limits, the model's error as
    ///   ``LanguageModel`` documents it, `deadlineExceeded`, `cancelled`.
    package func answer(_ request: AnswerRequest, context: CallContext) -> AsyncThrowingStream<AnswerEvent, any Error> {
        AsyncThrowingStream { continuation in
            // Ends with the stream: when the consumer stops reading, `onTermination` cancels it.
            let work = Task {
                do {
                    try await answer(request, context: context) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: ClusterError(error))
                }
            }
            continuation.onTermination = { _ in work.cancel() }
        }
    }

    /// Says that the request can be answered, before there is a word.
    private static let accepted = AnswerEvent.text("")

    private func answer(_ request: AnswerRequest, context: CallContext, emit: (AnswerEvent) -> Void) async throws(ClusterError) {
        try configuration.check(request)
        if context.remaining == .zero { throw ClusterError(.deadlineExceeded, "the deadline passed before the answer began") }
        var random = SystemRandomNumberGenerator()
        guard let model, !request.options.extractive, !request.sources.isEmpty else {
            // A prompt that a model could not be given is no reason to refuse an answer that needs none.
            if request.options.showPrompt, let prompt = try? builder.build(request, using: &random) { emit(.prompt(prompt.text)) } else { emit(Self.accepted) }
            return try await answerExtractively(request, context, named: ExtractiveAnswerer.name, emit: emit)
        }
        let prompt = try builder.build(request, using: &random)
        emit(Self.accepted)
        if request.options.showPrompt { emit(.prompt(prompt.text)) }
        var hasBegun = false
        do {
            try await answer(request, prompt, with: model, context) { event in
                hasBegun = true
                emit(event)
            }
        } catch where configuration.fallbackToExtractive && !hasBegun && error.code != .cancelled && error.reason != .contentFilter && context.remaining != .zero {
            logger.warning("answering extractively: language model failed", metadata: ["request": "\(context.requestID)", "error": "\(error)"])
            try await answerExtractively(request, context, named: "\(ExtractiveAnswerer.name) (\(model.name) \(Self.trouble(error)))", emit: emit)
        }
    }

    private func answer(
        _ request: AnswerRequest, _ prompt: Prompt, with model: any LanguageModel, _ context: CallContext, emit: (AnswerEvent) -> Void
    ) async throws(ClusterError) {
        let modelRequest = ModelRequest(
            messages: prompt.messages, maximumTokens: min(request.options.maximumTokens ?? configuration.answerTokens, configuration.answerTokens),
            temperature: request.options.temperature ?? 0, timeout: min(configuration.modelTimeout, context.remaining ?? configuration.modelTimeout))
        var cut = MarkerCut(nonce: prompt.nonce)
        var filter = CitationFilter(given: prompt.sourcesUsed)
        var answer = ""
        func release(_ text: String) throws(ClusterError) {
            guard !text.isEmpty else { return }
            answer += text
            guard answer.utf8.count <= configuration.answerBytes else {
                throw ClusterError(.resourceExhausted, "language model \(model.name): the answer is longer than answerBytes, \(configuration.answerBytes)")
            }
            emit(.text(text))
        }
        func finish(_ reason: AnswerSummary.Reason, _ usage: TokenUsage?) throws(ClusterError) {
            try release(filter.receive(cut.finish()))
            try release(filter.finish())
            // What the filter took away is no word about the sources.
            let refused = reason != .contentFilter && Refusal.isRefusal(answer, cites: !filter.marks.isEmpty)
            emit(
                .finished(
                    AnswerSummary(
                        model: model.name, reason: reason, refused: refused,
                        citations: QuoteFinder.citations(for: filter.marks, in: answer, of: request.sources),
                        citationsRemoved: filter.removed, sourcesUsed: prompt.sourcesUsed,
                        promptTokens: usage?.promptTokens ?? prompt.tokens,
                        completionTokens: usage?.completionTokens ?? builder.count(answer))))
        }
        do {
            for try await event in model.generate(modelRequest) {
                switch event {
                case .text(let piece):
                    try release(filter.receive(cut.receive(piece)))
                    // Leaving the stream aborts the work at the model, which would say how much it was; so it is counted here.
                    if cut.isCut { return try finish(.stop, nil) }
                case .finished(let reason, let usage): return try finish(reason, usage)
                }
            }
        } catch {
            throw ClusterError(error)
        }
        if Task.isCancelled { throw ClusterError(CancellationError()) }
        throw ClusterError(.internal, "language model \(model.name) ended its reply without a reason")
    }

    /// Why the language model did not answer, in a word or two for who asked.
    private static func trouble(_ error: ClusterError) -> String {
        switch error.reason {
        case .rateLimit: "at its rate limit"
        case .contextLength: "took the prompt for too long"
        case .modelServer: "not set up as configured"
        case .contentFilter, .keyReused, .keyExpired, nil: "unavailable"
        }
    }

    private func answerExtractively(
        _ request: AnswerRequest, _ context: CallContext, named name: String, emit: (AnswerEvent) -> Void
    ) async throws(ClusterError) {
        let answer = try await extractive.answer(request.question, from: request.sources, requestID: context.requestID)
        emit(.text(answer.text))
        emit(
            .finished(
                AnswerSummary(
                    model: name, refused: answer.refused, citations: answer.citations, sourcesUsed: Array(1..<request.sources.count + 1))))
    }
}

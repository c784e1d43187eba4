import Logging
import Model

/// Turns a question and its sources into a cited answer: by a language model, or without one from the sources' own
/// sentences.
package struct Generator: AnswerService {
    private let model: (any LanguageModel)?
    private let configuration: GenerationConfiguration
    private let extractive: ExtractiveAnswerer

    /// - Parameter model: `nil` answers extractively.
    package init(model: (any LanguageModel)?, configuration: GenerationConfiguration = GenerationConfiguration()) {
        self.model = model
        self.configuration = configuration
        extractive = ExtractiveAnswerer(configuration: configuration)
    }

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

    private func answer(_ request: AnswerRequest, context: CallContext, emit: (AnswerEvent) -> Void) async throws {
        try configuration.check(request)
        let answer = try await extractive.answer(request.question, from: request.sources)
        emit(.text(answer.text))
        emit(
            .finished(
                AnswerSummary(
                    model: ExtractiveAnswerer.name, refused: answer.refused, citations: answer.citations,
                    sourcesUsed: Array(1..<request.sources.count + 1))))
    }
}

import Embedding
import Foundation
import Generation
import Model
import Testing

/// Writes what `loadtest/fit-answers` fits the sentence scorer on: one JSON line a question, its sentences measured and labelled.
@Suite struct EvidenceDump {
    private static let path = ProcessInfo.processInfo.environment["COVEY_EVIDENCE"]
    private static let folder = ProcessInfo.processInfo.environment["COVEY_EMBEDDER"]

    @Test("benchmark: evidence to fit on", .enabled(if: path != nil && folder != nil && Squad.isThere, "only for loadtest/fit-answers"))
    func dump() async throws {
        let embedder = try MiniLMEmbedder(directory: try #require(Self.folder), workers: 1)
        let fitted = try Squad.fittedArticles()
        var vectors: [String: [Float]] = [:]
        var output = ""
        let conditions = [
            ("right", try Squad.gold(every: 3)), ("nearest", try Squad.retrieved()), ("offTopic", try Squad.retrieved(from: ["distractors"])),
        ]
        for (condition, questions) in conditions {
            for question in questions where fitted.contains(question.article) {
                let isPresent = question.sources.contains { source in question.answers.contains { source.text.contains($0) } }
                // An answer by chance among foreign passages, or none among the nearest, would teach the wrong thing.
                guard question.isAnswerable == isPresent || condition == "offTopic" && !isPresent else { continue }
                let best = EvidenceCollector(question: question.text, sources: question.sources).collect()
                    .sorted { $0.features[..<5].reduce(0, +) > $1.features[..<5].reduce(0, +) }.prefix(8)
                guard !best.isEmpty else { continue }
                let texts = best.map { String(decoding: Array(question.sources[$0.source].text.utf8)[$0.range], as: UTF8.self) }
                let missing = ([question.text] + texts).filter { vectors[$0] == nil }
                if !missing.isEmpty { for (text, vector) in zip(missing, try await embedder.embed(missing)) { vectors[text] = vector } }
                let asked = vectors[question.text]!
                let sentences: [JSONValue] = zip(best, texts).map { evidence, text in
                    let cosine = zip(asked, vectors[text]!).reduce(0) { $0 + Double($1.0 * $1.1) }
                    let answers = question.sources[evidence.source].document == question.passage && question.answers.contains { text.contains($0) }
                    return ["features": .array((evidence.features + [cosine]).map(JSONValue.number)), "answers": .bool(answers)]
                }
                let line: JSONValue = ["condition": .string(condition), "answerable": .bool(isPresent && question.isAnswerable), "sentences": .array(sentences)]
                output += String(decoding: line.serialized(), as: UTF8.self) + "\n"
            }
        }
        let names: JSONValue = ["names": .array((Evidence.names + ["cosine"]).map(JSONValue.string))]
        try (String(decoding: names.serialized(), as: UTF8.self) + "\n" + output).write(toFile: try #require(Self.path), atomically: true, encoding: .utf8)
    }
}

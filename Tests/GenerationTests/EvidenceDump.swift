import Foundation
import Generation
import Model
import Testing

/// Writes what `loadtest/fit-answers` fits the sentence scorer on: one JSON line a question, its sentences measured and labelled.
@Suite struct EvidenceDump {
    private static let path = ProcessInfo.processInfo.environment["COVEY_EVIDENCE"]

    @Test("benchmark: evidence to fit on", .enabled(if: path != nil && Squad.isThere, "only for loadtest/fit-answers"))
    func dump() throws {
        let path = try #require(Self.path)
        var lines = [String(decoding: JSONValue.object(["names": .array(Evidence.names.map(JSONValue.string))]).serialized(), as: UTF8.self)]
        func add(_ condition: String, _ question: String, _ sources: [Source], answerable: Bool, heldOut: Bool, answers: (Source, String, Int) -> Bool) {
            let evidence = EvidenceCollector(question: question, sources: sources).collect()
            guard !evidence.isEmpty || heldOut else { return }
            var places: [Int: Int] = [:]
            let sentences: [JSONValue] = evidence.map { each in
                let source = sources[each.source]
                let text = String(decoding: Array(source.text.utf8)[each.range], as: UTF8.self)
                let place = places[each.source, default: 0]
                places[each.source] = place + 1
                return [
                    "features": .array(each.features.map(JSONValue.number)), "answers": .bool(answers(source, text, place)),
                    "text": .string(text), "context": .string(each.embeddable(in: sources)),
                ]
            }
            let line: JSONValue = [
                "condition": .string(condition), "question": .string(question), "answerable": .bool(answerable), "heldOut": .bool(heldOut),
                "sentences": .array(sentences),
            ]
            lines.append(String(decoding: line.serialized(), as: UTF8.self))
        }

        let fitted = try Squad.fittedArticles()
        let conditions = [
            ("right", try Squad.gold(every: 6)), ("nearest", try Squad.retrieved()), ("offTopic", try Squad.retrieved(from: ["distractors"]).enumerated().filter { $0.offset % 3 == 0 }.map(\.element)),
        ]
        for (condition, questions) in conditions {
            for question in questions {
                let heldOut = !fitted.contains(question.article)
                let isPresent = question.sources.contains { source in question.answers.contains { source.text.contains($0) } }
                // An answer by chance among foreign passages, or none among the nearest, would teach the wrong thing.
                guard heldOut || question.isAnswerable == isPresent || condition == "offTopic" && !isPresent else { continue }
                add(condition, question.text, question.sources, answerable: question.isAnswerable && condition != "offTopic", heldOut: heldOut) { source, text, _ in
                    source.document == question.passage && question.answers.contains { text.contains($0) }
                }
            }
        }
        for (index, question) in try DocumentationQuestion.all().enumerated() {
            if question.isHome, question.isFound {
                // A section under the question answers with its first sentences; of other pages nobody has said which do.
                for (name, asked) in [("", question), (" without heading", question.withoutItsHeading)] {
                    let section = question.sourceUnderQuestion.map { question.sources[$0] }
                    if section == nil, !name.isEmpty { continue }
                    add(question.set + name, asked.text, asked.sources, answerable: true, heldOut: question.isHeldOut) { source, _, place in
                        source.start == section?.start && source.document == section?.document && place < 2
                    }
                }
            } else if !question.isHome, question.set == "docs-mixed" || index % 4 == 0 {
                add("foreign", question.text, question.sources, answerable: false, heldOut: question.isHeldOut) { _, _, _ in false }
            }
        }
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }
}

import Foundation
import Model

/// Questions about documentation with the sources that a cluster found for them, as `loadtest/docs_sources.py` wrote them down.
struct DocumentationQuestion {
    var set: String
    var text: String
    /// Whether the collection is the one whose pages answer it, and the right page is among the sources.
    var isHome: Bool
    var isFound: Bool
    var isHeldOut: Bool
    var sources: [Source]

    /// The file's path; `nil` if `COVEY_DOCS_SOURCES` names none.
    static let path = ProcessInfo.processInfo.environment["COVEY_DOCS_SOURCES"]

    static func all() throws -> [DocumentationQuestion] {
        guard let path else { return [] }
        return try Data(contentsOf: URL(filePath: path)).split(separator: 10).map { line in
            let line = try JSONValue(parsing: line)
            let sources = (line["sources"]?.array ?? []).map { source in
                Source(
                    document: source["document"]?.string ?? "", title: source["title"]?.string ?? "",
                    headings: source["headings"]?.array?.compactMap(\.string) ?? [], text: source["text"]?.string ?? "",
                    start: Int(source["start"]?.integer ?? 0), end: Int(source["end"]?.integer ?? 0), score: Float(source["score"]?.double ?? 0))
            }
            return DocumentationQuestion(
                set: line["set"]?.string ?? "", text: line["question"]?.string ?? "", isHome: line["isHome"]?.bool == true,
                isFound: line["found"]?.bool == true, isHeldOut: line["heldOut"]?.bool == true, sources: sources)
        }
    }

    /// The place of the source that stands under the question itself, where the question is a heading of the pages.
    var sourceUnderQuestion: Int? {
        let asked = Self.letters(text)
        return sources.indices.filter { sources[$0].headings.contains { Self.letters($0) == asked } }.min { sources[$0].start < sources[$1].start }
    }

    /// The same with the question taken out of the headings, as for a question that nobody wrote down.
    var withoutItsHeading: DocumentationQuestion {
        var hidden = self
        let asked = Self.letters(text)
        for index in sources.indices { hidden.sources[index].headings.removeAll { Self.letters($0) == asked } }
        return hidden
    }

    private static func letters(_ text: String) -> String { String(text.lowercased().drop { !$0.isLetter }.filter(\.isLetter)) }
}

import Foundation
import Model

/// The question-answering set in `../shared/data/squad`, where it is there.
struct Squad {
    struct Question {
        var text: String
        var answers: [String]
        var isAnswerable: Bool
        var article: String
        var passage: String
        /// Best first. Under `gold` the annotated passage only, else the five nearest of all passages by MiniLM.
        var sources: [Source]
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../shared/data/squad").standardizedFileURL
    static let isThere = FileManager.default.fileExists(atPath: folder.appending(path: "queries.jsonl").path)

    /// The articles that the sentence scorer was fitted on; the others judge it.
    static func fittedArticles() throws -> Set<String> {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/generation/fitted-articles.txt")
        return Set(try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init))
    }

    private static func lines(_ name: String) throws -> [JSONValue] {
        try Data(contentsOf: folder.appending(path: name)).split(separator: 10).map { try JSONValue(parsing: $0) }
    }

    private static func source(_ line: JSONValue, score: Float) -> Source {
        let text = line["text"]?.string ?? ""
        let name = line["_id"]?.string ?? ""
        // An offset that is not 0 shows quotes that forget to add it.
        return Source(document: name, title: line["title"]?.string ?? "", text: text, start: 10, end: 10 + text.utf8.count, score: score)
    }

    private static func question(_ line: JSONValue, sources: [Source]) -> Question {
        let metadata = line["metadata"]
        return Question(
            text: line["text"]?.string ?? "", answers: metadata?["answers"]?.array?.compactMap(\.string) ?? [],
            isAnswerable: metadata?["answerable"]?.bool == true, article: metadata?["article"]?.string ?? "",
            passage: metadata?["passage"]?.string ?? "", sources: sources)
    }

    /// Every `step`-th question with its annotated passage.
    static func gold(every step: Int = 1) throws -> [Question] {
        let passages = Dictionary(uniqueKeysWithValues: try lines("corpus.jsonl").map { ($0["_id"]?.string ?? "", source($0, score: 1)) })
        return try lines("queries.jsonl").enumerated().filter { $0.offset.isMultiple(of: step) }.map {
            question($0.element, sources: [passages[$0.element["metadata"]?["passage"]?.string ?? ""]].compactMap(\.self))
        }
    }

    /// The 2,500 questions with precomputed vectors, with the five nearest of the passages of `sets`; without `corpus`, of
    /// passages on other subjects.
    static func retrieved(from sets: [String] = ["corpus", "distractors"]) throws -> [Question] {
        let passages = try sets.flatMap { try lines("\($0).jsonl") }
        let base = try sets.flatMap { try vectors("minilm/\($0).fvecs") }
        let questions = Dictionary(uniqueKeysWithValues: try lines("queries.jsonl").map { ($0["_id"]?.string ?? "", $0) })
        return try ["query-ids.txt": "queries.fvecs", "unanswerable-ids.txt": "unanswerable.fvecs"].sorted { $0.key < $1.key }.flatMap { ids, file in
            let names = try String(contentsOf: folder.appending(path: "minilm/\(ids)"), encoding: .utf8).split(separator: "\n").map(String.init)
            return try zip(names, vectors("minilm/\(file)")).map { name, query in
                let scores: [Float] = base.map { row in
                    var sum: Float = 0
                    for index in row.indices { sum += row[index] * query[index] }
                    return sum
                }
                let nearest = scores.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }.prefix(5)
                return question(questions[name]!, sources: nearest.map { source(passages[$0], score: scores[$0]) })
            }
        }
    }

    private static func vectors(_ name: String) throws -> [[Float]] {
        let data = try Data(contentsOf: folder.appending(path: name))
        let dimension = Int(data.prefix(4).withUnsafeBytes { $0.loadUnaligned(as: Int32.self) })
        return data.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: 4 + 4 * dimension).map { row in
                (0..<dimension).map { bytes.loadUnaligned(fromByteOffset: row + 4 + 4 * $0, as: Float.self) }
            }
        }
    }
}

/// What an answerer did on some questions.
struct AnswerRates: CustomStringConvertible {
    private var answerable = 0
    private var unanswerable = 0
    private var inQuote = 0
    private var falseRefusals = 0
    private var refusals = 0
    private var bytes = 0

    mutating func count(_ question: Squad.Question, quotes: [String]) {
        if question.isAnswerable {
            answerable += 1
            if quotes.isEmpty { falseRefusals += 1 }
            if quotes.contains(where: { quote in question.answers.contains { quote.contains($0) } }) { inQuote += 1 }
        } else {
            unanswerable += 1
            if quotes.isEmpty { refusals += 1 }
        }
        bytes += quotes.reduce(0) { $0 + $1.utf8.count }
    }

    var inQuoteRate: Double { Double(inQuote) / Double(max(1, answerable)) }
    var refusalRate: Double { Double(refusals) / Double(max(1, unanswerable)) }
    var falseRefusalRate: Double { Double(falseRefusals) / Double(max(1, answerable)) }
    private var meanBytes: Int { bytes / max(1, answerable + unanswerable - refusals - falseRefusals) }

    var description: String {
        func percent(_ value: Double) -> String { String(format: "%.1f %%", value * 100) }
        return "\(answerable) answerable: answer in quote \(percent(inQuoteRate)), refused \(percent(falseRefusalRate)); "
            + "\(unanswerable) unanswerable: refused \(percent(refusalRate)); \(meanBytes) bytes an answer"
    }
}

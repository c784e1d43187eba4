import Foundation
import Ingestion
import Model

/// Documents, queries and judgements in BEIR's layout.
///
/// `corpus.jsonl` has `_id`, `title`, `text`; `queries.jsonl` has `_id`, `text`; `qrels/*.tsv` has a header, then
/// query id, document id, grade.
struct EvaluationSet: Sendable {
    struct Query: Hashable, Sendable {
        var id: String
        var text: String
        /// Right documents and how right they are.
        var grades: [String: Int]
    }
    var documents: [IngestVerb.Item]
    /// Only those that the judgements name, in the order of the file.
    var queries: [Query]

    /// - Parameters:
    ///   - folder: Holds `queries.jsonl`, and what the other parameters do not name.
    ///   - corpora: Files like `corpus.jsonl`; relative to the working directory or to `folder`.
    ///   - documents: A folder whose files' relative paths are the ids.
    ///   - qrels: A file; without it `qrels/test.tsv`, or the only one there is.
    init(folder: String, corpora: [String], documents documentFolder: String?, qrels: String?) throws(ConsoleError) {
        func find(_ path: String) throws(ConsoleError) -> String {
            for candidate in [path, folder + "/" + path] where FileManager.default.fileExists(atPath: candidate) { return candidate }
            throw ConsoleError("there is no \(path), neither here nor in \(folder)")
        }
        documents = []
        if let documentFolder {
            let found = DocumentFolder([try find(documentFolder)])
            if let problem = found.problems.first(where: \.isFailure) { throw ConsoleError("\(problem.path): \(problem.reason)") }
            documents = found.files.map { IngestVerb.Item($0) }
        }
        for corpus in corpora.isEmpty && documentFolder == nil ? ["corpus.jsonl"] : corpora {
            for (object, place) in try Self.lines(of: try find(corpus)) { documents.append(try Self.item(object, place)) }
        }
        guard !documents.isEmpty else { throw ConsoleError("\(folder) has no documents: name them with --corpus or --documents") }
        var names: Set<String> = []
        for document in documents where !names.insert(document.name).inserted { throw ConsoleError("document \"\(document.name)\" occurs twice") }

        let grades = try Self.judgements(qrels == nil ? Self.onlyJudgements(in: folder + "/qrels") : find(qrels!))
        queries = []
        for (object, place) in try Self.lines(of: try find("queries.jsonl")) {
            guard let id = object["_id"]?.string, let text = object["text"]?.string else { throw ConsoleError("\(place): _id and text must be strings") }
            if let grades = grades[id] { queries.append(Query(id: id, text: text, grades: grades)) }
        }
        guard !queries.isEmpty else { throw ConsoleError("none of the queries of \(folder)/queries.jsonl is in the judgements") }
    }

    /// HTML says best what is the title and what the text, and changes no character of either.
    private static func item(_ object: JSONValue, _ place: String) throws(ConsoleError) -> IngestVerb.Item {
        guard let id = object["_id"]?.string, !id.isEmpty, let text = object["text"]?.string else {
            throw ConsoleError("\(place): _id and text must be strings, _id not empty")
        }
        let title = object["title"]?.string ?? ""
        return IngestVerb.Item(name: id, fileName: id + ".html", contentType: "text/html") {
            let head = "<!DOCTYPE html><html><head><meta charset=\"utf-8\">" + (title.isEmpty ? "" : "<title>\(escaped(title))</title>")
            let paragraphs = text.split(separator: "\n\n").map { "<p>\(escaped(String($0)))</p>" }.joined(separator: "\n")
            return Array("\(head)</head><body>\n\(paragraphs)\n</body></html>\n".utf8)
        }
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }

    private static func onlyJudgements(in folder: String) throws(ConsoleError) -> String {
        let files = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasSuffix(".tsv") }.sorted()
        if files.contains("test.tsv") { return folder + "/test.tsv" }
        if files.count == 1 { return folder + "/" + files[0] }
        throw ConsoleError(files.isEmpty ? "\(folder) has no judgements: name a file with --qrels" : "choose the judgements with --qrels: \(files.joined(separator: ", "))")
    }

    private static func judgements(_ path: String) throws(ConsoleError) -> [String: [String: Int]] {
        var grades: [String: [String: Int]] = [:]
        for (index, line) in try text(of: path).split(whereSeparator: \.isNewline).enumerated() {
            let fields = line.split(separator: "\t").map { String($0) }
            if index == 0, fields.count == 3, Int(fields[2]) == nil { continue }  // the header
            guard fields.count == 3, let grade = Int(fields[2]) else { throw ConsoleError("\(path), line \(index + 1): expected query id, document id, grade") }
            if grade > 0 { grades[fields[0], default: [:]][fields[1]] = grade }
        }
        return grades
    }

    private static func lines(of path: String) throws(ConsoleError) -> [(JSONValue, String)] {
        var objects: [(JSONValue, String)] = []
        for (index, line) in try text(of: path).split(separator: "\n").enumerated() where !line.allSatisfy(\.isWhitespace) {
            do { objects.append((try JSONValue(parsing: line.utf8), "\(path), line \(index + 1)")) } catch {
                throw ConsoleError("\(path), line \(index + 1): \(error.message)")
            }
        }
        return objects
    }

    private static func text(of path: String) throws(ConsoleError) -> String {
        do { return try String(contentsOfFile: path, encoding: .utf8) } catch { throw ConsoleError("\(path) cannot be read: \(error.localizedDescription)") }
    }
}

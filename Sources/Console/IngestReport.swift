import Foundation
import Model

/// What became of each file of an ingestion, as `--report` writes it.
struct IngestReport: Sendable {
    enum Status: String, Sendable, CaseIterable {
        case added, updated, unchanged, deleted
        /// No document: another format, empty, no file, a link that leads away.
        case skipped
        case failed
    }

    struct Entry: Sendable {
        /// Where it lies; of a deleted document its name.
        var path: String
        var status: Status
        /// Why it was skipped, deleted or failed.
        var reason: String?
        /// The document's name in the collection.
        var document: String?
        /// The id of the file that it was made from.
        var fileID: String?
        /// What was done to make text of it.
        var notes: [String] = []
        var bytes: Int?
        var chunks: Int?
        /// From its reading to the cluster's answer.
        var seconds: Double?

        init(_ path: String, _ status: Status, _ reason: String? = nil, document: String? = nil) {
            self.path = path
            self.status = status
            self.reason = reason
            self.document = document
        }

        var json: JSONValue {
            var members: [String: JSONValue] = ["path": .string(path), "status": .string(status.rawValue)]
            members["reason"] = reason.map(JSONValue.string)
            members["document"] = document.map(JSONValue.string)
            members["document_id"] = fileID.map(JSONValue.string)
            if !notes.isEmpty { members["notes"] = .array(notes.map(JSONValue.string)) }
            members["bytes"] = bytes.map { .integer(Int64($0)) }
            members["chunks"] = chunks.map { .integer(Int64($0)) }
            members["seconds"] = seconds.map { .number(($0 * 1_000).rounded() / 1_000) }
            return .object(members)
        }
    }

    private(set) var entries: [Entry] = []
    private var counts: [Status: Int] = [:]
    /// Bytes of the documents that were sent.
    private(set) var bytes = 0

    mutating func add(_ entry: Entry) {
        entries.append(entry)
        counts[entry.status, default: 0] += 1
        if entry.status == .added || entry.status == .updated { bytes += entry.bytes ?? 0 }
    }

    func count(_ status: Status) -> Int { counts[status] ?? 0 }

    func json(collection: String, roots: [String], seconds: Double, error: String?, isDry: Bool) -> JSONValue {
        var counts = Status.allCases.reduce(into: [String: JSONValue]()) { $0[$1.rawValue] = .integer(Int64(count($1))) }
        counts["bytes"] = .integer(Int64(bytes))
        var members: [String: JSONValue] = [
            "collection": .string(collection), "roots": .array(roots.map(JSONValue.string)), "dry_run": .bool(isDry), "complete": .bool(error == nil),
            "seconds": .number((seconds * 1_000).rounded() / 1_000), "totals": .object(counts),
            "files": .array(entries.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }.map(\.json)),
        ]
        members["error"] = error.map(JSONValue.string)
        return .object(members)
    }

    /// Puts the report in the file's place at once, so that nobody reads half of one.
    static func write(_ report: JSONValue, to path: String) throws(ConsoleError) {
        do { try Data(report.serialized() + [0x0a]).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
            throw ConsoleError("the report cannot be written to \(path): \(error.localizedDescription)")
        }
    }
}

import Foundation
import Ingestion
import Model
import Storage
import Synchronization

/// `covey ingest PATH…`: brings files and folders into a collection. What is there already and unchanged is not sent again;
/// a file that cannot be read is reported and skipped.
package struct IngestVerb: Sendable {
    /// Files and folders.
    package var paths: [String]
    package var collection: String
    /// Shell patterns; if there are any, only files whose name or path matches one are taken.
    package var include: [String] = []
    /// Shell patterns of files to leave out.
    package var exclude: [String] = []
    /// Uploads in flight. Default: 4; the cluster chunks and embeds while the next files are on their way.
    package var concurrency = 4
    package var json = false

    package init(paths: [String], collection: String) {
        self.paths = paths
        self.collection = collection
    }

    struct Tally: Sendable {
        var added = 0
        var changed = 0
        var unchanged = 0
        var problems: [(path: String, reason: String)] = []
        var bytes = 0
    }

    /// - Returns: The exit status: 0 if every file is in the collection, 1 if some could not be brought in.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let folder = DocumentFolder(paths)
        let files = folder.files.filter { isWanted($0.name) }
        for problem in folder.problems { terminal.note("skipped \(problem.path): \(problem.reason)") }
        guard !files.isEmpty else {
            throw ConsoleError("nothing to ingest in \(paths.joined(separator: ", ")): no Markdown, HTML, text or PDF file" + (include.isEmpty ? "" : " that matches"))
        }
        let started = ContinuousClock.now
        try await client.ensureStore(collection)
        var tally = try await send(files.map(Item.init), client, terminal)
        tally.problems += folder.problems.map { ($0.path, $0.reason) }
        let seconds = started.duration(to: .now) / .seconds(1)
        report(tally, seconds, unsupported: folder.unsupportedCount, terminal)
        return tally.problems.isEmpty ? 0 : 1
    }

    /// One document to be brought in, and how to get its bytes.
    struct Item: Sendable {
        /// The document's name in the collection.
        var name: String
        var fileName: String
        var contentType: String
        var content: @Sendable () throws -> [UInt8]

        init(_ file: DocumentFolder.File) {
            name = file.name
            fileName = file.name
            contentType = DocumentFormat(name: file.name)?.contentType ?? "application/octet-stream"
            content = { Array(try Data(contentsOf: URL(fileURLWithPath: file.path), options: .mappedIfSafe)) }
        }

        init(name: String, fileName: String, contentType: String, content: @escaping @Sendable () -> [UInt8]) {
            self.name = name
            self.fileName = fileName
            self.contentType = contentType
            self.content = content
        }
    }

    /// Sends what the collection does not hold yet.
    ///
    /// - Throws: if the cluster cannot be reached or refuses the caller; a document that it refuses is a problem in the tally.
    func send(_ items: [Item], _ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Tally {
        let known = Dictionary(try await client.documents(of: collection).map { ($0.name, $0.sha256) }) { _, last in last }
        let tally = Mutex(Tally())
        let progress = ProgressLine(total: items.count, unit: "documents", terminal: terminal)
        let collection = collection
        defer { progress.finish() }
        try await forEachConcurrently(items, width: concurrency) { (item) throws(ConsoleError) in
            defer { progress.advance() }
            func problem(_ reason: String) {
                progress.note("skipped \(item.name): \(reason)")
                tally.withLock { $0.problems.append((item.name, reason)) }
            }
            let content: [UInt8]
            do { content = try item.content() } catch { return problem("cannot be read: \(error.localizedDescription)") }
            let digest = hex(sha256(content))
            if known[item.name] == digest { return tally.withLock { $0.unchanged += 1 } }
            do throws(ConsoleError) {
                try await client.addDocument(
                    item.name, fileName: item.fileName, content: content, sha256: digest, contentType: item.contentType, to: collection)
                tally.withLock { tally in
                    tally.bytes += content.count
                    if known[item.name] == nil { tally.added += 1 } else { tally.changed += 1 }
                }
            } catch {
                // What is wrong with one document is its own; anything else would go wrong with all of them.
                guard let status = error.status, [400, 413, 415, 422].contains(status) || status >= 500 else { throw error }
                problem(error.description)
            }
        }
        return tally.withLock { $0 }
    }

    private func isWanted(_ name: String) -> Bool {
        func matches(_ pattern: String) -> Bool {
            let file = name.split(separator: "/").last.map(String.init) ?? name
            return unsafe fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, file, 0) == 0
        }
        return (include.isEmpty || include.contains(where: matches)) && !exclude.contains(where: matches)
    }

    private func report(_ tally: Tally, _ seconds: Double, unsupported: Int, _ terminal: Terminal) {
        let sent = tally.added + tally.changed
        let perSecond = seconds > 0 ? (Double(sent) / seconds * 10).rounded() / 10 : 0
        if json {
            let result: JSONValue = [
                "collection": .string(collection), "added": .integer(Int64(tally.added)), "changed": .integer(Int64(tally.changed)),
                "unchanged": .integer(Int64(tally.unchanged)), "unsupported": .integer(Int64(unsupported)),
                "bytes": .integer(Int64(tally.bytes)), "seconds": .number((seconds * 1_000).rounded() / 1_000), "documents_per_s": .number(perSecond),
                "failed": .array(tally.problems.map { ["path": .string($0.path), "reason": .string($0.reason)] }),
            ]
            return terminal.print(String(decoding: result.serialized(), as: UTF8.self))
        }
        var line = "\(collection): \(tally.added) added, \(tally.changed) changed, \(tally.unchanged) unchanged"
        if !tally.problems.isEmpty { line += ", \(tally.problems.count) skipped" }
        if unsupported > 0 { line += ", \(unsupported) files of other formats" }
        if sent > 0 { line += "; \(perSecond) documents/s" }
        terminal.print(line)
    }
}

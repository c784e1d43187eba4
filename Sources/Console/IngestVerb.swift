import Foundation
import Ingestion
import Model
import Storage
import Synchronization

/// `covey ingest PATH…`: brings files and folders into a collection. What is there already and unchanged is not sent again, so an
/// ingestion that was interrupted goes on where it stopped; a file that cannot be read is reported and skipped.
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
    /// Follow links that lead out of a folder.
    package var followsLinks = false
    /// Delete documents of the folders whose files are gone.
    package var sync = false
    /// Say what would be done, and do nothing.
    package var isDry = false
    /// Delete even if it is more than half.
    package var force = false
    /// What the folder is called in the collection; without it its host and real path.
    package var rootName: String?
    /// Where to write what became of each file.
    package var report: String?
    /// A larger file is not read. Default: 63 MiB, the gateway's limit for a form of 64.
    package var maximumFileBytes = 63 << 20

    package init(paths: [String], collection: String) {
        self.paths = paths
        self.collection = collection
    }

    /// - Returns: The exit status: 0 if every document is in the collection, 1 if some could not be brought in.
    package func run(_ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> Int32 {
        let started = ContinuousClock.now
        let folder = DocumentFolder(paths, followsLinks: followsLinks)
        var plan = SyncPlan(roots: folder.roots, name: rootName)
        let record = Mutex(IngestReport())
        var failure: ConsoleError?
        do throws(ConsoleError) { try await ingest(folder, &plan, into: record, client, terminal) } catch { failure = error }
        let seconds = started.duration(to: .now) / .seconds(1)
        let result = record.withLock { $0 }
        if let report {
            try IngestReport.write(
                result.json(collection: collection, roots: plan.identities, seconds: seconds, error: failure?.description, isDry: isDry), to: report)
        }
        if let failure { throw failure }
        show(result, seconds, unsupported: folder.unsupported.count, terminal)
        return result.count(.failed) == 0 ? 0 : 1
    }

    /// The same; Ctrl-C ends it after the report was written.
    package func run(_ client: CoveyClient, _ terminal: Terminal, interrupts: Interrupts) async throws(ConsoleError) -> Int32 {
        try await interrupts.interruptible { () async -> Result<Int32, ConsoleError> in
            do throws(ConsoleError) { return .success(try await run(client, terminal)) } catch { return .failure(error) }
        }.get()
    }

    private func ingest(
        _ folder: DocumentFolder, _ plan: inout SyncPlan, into record: borrowing Mutex<IngestReport>, _ client: CoveyClient, _ terminal: Terminal
    ) async throws(ConsoleError) {
        guard rootName == nil || folder.roots.count == 1 else { throw ConsoleError("--root names one folder, \(folder.roots.count) were given") }
        guard !sync || !folder.roots.isEmpty else { throw ConsoleError("--sync compares folders, and none was given that can be read") }
        for problem in folder.problems {
            terminal.note("\(problem.isFailure ? "failed" : "skipped") \(problem.path): \(problem.reason)")
            record.withLock { $0.add(.init(problem.path, problem.isFailure ? .failed : .skipped, problem.reason)) }
        }
        for path in folder.unsupported { record.withLock { $0.add(.init(path, .skipped, "no supported format")) } }
        let files = folder.files.filter { isWanted($0.name) }
        guard !files.isEmpty || sync else {
            throw ConsoleError(
                "nothing to ingest in \(paths.joined(separator: ", ")): no file of a supported format (\(DocumentFormat.names))"
                    + (include.isEmpty && exclude.isEmpty ? "" : " that the patterns admit"))
        }
        if !isDry { try await client.ensureStore(collection) }
        var known: [RemoteDocument] = []
        do throws(ConsoleError) { known = try await client.documents(of: collection) } catch where isDry && error.status == 404 {}
        if sync {
            plan.compare(known, with: folder.roots)
            if let objection = plan.objection, !force {
                for document in plan.deletions where isDry { terminal.note("would delete \(document.name)") }
                throw ConsoleError(objection)
            }
        }
        let identities = plan.identities
        try await send(
            files.map { Item($0, root: $0.root.map { identities[$0] }, maximumBytes: maximumFileBytes) }, known: known, into: record, client, terminal)
        guard sync else { return }
        let emptied = emptied(record)
        let hollow = known.filter { document in emptied.contains(document.name) && document.root.map(identities.contains) == true }
        try await delete(plan.deletions.map { ($0, "it is not in the folder any more") } + hollow.map { ($0, Self.empty) }, into: record, client, terminal)
    }

    /// Files that have no content any more: what was read of them before is as gone as that of a deleted file.
    private func emptied(_ record: borrowing Mutex<IngestReport>) -> Set<String> {
        record.withLock { Set($0.entries.filter { $0.status == .skipped && $0.reason == Self.empty }.compactMap(\.document)) }
    }

    private static let empty = "the file is empty"

    private func delete(
        _ deletions: [(RemoteDocument, String)], into record: borrowing Mutex<IngestReport>, _ client: CoveyClient, _ terminal: Terminal
    ) async throws(ConsoleError) {
        for (document, reason) in deletions {
            var entry = IngestReport.Entry(document.name, .deleted, reason, document: document.name)
            (entry.fileID, entry.chunks, entry.bytes) = (document.fileID, document.chunks, document.bytes)
            if isDry { terminal.note("would delete \(document.name)") } else if !(try await client.deleteDocument(document, from: collection)) { continue }
            record.withLock { $0.add(entry) }
        }
    }

    private func isWanted(_ name: String) -> Bool {
        func matches(_ pattern: String) -> Bool {
            let file = name.split(separator: "/").last.map(String.init) ?? name
            return unsafe fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, file, 0) == 0
        }
        return (include.isEmpty || include.contains(where: matches)) && !exclude.contains(where: matches)
    }

    private func show(_ result: IngestReport, _ seconds: Double, unsupported: Int, _ terminal: Terminal) {
        let sent = result.count(.added) + result.count(.updated)
        let perSecond = seconds > 0 ? (Double(sent) / seconds * 10).rounded() / 10 : 0
        let skipped = result.count(.skipped) - unsupported
        if json {
            func list(_ status: IngestReport.Status) -> JSONValue {
                .array(result.entries.filter { $0.status == status }.map { ["path": .string($0.path), "reason": .string($0.reason ?? "")] })
            }
            let summary: JSONValue = [
                "collection": .string(collection), "dry_run": .bool(isDry), "added": .integer(Int64(result.count(.added))), "changed": .integer(Int64(result.count(.updated))),
                "unchanged": .integer(Int64(result.count(.unchanged))), "deleted": .integer(Int64(result.count(.deleted))), "unsupported": .integer(Int64(unsupported)),
                "bytes": .integer(Int64(result.bytes)), "seconds": .number((seconds * 1_000).rounded() / 1_000), "documents_per_s": .number(perSecond),
                "skipped": list(.skipped), "failed": list(.failed),
            ]
            return terminal.print(String(decoding: summary.serialized(), as: UTF8.self))
        }
        var line = "\(collection): \(isDry ? "would be " : "")\(result.count(.added)) added, \(result.count(.updated)) changed, \(result.count(.unchanged)) unchanged"
        if sync { line += ", \(result.count(.deleted)) deleted" }
        if result.count(.failed) > 0 { line += ", \(result.count(.failed)) failed" }
        if skipped > 0 { line += ", \(skipped) skipped" }
        if unsupported > 0 { line += ", \(unsupported) files of other formats" }
        if sent > 0, !isDry { line += "; \(perSecond) documents/s" }
        terminal.print(line)
    }
}

// MARK: - Sending

extension IngestVerb {
    /// One document to be brought in, and how to get its bytes.
    struct Item: Sendable {
        /// Where it lies, for people.
        var path: String
        /// The document's name in the collection.
        var name: String
        var fileName: String
        var contentType: String
        /// The identity of the folder that it is from.
        var root: String?
        var content: @Sendable () throws(DocumentFolder.ReadFailure) -> [UInt8]

        init(_ file: DocumentFolder.File, root: String? = nil, maximumBytes: Int = .max) {
            path = file.path
            name = file.name
            fileName = file.name
            contentType = DocumentFormat(name: file.name)?.contentType ?? "application/octet-stream"
            self.root = root
            content = { () throws(DocumentFolder.ReadFailure) in try file.read(maximumBytes: maximumBytes) }
        }

        init(name: String, fileName: String, contentType: String, content: @escaping @Sendable () -> [UInt8]) {
            path = name
            self.name = name
            self.fileName = fileName
            self.contentType = contentType
            self.content = content
        }
    }

    /// Sends what the collection does not hold yet.
    ///
    /// - Throws: if the cluster cannot be reached or refuses the caller; a document that it refuses has failed in the report.
    func send(_ items: [Item], _ client: CoveyClient, _ terminal: Terminal) async throws(ConsoleError) -> IngestReport {
        let record = Mutex(IngestReport())
        try await send(items, known: try await client.documents(of: collection), into: record, client, terminal)
        return record.withLock { $0 }
    }

    private func send(
        _ items: [Item], known documents: [RemoteDocument], into record: borrowing Mutex<IngestReport>, _ client: CoveyClient, _ terminal: Terminal
    ) async throws(ConsoleError) {
        let known = Dictionary(documents.map { ($0.name, $0) }) { _, last in last }
        let progress = ProgressLine(total: items.count, unit: "documents", terminal: terminal)
        let entries = Mutex([IngestReport.Entry]())
        defer {
            progress.finish()
            let entries = entries.withLock { $0 }
            record.withLock { for entry in entries { $0.add(entry) } }
        }
        try await forEachConcurrently(items, width: concurrency) { (item) throws(ConsoleError) in
            defer { progress.advance() }
            let started = ContinuousClock.now
            var (entry, end) = await bring(item, known: known[item.name], client)
            entry.document = item.name
            entry.seconds = started.duration(to: .now) / .seconds(1)
            if entry.status == .failed || entry.status == .skipped { progress.note("\(entry.status) \(item.path): \(entry.reason ?? "")") }
            for note in entry.notes { progress.note("\(item.path): \(note)") }
            entries.withLock { $0.append(entry) }
            if let end { throw end }
        }
    }

    /// - Returns: What became of the document, and the error if it ends the whole ingestion.
    private func bring(_ item: Item, known: RemoteDocument?, _ client: CoveyClient) async -> (IngestReport.Entry, ConsoleError?) {
        let content: [UInt8]
        do { content = try item.content() } catch { return (.init(item.path, error.isGone ? .skipped : .failed, error.reason), nil) }
        guard !content.isEmpty else { return (.init(item.path, .skipped, Self.empty), nil) }
        let digest = hex(sha256(content))
        var entry = IngestReport.Entry(item.path, known == nil ? .added : .updated)
        entry.bytes = content.count
        // With --sync a document has to say which folder it is from, or it would stay when its file goes.
        if let known, known.sha256 == digest, !sync || known.root == item.root {
            (entry.status, entry.fileID, entry.chunks, entry.notes) = (.unchanged, known.fileID, known.chunks, [])
            return (entry, nil)
        }
        if isDry { return (entry, nil) }
        do throws(ConsoleError) {
            let document = try await client.addDocument(
                item.name, fileName: item.fileName, content: content, sha256: digest, contentType: item.contentType, root: item.root, to: collection)
            (entry.fileID, entry.chunks, entry.notes) = (document.fileID, document.chunks, document.notes)
        } catch {
            (entry.status, entry.reason) = (.failed, error.description)
            // What is wrong with one document is its own; anything else would go wrong with all of them.
            if let status = error.status, [400, 413, 415, 422].contains(status) || status >= 500 { return (entry, nil) }
            if error.status == nil { entry.reason = "\(error.description) while it was sent: it may be in the collection" }
            return (entry, error)
        }
        return (entry, nil)
    }
}

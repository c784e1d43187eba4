import Foundation
import Ingestion
import Model
import Storage
import Testing

@Suite struct IngestorTests {
    @Test("points carry the chunk; the first one also what is known of the file")
    func points() async throws {
        let bytes = try fixture("guide.md")
        let prepared = try await Ingestor(embedder: WordEmbedder()).prepare(bytes, name: "docs/guide.md", attributes: ["team": "coast"], fileID: "file-7")
        #expect(prepared.title == "Running a *lighthouse*" && prepared.contentHash == hex(sha256(bytes)))
        #expect(prepared.points.count == prepared.chunks.count)
        for (point, chunk) in zip(prepared.points, prepared.chunks) {
            #expect(point.id == documentPointID(document: "docs/guide.md", chunk: chunk.index))
            #expect(Chunk(payload: point.payload) == chunk)
        }
        let file = try #require(prepared.points[0].payload[Chunk.Key.file])
        #expect(file["sha256"]?.string == prepared.contentHash && file["bytes"]?.integer == Int64(bytes.count))
        #expect(file["chunks"]?.integer == Int64(prepared.chunks.count) && file["content_type"]?.string == "text/markdown")
        #expect(file["file_id"]?.string == "file-7" && file["attributes"]?["team"]?.string == "coast")
        #expect(prepared.points.dropFirst().allSatisfy { $0.payload[Chunk.Key.file] == nil })
    }

    @Test("the same bytes give the same points")
    func idempotent() async throws {
        let ingestor = Ingestor(embedder: WordEmbedder())
        var (a, b) = (try await ingestor.prepare(try fixture("manual.html"), name: "m.html"), try await ingestor.prepare(try fixture("manual.html"), name: "m.html"))
        a.points[0].payload[Chunk.Key.file] = nil
        b.points[0].payload[Chunk.Key.file] = nil
        #expect(a.points == b.points)
    }

    @Test("a document's ids share the first 64 bits of its name's SHA-256")
    func identifiers() {
        // printf 'a.md' | sha256sum
        let expected = sha256(Array("a.md".utf8)).prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        #expect(documentPointID(document: "a.md", chunk: 3) == .uuid(high: expected, low: 3))
    }

    @Test("the format is told by name, then media type, then bytes", arguments: [
        ("a.md", nil, "x", .markdown), ("a.HTM", nil, "x", .html), ("a.txt", "text/html", "x", .plainText), ("a", "text/markdown; charset=utf-8", "x", .markdown),
        ("a", nil, "%PDF-1.7", .pdf), ("a", nil, "  <!DOCTYPE HTML><p>", .html), ("README", nil, "hello", .plainText), ("a.b/c", "application/octet-stream", "x", .plainText),
    ] as [(String, String?, String, DocumentFormat)])
    func formats(name: String, contentType: String?, bytes: String, expected: DocumentFormat) throws {
        #expect(try DocumentFormat.detect(Array(bytes.utf8), name: name, contentType: contentType) == expected)
    }

    @Test("what is not supported is named", arguments: [
        ("a.png", [0x89, 0x50, 0x4e, 0x47, 0x0d], "a PNG image"), ("a.docx", [0x50, 0x4b, 3, 4, 0], "damaged ZIP archive"), ("a", [0x50, 0x4b, 3, 4, 0], "a ZIP archive or an Office document"),
        ("a", [0x7f, 0x45, 0x4c, 0x46], "an ELF program"), ("a.bin", [1, 2, 0, 0, 9], "binary data"), ("a.txt", [1, 2, 0, 0, 9], "binary data"),
        ("a.md", [0x1f, 0x8b, 8, 0], "gzip data"),
    ] as [(String, [UInt8], String)])
    func unsupported(name: String, bytes: [UInt8], kind: String) async throws {
        let error = await #expect(throws: ClusterError.self) { _ = try await Ingestor(embedder: WordEmbedder()).prepare(bytes, name: name) }
        #expect(error?.code == .invalidArgument && error?.message.contains(kind) == true, "\(String(describing: error))")
    }

    @Test("a file without text, and one that is too large, are errors that say so")
    func limits() async throws {
        for (name, text) in [("a.md", ""), ("a.txt", " \n\t "), ("a.md", "<!-- x -->"), ("a.html", "<script>x</script>")] {
            let error = await #expect(throws: ClusterError.self) { _ = try await prepare(text, name: name) }
            #expect(error?.code == .invalidArgument, "\(name) \(text)")
        }
        var configuration = IngestionConfiguration()
        configuration.maximumFileBytes = 10
        await #expect(throws: ClusterError(.resourceExhausted, "a.txt has 11 bytes, the limit of maximumFileBytes is 10")) {
            _ = try await prepare("hello world", name: "a.txt", configuration: configuration)
        }
    }

    @Test("malformed files never crash", arguments: ["guide.md", "manual.html", "guide.md as txt"], 1...40 as ClosedRange<UInt64>)
    func malformed(name: String, seed: UInt64) async throws {
        var random = SplitMix64(seed: seed)
        var bytes = try fixture(name == "guide.md as txt" ? "guide.md" : name)
        for _ in 0..<Int.random(in: 0..<30, using: &random) { bytes[.random(in: bytes.indices, using: &random)] = .random(in: 0...255, using: &random) }
        if seed % 3 == 0 { bytes.removeLast(.random(in: 0..<bytes.count, using: &random)) }
        if seed % 5 == 0 { bytes.removeFirst(.random(in: 0..<bytes.count, using: &random)) }
        do {
            let prepared = try await Ingestor(embedder: WordEmbedder()).prepare(bytes, name: name == "guide.md as txt" ? "a.txt" : name)
            let text = Array(prepared.text.utf8)
            for chunk in prepared.chunks { #expect(Array(chunk.text.utf8) == Array(text[chunk.start..<chunk.end])) }
        } catch {
            #expect(error.code == .invalidArgument, "\(error)")
        }
    }

    @Test("bad configuration is refused by name")
    func configuration() {
        var configuration = IngestionConfiguration()
        configuration.overlapTokens = 200
        #expect(throws: ClusterError(.invalidArgument, "overlapTokens is 200, it must be 0 to 128, half of maximumTokens")) { try configuration.validate() }
        #expect(throws: Never.self) { try IngestionConfiguration().validate() }
    }

    @Test("plain text: paragraphs, underlined and numbered headings, any encoding")
    func plainText() async throws {
        let document = try await parse("The Lamp\n========\n\nOne\ntwo.\n\nOil\n---\nThree.\n\n2.1 Whale oil\n\nFour.\n\n* a\n* b\n", as: .plainText)
        #expect(document.title == "The Lamp")
        #expect(document.headings == ["1 The Lamp", "2 Oil", "2 2.1 Whale oil"])
        #expect(document.texts(of: .paragraph) == ["One\ntwo.", "Three.", "Four."])
        #expect(document.texts(of: .list) == ["* a\n* b"])
        let latin = try await DocumentReader().read(Array("caf".utf8) + [0xe9], as: .plainText)
        #expect(String(decoding: latin.text, as: UTF8.self) == "café")
        let wide = try await DocumentReader().read([0xfe, 0xff] + "café".utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }, as: .plainText)
        #expect(String(decoding: wide.text, as: UTF8.self) == "café")
    }
}

@Suite struct DocumentFolderTests {
    @Test("lists supported files by relative name in a stable order, without hidden ones, loops ended, problems reported")
    func walk() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "covey-folder-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        for folder in ["b/deep", ".hidden", "a"] { try FileManager.default.createDirectory(at: root.appending(path: folder), withIntermediateDirectories: true) }
        for file in ["z.md", "a/one.html", "b/deep/two.txt", "b/three.pdf", "b/image.png", ".hidden/no.md", ".no.md"] {
            try Data("x".utf8).write(to: root.appending(path: file))
        }
        try FileManager.default.createSymbolicLink(atPath: root.path + "/b/loop", withDestinationPath: root.path)
        try FileManager.default.createSymbolicLink(atPath: root.path + "/a/gone.md", withDestinationPath: "nowhere")
        let folder = DocumentFolder([root.path, root.path + "/z.md", root.path + "/missing", root.path + "/b/image.png"])
        #expect(folder.files.map(\.name) == ["a/one.html", "b/deep/two.txt", "b/three.pdf", "image.png", "z.md"])
        #expect(Set(folder.problems.map(\.reason)) == ["there is no such file or folder", "the link leads nowhere"])
        #expect(folder.unsupported == [root.path + "/b/image.png"])
        #expect(folder.roots[0].mayHold("b/image.png") && folder.roots[0].mayHold("z.md") && !folder.roots[0].mayHold("y.md"))
    }

    @Test("a file that changes while it is read is read again, one that goes on changing or is gone is not")
    func changes() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "covey-read-\(UUID().uuidString).md")
        defer { try? FileManager.default.removeItem(at: path) }
        try Data("one".utf8).write(to: path)
        let file = try #require(DocumentFolder([path.path]).files.first)
        var times = 0
        let content = try file.read(maximumBytes: 100) {
            times += 1
            if times == 1 { try? Data("another".utf8).write(to: path) }
        }
        #expect(times == 2 && content == Array("another".utf8))
        #expect(throws: DocumentFolder.ReadFailure(reason: "it changed twice while it was read")) {
            try file.read(maximumBytes: 100) {
                times += 1
                try? Data(String(repeating: "x", count: times).utf8).write(to: path)
            }
        }
        #expect(throws: DocumentFolder.ReadFailure(reason: "it has 4 bytes, the limit of --max-file-mib is 3")) { try file.read(maximumBytes: 3) }
        try FileManager.default.removeItem(at: path)
        #expect(throws: DocumentFolder.ReadFailure(reason: "it vanished before it could be read", isGone: true)) { try file.read(maximumBytes: 100) }
    }
}

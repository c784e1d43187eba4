import Foundation
import Ingestion
import Model
import Testing

@Suite struct ChunkerTests {
    /// What holds for every document: see each expectation.
    private func requireSound(_ prepared: PreparedDocument, of parsed: ParsedDocument, _ comment: Comment) {
        let text = Array(prepared.text.utf8)
        #expect(text == parsed.text, comment)
        var covered = [Bool](repeating: false, count: text.count)
        for (index, chunk) in prepared.chunks.enumerated() {
            #expect(chunk.index == index, comment)
            #expect(chunk.start < chunk.end && chunk.end <= text.count, comment)
            #expect(Array(chunk.text.utf8) == Array(text[chunk.start..<chunk.end]), comment)
            #expect(chunk.end - chunk.start <= IngestionConfiguration().maximumChunkBytes, comment)
            if index > 0 {
                #expect(chunk.start > prepared.chunks[index - 1].start && chunk.end > prepared.chunks[index - 1].end, comment)
            }
            for offset in chunk.start..<chunk.end { covered[offset] = true }
        }
        for block in parsed.blocks {
            let missing = block.range.first { !covered[$0] && !(text[$0] == 0x20 || (9...13).contains(text[$0])) }
            #expect(missing == nil, comment)
        }
    }

    /// Seeded Markdown with every kind of block.
    private func randomMarkdown(seed: UInt64, blocks: Int) -> String {
        var random = SplitMix64(seed: seed)
        let words = ["lamp", "Fog", "sea.", "e.g.", "**bold**", "[link](http://x.y/z)", "`code`", "ünïcödé", "灯台", "🚢", "a|b", "3.14", "Dr.", "end!", "why?", "*", "_x_", "<br>", "\\"]
        func line(_ most: Int) -> String { (0...Int.random(in: 0..<most, using: &random)).map { _ in words.randomElement(using: &random)! }.joined(separator: " ") }
        return (0..<blocks).map { _ in
            switch Int.random(in: 0..<10, using: &random) {
            case 0, 1: String(repeating: "#", count: .random(in: 1...6, using: &random)) + " " + line(6)
            case 2: "```\n" + (0..<Int.random(in: 0..<40, using: &random)).map { _ in line(8) }.joined(separator: "\n") + "\n```"
            case 3: (0..<Int.random(in: 1..<12, using: &random)).map { "\($0 + 1). " + line(60) + "\n   - " + line(4) }.joined(separator: "\n")
            case 4: "| a | b |\n|---|---|\n" + (0..<Int.random(in: 1..<30, using: &random)).map { _ in "| \(line(5)) | \(line(20)) |" }.joined(separator: "\n")
            case 5: "> [!NOTE]\n> " + line(50)
            case 6: String(repeating: "x", count: .random(in: 1..<6_000, using: &random))
            case 7: "<!-- " + line(5) + " -->"
            default: line(400)
            }
        }.joined(separator: "\n\n")
    }

    @Test("chunks are the text's own bytes, cover every block and never exceed the embedder", arguments: 1...20 as ClosedRange<UInt64>, [32, 256])
    func randomDocuments(seed: UInt64, tokens: Int) async throws {
        let source = randomMarkdown(seed: seed, blocks: 30)
        let recorder = RecordingEmbedder(base: WordEmbedder(maximumTokens: tokens))
        let prepared = try await Ingestor(embedder: recorder).prepare(Array(source.utf8), name: "random.md")
        requireSound(prepared, of: try await parse(source, as: .markdown), "seed \(seed)")
        #expect(recorder.longest <= tokens)
    }

    @Test("real files are chunked soundly", .enabled(if: FileManager.default.fileExists(atPath: "../shared/data/docs-aks/docs"), "needs ../shared/data"))
    func realFiles() async throws {
        for folder in ["docs-aks/docs", "docs-mixed/docs", "docs-mixed/plain"] {
            let files = DocumentFolder(["../shared/data/\(folder)"]).files.filter { !$0.name.hasSuffix(".pdf") }
            for file in files.enumerated().filter({ $0.offset % 7 == 0 }).map(\.element) {
                let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file.path)))
                let recorder = RecordingEmbedder(base: WordEmbedder())
                let prepared = try await Ingestor(embedder: recorder).prepare(bytes, name: file.name)
                requireSound(prepared, of: try await DocumentReader().read(bytes, as: try #require(DocumentFormat(name: file.name))), "\(file.name)")
                #expect(recorder.longest <= 256, "\(file.name)")
            }
        }
    }

    @Test("a chunk carries the headings it is under, and title and headings are embedded before its text")
    func headings() async throws {
        let body = String(repeating: "The lamp burns all night long and far. ", count: 8)
        let recorder = RecordingEmbedder(base: WordEmbedder())
        let source = "# Lamp\n\n\(body)\n\n## Oil\n\n\(body)\n\n### Whale\n\n\(body)\n\n## Wick\n\n\(body)\n"
        let prepared = try await Ingestor(embedder: recorder).prepare(Array(source.utf8), name: "a/lamp.md")
        #expect(prepared.chunks.map(\.headings) == [["Lamp"], ["Lamp", "Oil"], ["Lamp", "Oil", "Whale"], ["Lamp", "Wick"]])
        #expect(recorder.texts[2].hasPrefix("Lamp: Oil: Whale\nThe lamp burns"))
        #expect(prepared.chunks[2].text.hasPrefix("### Whale\n\nThe lamp"))
    }

    @Test("what fits stays whole: a table is not cut to fill a chunk")
    func keepsTables() async throws {
        let sentence = String(repeating: "The lamp burns all night long and far. ", count: 14)
        let table = "| a | b |\n|---|---|\n" + (1...12).map { "| row \($0) | value of it |" }.joined(separator: "\n")
        let prepared = try await prepare("# T\n\n\(sentence)\n\n\(table)\n", name: "t.md")
        #expect(prepared.chunks.contains { $0.text.contains(table) })
    }

    @Test("a table that does not fit is cut between rows, a list between items, code between lines")
    func cutsAtParts() async throws {
        let rows = (1...60).map { "| row \($0) | value of row \($0) |" }
        let table = try await prepare("| a | b |\n|---|---|\n" + rows.joined(separator: "\n"), name: "t.md")
        #expect(table.chunks.count > 1 && table.chunks.allSatisfy { $0.text.hasPrefix("|") && $0.text.hasSuffix("|") })
        let items = (1...60).map { "- item \($0) is of some length\n  and goes on" }
        let list = try await prepare(items.joined(separator: "\n"), name: "t.md")
        #expect(list.chunks.count > 1 && list.chunks.allSatisfy { $0.text.hasPrefix("- item") && $0.text.hasSuffix("goes on") })
        let code = try await prepare("```\n" + (1...90).map { "call(\($0), of, a, function)" }.joined(separator: "\n") + "\n```", name: "t.md")
        #expect(code.chunks.count > 1 && code.chunks.dropFirst().allSatisfy { $0.text.hasPrefix("call(") })
    }

    @Test("where a section is cut, the last sentence is repeated")
    func overlaps() async throws {
        let text = (1...60).map { "Sentence number \($0) speaks of lamps." }.joined(separator: " ")
        let chunks = try await prepare(text, name: "t.txt").chunks
        #expect(chunks.count > 1)
        for (a, b) in zip(chunks, chunks.dropFirst()) { #expect(b.start < a.end && a.text.hasSuffix(b.text.prefix(20) + a.text.suffix(from: a.text.range(of: b.text.prefix(20))!.upperBound))) }
        var configuration = IngestionConfiguration()
        configuration.overlapTokens = 0
        let apart = try await prepare(text, name: "t.txt", configuration: configuration).chunks
        for (a, b) in zip(apart, apart.dropFirst()) { #expect(a.end <= b.start) }
    }

    @Test("small sections share a chunk under the headings they share")
    func mergesSmallSections() async throws {
        let chunks = try await prepare("# A\n\n## B\n\nShort.\n\n## C\n\nShort too.\n", name: "t.md").chunks
        #expect(chunks.map(\.headings) == [["A"]])
        #expect(chunks[0].text == "# A\n\n## B\n\nShort.\n\n## C\n\nShort too.")
    }

    @Test("a title and headings that are too long are shortened, never the text")
    func longHeadings() async throws {
        let long = String(repeating: "heading ", count: 400)
        let recorder = RecordingEmbedder(base: WordEmbedder())
        let prepared = try await Ingestor(embedder: recorder).prepare(Array("# \(long)\n\n## \(long)\n\nThe text stays.\n".utf8), name: "t.md")
        #expect(recorder.longest <= 256)
        #expect(prepared.chunks.contains { $0.text.contains("The text stays.") })
    }

    @Test("one line of ten megabytes is cut between characters, in time that grows with its length", arguments: ["x", "é", "lamp ", "灯", "!", "[", "`", "*a", "<", "- a "])
    func giantLine(unit: String) async throws {
        func seconds(_ bytes: Int) async throws -> Double {
            var configuration = IngestionConfiguration()
            configuration.maximumChunks = 1_000_000
            let text = String(repeating: unit, count: bytes / unit.utf8.count)
            let start = ContinuousClock.now
            let prepared = try await prepare(text, name: "t.md", configuration: configuration)
            #expect(prepared.chunks.allSatisfy { !$0.text.contains("\u{fffd}") })
            let elapsed = ContinuousClock.now - start
            return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        }
        let isLarge = ProcessInfo.processInfo.environment["BENCHMARK"] != nil
        let bytes = isLarge ? 10_000_000 : 200_000
        let (small, large) = (try await seconds(bytes / 4), try await seconds(bytes))
        if isLarge { print("GIANT LINE \(unit.debugDescription) \(bytes) bytes \(large) s, a quarter of it \(small) s") }
        // Linear is 4; quadratic 16.
        #expect(large < 10 * small + 0.5)
    }

    @Test("more chunks than allowed are an error that names the limit")
    func tooManyChunks() async throws {
        var configuration = IngestionConfiguration()
        configuration.maximumChunks = 3
        await #expect(throws: ClusterError(.resourceExhausted, "the document has more than 3 chunks, the limit of maximumChunks; split the file")) {
            _ = try await prepare(String(repeating: "A sentence about lamps. ", count: 500), name: "t.txt", configuration: configuration)
        }
    }
}

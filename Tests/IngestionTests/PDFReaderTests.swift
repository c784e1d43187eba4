import Foundation
import Ingestion
import Model
import Testing

private let hasProgram = ["/usr/bin", "/usr/local/bin"].contains { FileManager.default.isExecutableFile(atPath: $0 + "/pdftotext") }

@Suite(.enabled(if: hasProgram, "needs poppler's pdftotext")) struct PDFReaderTests {
    @Test("title, headings by the size of their font, paragraphs over pages, no running heads, no cut words")
    func handbook() async throws {
        let document = try await DocumentReader().read(try fixture("handbook.pdf"), as: .pdf)
        #expect(document.title == "Running a Lighthouse")
        #expect(document.headings == ["1 Running a Lighthouse", "2 1 The lamp", "2 2 The horn", "2 3 The boat", "2 4 Closing down"])
        let text = String(decoding: document.text, as: UTF8.self)
        #expect(text.contains("every ship that navigates these waters"))
        #expect(text.contains("and each of them writes what was seen"))
        #expect(text.contains("lampctl horn --start\nlampctl horn --stop"))
        #expect(!text.contains("HANDBOOK") && !text.contains("Page 2"))
    }

    @Test("damaged files are refused or read in part, whatever byte is wrong", arguments: 1...12 as ClosedRange<UInt64>)
    func damaged(seed: UInt64) async throws {
        var random = SplitMix64(seed: seed)
        var bytes = try fixture("handbook.pdf")
        if seed % 2 == 0 { bytes.removeLast(.random(in: 1..<bytes.count, using: &random)) }
        for _ in 0..<20 { bytes[.random(in: bytes.indices, using: &random)] = .random(in: 0...255, using: &random) }
        do {
            _ = try await DocumentReader().read(bytes, as: .pdf)
        } catch {
            #expect([.invalidArgument, .resourceExhausted].contains(ClusterError(error).code), "\(error)")
        }
    }

    @Test("what is no PDF is said to be none")
    func notPDF() async throws {
        await #expect(throws: ClusterError(.invalidArgument, "not a PDF: %PDF- is missing at its start")) {
            _ = try await DocumentReader().read(Array("hello".utf8), as: .pdf)
        }
    }

    @Test("a program that is not installed is named")
    func missingProgram() async throws {
        var configuration = IngestionConfiguration()
        configuration.pdfProgram = "pdftotext-that-is-not-there"
        let reader = DocumentReader(configuration: configuration)
        let error = await #expect(throws: ClusterError.self) { _ = try await reader.read(try fixture("handbook.pdf"), as: .pdf) }
        #expect(error?.code == .failedPrecondition && error?.message.contains("pdftotext-that-is-not-there") == true)
    }

    @Test("a program that hangs is killed when its time is over")
    func hangingProgram() async throws {
        let program = FileManager.default.temporaryDirectory.appending(path: "covey-hanging-\(UUID().uuidString)")
        try Data("#!/bin/sh\nexec sleep 1000\n".utf8).write(to: program)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: program.path)
        defer { try? FileManager.default.removeItem(at: program) }
        var configuration = IngestionConfiguration()
        configuration.pdfProgram = program.path
        configuration.pdfTimeout = .milliseconds(200)
        let reader = DocumentReader(configuration: configuration)
        let error = await #expect(throws: ClusterError.self) { _ = try await reader.read(try fixture("handbook.pdf"), as: .pdf) }
        #expect(error?.code == .deadlineExceeded)
    }

    @Test("the words of a manual are those of its plain text", .enabled(if: FileManager.default.fileExists(atPath: "../shared/data/docs-mixed"), "needs ../shared/data"),
        arguments: ["debian-faq", "debian-reference"])
    func words(manual: String) async throws {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "../shared/data/docs-mixed/docs/\(manual)/\(manual).en.pdf")))
        let plain = try String(contentsOfFile: "../shared/data/docs-mixed/plain/\(manual).en.txt", encoding: .utf8)
        let document = try await DocumentReader().read(bytes, as: .pdf)
        let overlap = WordOverlap(of: String(decoding: document.text, as: UTF8.self), with: plain)
        print("EXTRACTION \(manual).pdf precision \(overlap.precision) recall \(overlap.recall)")
        #expect(overlap.recall > 0.85 && overlap.precision > 0.9)
    }
}

/// How many words two texts share, each counted as often as both have it.
struct WordOverlap {
    let precision: Double
    let recall: Double

    init(of text: String, with reference: String) {
        func counts(_ text: String) -> [Substring: Int] {
            text.lowercased().split { !$0.isLetter && !$0.isNumber }.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        let (found, wanted) = (counts(text), counts(reference))
        let shared = Double(found.reduce(0) { $0 + min($1.value, wanted[$1.key] ?? 0) })
        precision = shared / Double(max(1, found.values.reduce(0, +)))
        recall = shared / Double(max(1, wanted.values.reduce(0, +)))
    }
}

import Foundation
import Ingestion
import Model
import Testing

private func isInstalled(_ program: String) -> Bool { FileManager.default.isExecutableFile(atPath: "/usr/bin/" + program) }

extension ParsedDocument {
    fileprivate var string: String { String(decoding: text, as: UTF8.self) }
}

@Suite struct OfficeReaderTests {
    @Test("a workbook: a section a sheet, a line a row, dates and cached results as people see them")
    func workbook() async throws {
        let document = try await DocumentReader().read(try fixture("birds.xlsx"), as: .xlsx)
        #expect(document.headings == ["1 Nests"])
        #expect(document.texts(of: .table) == ["Bird | Place | First egg | Share\nBittern | reed beds | 2025-04-03 | 0.3\nAvocet |  | 2025-05-01 13:30 | TRUE"])
        #expect(document.marks == [.init(offset: 0, place: Chunk.Place(.sheet, 2))])
    }

    @Test("a presentation: a section a slide, its list, table and notes")
    func presentation() async throws {
        let document = try await DocumentReader().read(try fixture("birds.pptx"), as: .pptx)
        #expect(document.headings == ["1 Birds of the river", "1 Nests"])
        #expect(document.texts(of: .table) == ["Bird | Eggs\nDipper | 5"])
        #expect(document.texts(of: .paragraph) == ["The dipper nests behind waterfalls.", "Notes: Ask who has seen one."])
        #expect(document.marks.map(\.place) == [Chunk.Place(.slide, 1), Chunk.Place(.slide, 2)])
    }

    @Test("OpenDocument: rows end at their last cell, however far the sheet's edge is")
    func openDocument() async throws {
        let sheet = try await DocumentReader().read(try fixture("birds.ods"), as: .ods)
        #expect(sheet.headings == ["1 Waders"] && sheet.texts(of: .table) == ["Bird | Place\nSandpiper | river banks"])
        let slides = try await DocumentReader().read(try fixture("birds.odp"), as: .odp)
        #expect(slides.headings == ["1 Dusk", "1 Heaths"] && slides.texts(of: .paragraph).last == "The nightjar nests on bare ground.")
    }

    @Test("text boxes, notes on cells, shapes and SmartArt are read, and a space between two runs stays")
    func boxes() async throws {
        let workbook = try await DocumentReader().read(try fixture("boxes.xlsx"), as: .xlsx)
        #expect(workbook.blockTexts == ["Herons", "Nests | 7", "Counted from the boat.", "B1: One fell."])
        let slide = try await DocumentReader().read(try fixture("boxes.pptx"), as: .pptx)
        #expect(slide.blockTexts == ["Herons", "fish early", "A second title", "Wait\nStrike"])
        let shapes = try await DocumentReader().read(try fixture("boxes.odp"), as: .odp)
        #expect(shapes.headings == ["1 Grey herons", "1 page2"] && shapes.texts(of: .paragraph) == ["fish early", "Wait", "Strike", "The end"])
        #expect(shapes.marks.map(\.place) == [Chunk.Place(.slide, 1), Chunk.Place(.slide, 2)])
        let sheet = try await DocumentReader().read(try fixture("boxes.ods"), as: .ods)
        #expect(sheet.blockTexts == ["Herons", "Nests | 7", "Counted from the boat."])
    }

    @Test("what pandoc leaves out of a text is in a section at its end", .enabled(if: isInstalled("pandoc"), "needs pandoc"), arguments: [
        ("boxes.docx", .docx, ["Wingspan: two metres.", "Counted on Tuesday"]), ("boxes.odt", .odt, ["Wingspan: two metres.", "Lake"]),
    ] as [(String, DocumentFormat, [String])])
    func remainder(name: String, format: DocumentFormat, words: [String]) async throws {
        let document = try await DocumentReader().read(try fixture(name), as: format)
        #expect(document.title == "Herons" && document.headings.first == "1 Herons" && document.blockTexts.contains("They fish at dawn."))
        for paragraph in words { #expect(document.blockTexts.filter { $0.contains(paragraph) }.count == 1, "\(paragraph)") }
    }

    @Test("the format of an archive without a name is told by what is in it", arguments: [
        ("birds.xlsx", .xlsx), ("birds.pptx", .pptx), ("birds.ods", .ods), ("birds.odp", .odp), ("birds.epub", .epub), ("birds.xls", .xls),
    ] as [(String, DocumentFormat)])
    func detection(name: String, format: DocumentFormat) throws {
        #expect(try DocumentFormat.detect(try fixture(name), name: "upload", contentType: "application/octet-stream") == format)
    }

    @Test("a chunk of several pages names the first and the last, and comes back from its payload")
    func places() async throws {
        let prepared = try await Ingestor(embedder: WordEmbedder()).prepare(try fixture("birds.pptx"), name: "birds.pptx")
        #expect(prepared.chunks.map(\.place) == [Chunk.Place(.slide, 1, 2)])
        #expect(prepared.points[0].payload["place"] == ["slide": 1, "end": 2])
        #expect(Chunk(payload: prepared.points[0].payload) == prepared.chunks[0])
        #expect(prepared.chunks[0].place?.description == "slides 1–2")
    }

    @Test("flipped bytes and cut ends are refused or read, never worse", arguments: [
        "birds.xlsx", "boxes.xlsx", "birds.pptx", "boxes.pptx", "birds.ods", "birds.odp", "boxes.odp", "birds.eml", "birds.mbox", "birds.ipynb",
    ], 1...40 as ClosedRange<UInt64>)
    func malformed(name: String, seed: UInt64) async throws {
        var random = SplitMix64(seed: seed)
        var bytes = try fixture(name)
        for _ in 0..<Int.random(in: 1..<12, using: &random) { bytes[.random(in: bytes.indices, using: &random)] = .random(in: 0...255, using: &random) }
        if seed % 3 == 0 { bytes.removeLast(.random(in: 0..<bytes.count, using: &random)) }
        if seed % 7 == 0 { bytes.insert(contentsOf: bytes.prefix(.random(in: 0..<bytes.count, using: &random)), at: bytes.count / 2) }
        do {
            let prepared = try await Ingestor(embedder: WordEmbedder()).prepare(bytes, name: name)
            let text = Array(prepared.text.utf8)
            for chunk in prepared.chunks { #expect(Array(chunk.text.utf8) == Array(text[chunk.start..<chunk.end])) }
        } catch {
            #expect([.invalidArgument, .resourceExhausted].contains(error.code), "\(error)")
        }
    }

    @Test("pandoc's formats", .enabled(if: isInstalled("pandoc"), "needs pandoc"))
    func pandoc() async throws {
        let book = try await DocumentReader().read(try fixture("birds.epub"), as: .epub)
        #expect(book.title == "Forests" && book.headings.contains("1 Conifers") && book.string.contains("The goldcrest nests in tall conifers."))
        let tex = try await parse("\\title{Farms}\\author{A. Finch}\\begin{document}\\maketitle\\section{Search}Old \\emph{barns}. $x^2$\\end{document}", as: .latex)
        #expect(tex.title == "Farms" && tex.headings == ["1 Farms", "1 Search"] && tex.string.contains("Old barns. x2") && tex.notes.isEmpty)
        let rst = try await parse("Reeds\n=====\n\n.. note:: The coot\n\n* nests\n* here\n", as: .restructuredText)
        #expect(rst.title == "Reeds" && rst.string.contains("The coot") && rst.texts(of: .list) == ["- nests\n- here"])
    }

    @Test("without pandoc, markup is read as text and says so, and an archive says what to install")
    func missingPandoc() async throws {
        var configuration = IngestionConfiguration()
        configuration.pandocProgram = "pandoc-that-is-not-there"
        let reader = DocumentReader(configuration: configuration)
        let rst = try await reader.read(Array("Reeds\n=====\n\nThe coot.\n".utf8), as: .restructuredText)
        #expect(rst.title == "Reeds" && rst.notes.count == 1 && rst.notes[0].contains("apt-get install pandoc"))
        let error = await #expect(throws: ClusterError.self) { _ = try await reader.read(try fixture("birds.epub"), as: .epub) }
        #expect(error?.code == .failedPrecondition && error?.message.contains("apt-get install pandoc") == true)
    }

    @Test("a converter that hangs, one that fills its output and one that takes too much memory are ended", arguments: [
        ("exec sleep 1000", ClusterError.Code.deadlineExceeded), ("exec cat /dev/zero > \"$(dirname \"$0\")/full\"", .resourceExhausted),
    ])
    func bounded(script: String, code: ClusterError.Code) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "covey-converter-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let program = folder.appending(path: "pandoc")
        try Data("#!/bin/sh\n\(script)\n".utf8).write(to: program)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: program.path)
        var configuration = IngestionConfiguration()
        configuration.pandocProgram = program.path
        configuration.pandocTimeout = code == .deadlineExceeded ? .milliseconds(200) : .seconds(60)
        let reader = DocumentReader(configuration: configuration)
        let error = await #expect(throws: ClusterError.self) { _ = try await reader.read(try fixture("birds.epub"), as: .epub) }
        #expect(error?.code == code || (code == .resourceExhausted && error?.code == .invalidArgument), "\(String(describing: error))")
    }

    @Test("a caller that leaves ends its converter")
    func cancelled() async throws {
        let program = FileManager.default.temporaryDirectory.appending(path: "covey-cancelled-\(UUID().uuidString)")
        let mark = program.path + ".pid"
        try Data("#!/bin/sh\necho $$ > \(mark)\nexec sleep 1000\n".utf8).write(to: program)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: program.path)
        defer { for path in [program.path, mark] { try? FileManager.default.removeItem(atPath: path) } }
        var configuration = IngestionConfiguration()
        configuration.pandocProgram = program.path
        let reader = DocumentReader(configuration: configuration)
        let reading = Task { try await reader.read(try fixture("birds.epub"), as: .epub) }
        var process: pid_t?
        while process == nil {
            process = (try? String(contentsOfFile: mark, encoding: .utf8)).flatMap { pid_t($0.filter(\.isNumber)) }
            await Task.yield()
        }
        reading.cancel()
        await #expect(throws: CancellationError.self) { _ = try await reading.value }
        #expect(kill(process!, 0) == -1)
    }
}

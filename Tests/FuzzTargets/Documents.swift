import Ingestion
import Model

extension FuzzTarget {
    static let documents: [FuzzTarget] = [
        document("markdown", .markdown, ["---\ntitle: a\n---\n# A *b*\n\ntext [l](http://x) `c`\n\n- i\n  - j\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n<!-- c -->\n::: zone\n"]),
        document("html", .html, ["<html><head><title>T</title></head><body><main><h1>A</h1><p>b <a href=x>c</a></p><ul><li>d<li>e</ul><table><tr><td>f</table><pre>g</pre></main></body></html>"]),
        document("text", .plainText, ["A\n=\n\nOne. Two?\n\n  code\n"]),
        document(
            "pdf-words", .pdf,
            ["<page width=\"612.0\" height=\"792.0\">\n<flow>\n<block xMin=\"1\" yMin=\"2\" xMax=\"3\" yMax=\"4\">\n<line xMin=\"1\" yMin=\"2\" xMax=\"3\" yMax=\"4\">\n<word xMin=\"1\" yMin=\"2\" xMax=\"3\" yMax=\"14.5\">A&amp;b</word>\n</line>\n</block>\n</flow>\n</page>\n"]),
        document("notebook", .notebook, [##"{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "markdown", "source": ["# A\\n", "b"]}, {"cell_type": "code", "source": "x = 1", "outputs": []}]}"##]),
        document(
            "mail", .mail,
            ["From: a@b\r\nSubject: =?utf-8?Q?caf=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nA=E9\r\n--x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+Yg==\r\n--x--\r\n"]),
        document("mailbox", .mailbox, ["From a Mon Jan  1 00:00:00 2024\nSubject: a\n\nb\n>From c\n\nFrom d Mon Jan  1 00:00:00 2024\nSubject: e\n\nf\n"]),
        document("zip", .xlsx, [String(decoding: storedArchive([(Array("[Content_Types].xml".utf8), Array("<Types/>".utf8))]), as: UTF8.self)]),
        archive(
            "xlsx", .xlsx,
            [
                "xl/workbook.xml", "<workbook xmlns:r=\"r\"><sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>", "xl/_rels/workbook.xml.rels",
                "<Relationships><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>",
                "xl/worksheets/sheet1.xml", "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\"><v>2.5</v></c></row></sheetData></worksheet>",
                "xl/sharedStrings.xml", "<sst><si><t>a</t></si></sst>",
            ]),
        archive(
            "pptx", .pptx,
            [
                "ppt/presentation.xml", "<p:presentation xmlns:p=\"p\" xmlns:r=\"r\"><p:sldIdLst><p:sldId id=\"256\" r:id=\"rId1\"/></p:sldIdLst></p:presentation>", "ppt/_rels/presentation.xml.rels",
                "<Relationships><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/slide\" Target=\"slides/slide1.xml\"/></Relationships>",
                "ppt/slides/slide1.xml", "<p:sld xmlns:p=\"p\" xmlns:a=\"a\"><p:cSld><p:spTree><p:sp><p:txBody><a:p><a:r><a:t>b</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>",
            ]),
        archive(
            "odp", .odp,
            ["mimetype", "application/vnd.oasis.opendocument.presentation", "content.xml", "<office:document-content xmlns:office=\"o\" xmlns:text=\"t\"><office:body><office:presentation><text:p>a</text:p></office:presentation></office:body></office:document-content>"]),
    ]

    private static func document(_ name: String, _ format: DocumentFormat, _ seeds: [String]) -> FuzzTarget {
        FuzzTarget(name, seeds: seeds.map { Array($0.utf8) }) { bytes in
            guard let document = try? DocumentReader.structure(bytes, as: format, maximumBytes: 1 << 20) else { return }
            check(document)
        }
    }

    /// An archive whose framing and checksums are right: its members are names and contents with zeros between.
    private static func archive(_ name: String, _ format: DocumentFormat, _ members: [String]) -> FuzzTarget {
        FuzzTarget(name, seeds: [Array(members.joined(separator: "\0").utf8)]) { bytes in
            let parts = bytes.split(separator: 0, omittingEmptySubsequences: false).map(Array.init)
            let members = stride(from: 0, to: parts.count - 1, by: 2).map { (name: parts[$0], content: parts[$0 + 1]) }
            guard let document = try? DocumentReader.structure(storedArchive(members), as: format, maximumBytes: 1 << 20) else { return }
            check(document)
        }
    }
}

/// What every reader promises of what it makes.
private func check(_ document: ParsedDocument) {
    precondition(String(validating: document.text, as: UTF8.self) != nil, "the text is not UTF-8")
    var end = 0
    for block in document.blocks {
        precondition(block.range.lowerBound >= end && block.range.upperBound <= document.text.count, "block \(block.range) behind \(end) of \(document.text.count)")
        end = block.range.upperBound
        for cuts in [block.cuts, block.finerCuts] {
            precondition(zip(cuts, cuts.dropFirst()).allSatisfy(<), "cuts \(cuts)")
            precondition(cuts.allSatisfy { $0 >= block.range.lowerBound && $0 <= block.range.upperBound }, "cuts \(cuts) of \(block.range)")
        }
        _ = document.embeddableText(block.range)
    }
    end = 0
    for markup in document.markup {
        precondition(markup.lowerBound >= end && markup.upperBound <= document.text.count, "markup \(markup) behind \(end)")
        end = markup.upperBound
    }
}

/// A ZIP archive of members that are not compressed.
private func storedArchive(_ members: [(name: [UInt8], content: [UInt8])]) -> [UInt8] {
    func bytes(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    func crc32(_ bytes: [UInt8]) -> Int {
        var sum: UInt32 = 0xffff_ffff
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xedb8_8320 : sum >> 1 }
        }
        return Int(sum ^ 0xffff_ffff)
    }
    var archive: [UInt8] = []
    var directory: [UInt8] = []
    for (name, content) in members {
        let common = bytes(20, 2) + bytes(0, 8) + bytes(crc32(content), 4) + bytes(content.count, 4) + bytes(content.count, 4) + bytes(name.count, 2) + bytes(0, 2)
        directory += [0x50, 0x4b, 1, 2] + bytes(20, 2) + common + bytes(0, 10) + bytes(archive.count, 4) + name
        archive += [0x50, 0x4b, 3, 4] + common + name + content
    }
    return archive + directory + [0x50, 0x4b, 5, 6] + bytes(0, 4) + bytes(members.count, 2) + bytes(members.count, 2) + bytes(directory.count, 4) + bytes(archive.count, 4) + bytes(0, 2)
}

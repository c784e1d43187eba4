import Foundation
import Ingestion
import Model
import Testing

@Suite struct MarkdownReaderTests {
    @Test("title and description come from the front matter, quotes and marks removed")
    func frontMatter() async throws {
        let document = try await DocumentReader().read(try fixture("guide.md"), as: .markdown)
        #expect(document.title == "Running a *lighthouse*")
        #expect(document.blockTexts[0] == "Learn how to run a lighthouse without a keeper.")
        #expect(!document.blockTexts.joined().contains("ms.date"))
    }

    @Test("headings are found in both styles, and not inside code")
    func headings() async throws {
        let document = try await DocumentReader().read(try fixture("guide.md"), as: .markdown)
        #expect(document.headings == ["1 Running a lighthouse", "2 Before you start", "3 Signals", "4 Coast"])
    }

    @Test("the text is the file's own")
    func ownText() async throws {
        let bytes = try fixture("guide.md")
        #expect(try await DocumentReader().read(bytes, as: .markdown).text == bytes)
        #expect(try await DocumentReader().read([0xef, 0xbb, 0xbf] + bytes, as: .markdown).text == bytes)
    }

    @Test("lists hold their nested items and code; tables, fenced and indented code are one block each")
    func blocks() async throws {
        let document = try await DocumentReader().read(try fixture("guide.md"), as: .markdown)
        let list = try #require(document.texts(of: .list).first)
        #expect(list.hasPrefix("1. Oil the gear.") && list.hasSuffix("- Right spring") && list.contains("lampctl oil --all"))
        #expect(document.texts(of: .list).count == 1)
        #expect(document.texts(of: .table).first?.hasSuffix("| Two flashes | Danger |") == true)
        #expect(document.texts(of: .code) == ["~~~\n## still code\n~~~", "    indented code"])
    }

    @Test("link targets, marks, comments, includes and zones are not embedded")
    func markup() async throws {
        let document = try await DocumentReader().read(try fixture("guide.md"), as: .markdown)
        let text = document.embeddable.joined(separator: "\n")
        #expect(text.contains("The lamp turns once in ten seconds. It must never stop, e.g. for repairs. See the log and lampctl."))
        #expect(text.contains("Fog needs the horn as well."))
        #expect(text.contains("The end_of_file stays_whole. A red lamp burns on."))
        #expect(text.contains("One flash Safe water"))
        for hidden in ["example.com", "editors only", "INCLUDE", "zone", "NOTE", "```", "|", "**", "lamp.png", "---"] { #expect(!text.contains(hidden), "\(hidden)") }
    }

    @Test("inline marks are told from letters", arguments: [
        ("a *b* _c_ __d__ ***e***", "a b c d e"), ("2 * 3 * 4", "2 * 3 * 4"), ("snake_case_name", "snake_case_name"), ("\\*not\\*", "*not*"),
        ("``a ` b``", "a ` b"), ("[a [b] c](x(y)z)", "a [b] c"), ("[not a link] (x)", "[not a link] (x)"), ("use <name> or <b>bold</b>", "use <name> or bold"),
        ("![alt](x.png) t", "alt t"), ("[open", "[open"), ("`open", "`open"), ("a <!-- b --> c", "a c"), ("~~old~~ new", "old new"),
    ])
    func inline(source: String, expected: String) async throws {
        let document = try await parse(source, as: .markdown)
        #expect(document.embeddable == [expected])
    }

    @Test("a title is taken from the first heading if there is no front matter")
    func titleOfHeading() async throws {
        #expect(try await parse("Intro.\n\n## The `first`\n", as: .markdown).title == "The first")
        #expect(try await parse("No heading.\n", as: .markdown).title == nil)
    }

    @Test("what is never closed ends with the file", arguments: ["```\ncode", "---\ntitle: x", "<!-- x\ny", "| a |\n|---|", "> ", "- ", "#", "[", "    ", "=\n==="])
    func unclosed(source: String) async throws {
        let document = try await parse(source, as: .markdown)
        #expect(document.blocks.allSatisfy { $0.range.upperBound <= document.text.count })
    }
}

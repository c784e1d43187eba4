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

    @Test("a link definition is a label, one target and at most a title; other lines that begin so are text", arguments: [
        ("[a]: http://x.y", false), ("[a]: <x y>", false), ("[a]: x \"t u\"", false), ("[//]: # (hidden)", false), ("[a]: x 't'", false), ("[Alice]: When does it leave?", true),
        ("[WARNING]: Do not unplug the reactor.", true), ("[1]: x \"a\" and more", true), ("[a]: <x", true), ("[a]:", true), ("[a]: x \"open", true),
        ("Text\n[a]: http://x.y", true),
    ])
    func definitions(source: String, isText: Bool) async throws {
        #expect(try await parse(source, as: .markdown).blockTexts == (isText ? [source] : []))
    }

    @Test("a dialogue whose speakers stand in brackets is all text")
    func dialogue() async throws {
        let prepared = try await prepare("[Alice]: When does the train to Bern leave?\n[Bob]: It leaves at 7:42.\n", name: "chat.md")
        #expect(prepared.chunks.map(\.text) == ["[Alice]: When does the train to Bern leave?\n[Bob]: It leaves at 7:42."])
    }

    @Test("a rule at the start is no front matter, unless what follows is YAML line by line")
    func leadingRule() async throws {
        let rule = try await parse("---\n\n# Handbook\n\n31 days a year.\n\n---\n\n# Part two\n", as: .markdown)
        #expect(rule.blockTexts == ["# Handbook", "31 days a year.", "# Part two"])
        #expect(try await parse("---\nNo key\n---\nText.\n", as: .markdown).blockTexts == ["No key\n---", "Text."])
        let yaml = try await parse("---\ntitle: T\n# a comment\ntags:\n- a\ntext: >\n  folded\n\n---\nText.\n", as: .markdown)
        #expect(yaml.title == "T" && yaml.blockTexts == ["Text."])
    }

    @Test("what is behind a comment is read, and what only looks like the start of one", arguments: [
        ("<!-- lint -->  The port is 8471.", ["The port is 8471."]), ("<!-- a\nb --># Ports", ["# Ports"]), ("<!-- a --><!-- b -->", []), ("<!-- a --> <!--\n\nb-->\nc", ["c"]),
    ])
    func comments(source: String, expected: [String]) async throws {
        #expect(try await parse(source, as: .markdown).blockTexts == expected)
        #expect(try await parse("Write <!-- to begin a comment.", as: .markdown).embeddable == ["Write <!-- to begin a comment."])
    }

    @Test("code that is indented or in a pre element has no headings, comments or definitions", arguments: [
        "    # As root\n    apt install lamp", "    <!-- a page -->\n    <p>", "    [a]: b", "<pre>\n# As root\n\napt install lamp\n</pre>", "<pre><code class=\"x\"># As root</code></pre>",
    ])
    func literalCode(source: String) async throws {
        let document = try await parse("Text\n    # more\n\n\(source)\n\nEnd.", as: .markdown)
        #expect(document.headings == [] && document.blockTexts == ["Text\n    # more", source, "End."] && document.texts(of: .code) == [source])
    }

    @Test("the words behind a container's kind are text, attributes of zones and images are not", arguments: [
        ("::: tip Read this first", ["Read this first"]), (":::note[Read *this*]{#a}", ["Read this"]), (":::: warning Hot ::::", ["Hot"]), ("::: zone pivot=\"linux\"", []),
        (":::image type=\"content\" source=\"a.png\":::", []), ("::: {.callout-note}", []), (":::row:::", []), (":::", []),
    ])
    func containers(source: String, expected: [String]) async throws {
        #expect(try await parse(source, as: .markdown).embeddable == expected)
    }

    @Test("an include is left out, and the sentence that begins with one is not")
    func includes() async throws {
        for whole in ["[!INCLUDE [a](b.md)]", "[!INCLUDE[a](b.md)]", "[!INCLUDE a](b.md)"] { #expect(try await parse(whole, as: .markdown).blocks == []) }
        #expect(try await parse("[!INCLUDE[product](b.md)] burns oil.", as: .markdown).embeddable.first?.hasSuffix("burns oil.") == true)
    }

    @Test("what is never closed ends with the file", arguments: ["```\ncode", "---\ntitle: x", "<!-- x\ny", "| a |\n|---|", "> ", "- ", "#", "[", "    ", "=\n==="])
    func unclosed(source: String) async throws {
        let document = try await parse(source, as: .markdown)
        #expect(document.blocks.allSatisfy { $0.range.upperBound <= document.text.count })
    }
}

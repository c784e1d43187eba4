import Foundation
import Ingestion
import Model
import Testing

@Suite struct HTMLReaderTests {
    @Test("a page as Debian's manuals have them: text, structure, and nothing of the site around it")
    func manual() async throws {
        let document = try await DocumentReader().read(try fixture("manual.html"), as: .html)
        #expect(document.title == "Chapter 2. Keeping the lamp")
        #expect(document.headings == ["1 Chapter 2. Keeping the lamp", "2 2.1. Oil & wicks", "3 Care"])
        #expect(String(decoding: document.text, as: UTF8.self) == """
            Chapter 2. Keeping the lamp

            2.1. Oil & wicks

            Use whale oil — café brand, wrapped over lines.

            - First item with lampctl.
            Its second paragraph.
            - Second item.
              1. Inner one
              2. Inner two

            $ lampctl oil
              done   ok

            Kind | Burns for
            Whale | 9 h
            Rape seed | 5 h

            wick
              What burns.

            Care

            Trim daily.
            Or weekly.
            """)
    }

    @Test("the character set is that of the mark, the declaration, or else UTF-8 or windows-1252", arguments: [
        (Array("<p>café</p>".utf8), "café"), ([0xef, 0xbb, 0xbf] + Array("<p>café</p>".utf8), "café"),
        ([0xff, 0xfe] + "<p>café</p>".utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }, "café"),
        (Array("<p>caf".utf8) + [0xe9, 0x93] + Array("</p>".utf8), "caf\u{e9}\u{201c}"),
        (Array("<meta charset=iso-8859-1><p>".utf8) + [0xe9] + Array("</p>".utf8), "é"),
        (Array("<meta charset=\"koi8-r\"><p>".utf8) + [0xc4, 0xc1] + Array("</p>".utf8), "да"),
        (Array("<?xml version=\"1.0\" encoding=\"iso-8859-5\"?><html><p>".utf8) + [0xd4, 0xd0] + Array("</p></html>".utf8), "да"),
        (Array("<meta charset=klingon><p>café</p>".utf8), "café"),
    ] as [([UInt8], String)])
    func encoding(bytes: [UInt8], expected: String) async throws {
        #expect(String(decoding: try await DocumentReader().read(bytes, as: .html).text, as: UTF8.self) == expected)
    }

    @Test("the main part is taken if there is one, and everything if nothing else is left")
    func mainPart() async throws {
        let page = try await parse("<body><header>Site</header><div>Advert</div><main><h1>Lamp</h1><p>Burns long enough to matter.</p></main><footer>Imprint</footer></body>", as: .html)
        #expect(page.blockTexts == ["Lamp", "Burns long enough to matter."])
        let menu = try await parse("<body><nav><ul><li>One</li><li>Two</li></ul></nav></body>", as: .html)
        #expect(menu.blockTexts == ["- One\n- Two"])
    }

    @Test("an id that is a heading's word hides nothing, in the main part or without one", arguments: ["main", "div"])
    func slugs(element: String) async throws {
        let page = try await parse("""
            <\(element)><nav>gone</nav><section id="api-guide"><h1>API</h1><p>Of widgets.</p>
            <section id="pagination"><h2>Pagination</h2><p>A page has 250 widgets.</p></section></section>
            <h2 id="comments">Comments</h2><p id="share">May be long.</p><a id="navigation">Anchor</a> <dl><dt id="pager">Pager</dt><dd id="menu">turns pages</dd></dl>
            <div class="sidebar">gone</div><p class="pagination">gone</p><p role="navigation">gone</p></\(element)>
            """, as: .html)
        #expect(page.headings == ["1 API", "2 Pagination", "2 Comments"])
        #expect(page.embeddable == ["API", "Of widgets.", "Pagination", "A page has 250 widgets.", "Comments", "May be long.", "Anchor", "Pager turns pages"])
    }

    @Test("other elements are furniture by their id beside the main part, and part of the text inside it")
    func divisions() async throws {
        let text = "<div id=\"search\"><p>Searches take a query.</p></div>"
        #expect(try await parse("<p>A text that is long enough.</p>\(text)", as: .html).embeddable == ["A text that is long enough."])
        #expect(try await parse("<main><p>A text.</p>\(text)</main>", as: .html).embeddable == ["A text.", "Searches take a query."])
    }

    @Test("an aside that is a note, a topic or a footnote is part of the text, another is not", arguments: [
        ("class=\"starlight-aside starlight-aside--note\"", true, true), ("class=\"admonition warning\"", true, true), ("class=\"footnote brackets\"", true, true),
        ("class=\"topic\"", true, true), ("role=\"note\"", true, true), ("class=\"aside\"", true, false), ("", false, false), ("class=\"sidebar\"", false, false),
        ("class=\"contents topic\"", false, false),
    ])
    func asides(attributes: String, inMain: Bool, elsewhere: Bool) async throws {
        let body = "<p>A text that is long enough.</p><aside \(attributes)>Mind the lamp.</aside>"
        for (page, isKept) in [("<main>\(body)</main>", inMain), (body, elsewhere)] {
            #expect(try await parse(page, as: .html).blockTexts.contains("Mind the lamp.") == isKept, "\(page)")
        }
    }

    @Test("what a press shows is text: panels of tabs, and questions whose heading is a button")
    func folded() async throws {
        let page = try await parse("""
            <main><h2><button aria-expanded="false">When does it burn?</button></h2><div role="region" hidden>At night.</div>
            <div role="tabpanel" hidden>apt install lamp</div><p hidden>gone</p><button>gone</button></main>
            """, as: .html)
        #expect(page.blockTexts == ["When does it burn?", "At night.", "apt install lamp"])
    }

    @Test("a section's header is its heading, and pandoc's holds the abstract")
    func sectionHeaders() async throws {
        let page = try await parse("""
            <header>Site</header><header id="title-block-header"><h1>Lamps</h1><div class="abstract">Of oil.</div></header>
            <section><header><h2>Wicks</h2></header><p>Trim them.</p></section>
            """, as: .html)
        #expect(page.blockTexts == ["Lamps", "Of oil.", "Wicks", "Trim them."])
    }

    @Test("formulas in MathML are text, without what describes them to programs")
    func formulas() async throws {
        let page = try await parse("<p>So <math><semantics><mrow><mi>E</mi><mo>=</mo><mi>m</mi></mrow><annotation>E = m</annotation></semantics></math> holds.</p>", as: .html)
        #expect(page.blockTexts == ["So E=m holds."])
    }

    @Test("an item without a list does not make one of what follows")
    func orphan() async throws {
        #expect(try await parse("<li>One</li><p>Two.</p><p>Three.</p>", as: .html).blockTexts == ["- One", "Two.", "Three."])
    }

    @Test("the title loses the site's name where the first heading shows what it is")
    func title() async throws {
        #expect(try await parse("<title>Lamp &#8212; Lighthouse 3.1 documentation</title><h1>Lamp</h1><p>x", as: .html).title == "Lamp")
        #expect(try await parse("<title>Lamps</title><p>x", as: .html).title == "Lamps")
    }

    @Test("tables that hold headings do not hide them")
    func layoutTable() async throws {
        let page = try await parse("<table><tr><td><h2>Left</h2><p>One.</p></td><td><h2>Right</h2><p>Two.</p></td></tr></table>", as: .html)
        #expect(page.headings == ["2 Left", "2 Right"])
    }

    @Test("nesting without end is read without recursion", arguments: ["div", "ul><li", "table><tr><td", "b", "blockquote", "pre"])
    func deepNesting(element: String) async throws {
        let page = try await parse(String(repeating: "<\(element)>", count: 20_000) + "deep", as: .html)
        #expect(String(decoding: page.text, as: UTF8.self).contains("deep"))
    }

    @Test("the words of a manual's pages are those of its plain text", .enabled(if: FileManager.default.fileExists(atPath: "../shared/data/docs-mixed"), "needs ../shared/data"),
        arguments: ["debian-faq", "debian-reference"])
    func words(manual: String) async throws {
        let plain = try String(contentsOfFile: "../shared/data/docs-mixed/plain/\(manual).en.txt", encoding: .utf8)
        var text = ""
        for file in DocumentFolder(["../shared/data/docs-mixed/docs/\(manual)/html"]).files {
            let document = try await DocumentReader().read([UInt8](try Data(contentsOf: URL(fileURLWithPath: file.path))), as: .html)
            text += String(decoding: document.text, as: UTF8.self) + "\n"
        }
        let overlap = WordOverlap(of: text, with: plain)
        print("EXTRACTION \(manual) HTML precision \(overlap.precision) recall \(overlap.recall)")
        #expect(overlap.recall > 0.85 && overlap.precision > 0.9)
    }
}

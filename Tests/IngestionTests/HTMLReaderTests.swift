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

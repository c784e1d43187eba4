import Ingestion
import Model
import Testing

@Suite struct MailReaderTests {
    private func text(_ message: String) async throws -> String {
        String(decoding: try await parse(message.replacing("\n", with: "\r\n"), as: .mail).text, as: UTF8.self)
    }

    @Test("a message: subject, people, date, text, what is attached, what is forwarded")
    func message() async throws {
        let document = try await DocumentReader().read(try fixture("birds.eml"), as: .mail)
        #expect(document.title == "Größere Reiher: where they nest")
        #expect(document.headings == ["1 Größere Reiher: where they nest", "2 An older count"])
        let paragraphs = document.texts(of: .paragraph)
        #expect(paragraphs.contains("The grey heron nests in colonies of tall trees.\nÉcrit à la hâte."))
        #expect(paragraphs.contains("Attachments: Zählung.pdf (application/pdf)"))
    }

    @Test("a mailbox: a section a message, what was quoted for the box is as it was")
    func mailbox() async throws {
        let document = try await DocumentReader().read(try fixture("birds.mbox"), as: .mailbox)
        #expect(document.headings == ["1 First", "1 Second"])
        #expect(document.marks.map(\.place) == [Chunk.Place(.message, 1), Chunk.Place(.message, 2)])
        #expect(!String(decoding: document.text, as: UTF8.self).contains(">From"))
    }

    @Test("headers in all their encodings", arguments: [
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"), ("=?iso-8859-1?Q?Gr=FC=DFe_aus?= =?iso-8859-1?q?_Bonn?=", "Grüße aus Bonn"),
        ("plain =?utf-8?Q?caf=C3=A9?= au lait", "plain café au lait"), ("=?koi8-r?B?8NLJ18XU?=", "Привет"), ("=?utf-8?X?broken?= left", "=?utf-8?X?broken?= left"),
        ("=?utf-8?B?w?=", "=?utf-8?B?w?="), ("=?", "=?"), ("two\n lines", "two lines"),
    ])
    func headers(encoded: String, expected: String) async throws {
        #expect(try await parse("Subject: \(encoded)\n\nText.\n", as: .mail).title == expected)
    }

    @Test("a text that only points at the page gives way to the page")
    func alternatives() async throws {
        func message(_ plain: String) -> String {
            "Subject: s\nContent-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\n\(plain)\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>The page has all there is to know about the herons of this river, and of others.</p>\n--b--\n"
        }
        #expect(try await text(message("See the page.")).contains("all there is to know"))
        let withPictures = message("See the page.").replacing("Content-Type: text/html", with: "Content-Type: multipart/related; boundary=\"r\"\n\n--r\nContent-Type: text/html")
            .replacing("\n--b--", with: "\n--r--\n--b--")
        #expect(try await text(withPictures).contains("all there is to know"))
        let plain = "The text has all there is to know about the herons of this river."
        #expect(try await text(message(plain)).hasSuffix(plain))
    }

    @Test("attachments' names in pieces and in other characters")
    func names() async throws {
        let message = """
            Subject: s
            Content-Type: multipart/mixed; boundary=b

            --b
            Content-Type: application/pdf
            Content-Disposition: attachment; filename*0*=utf-8'en'Z%C3%A4hl; filename*1=ung.pdf

            x
            --b
            Content-Type: image/png; name="=?utf-8?Q?V=C3=B6gel.png?="

            x
            --b--
            """
        #expect(try await text(message).hasSuffix("Attachments: Zählung.pdf (application/pdf), Vögel.png (image/png)"))
    }

    @Test("an encrypted message says that it is, and keeps its header")
    func encrypted() async throws {
        let document = try await parse("Subject: s\nFrom: a\nContent-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--\n", as: .mail)
        #expect(document.notes == ["the message is encrypted: only its header was read"] && document.headings == ["1 s"])
    }

    @Test("parts within parts end somewhere")
    func nested() async throws {
        var message = ""
        for depth in 0..<200 { message += "Subject: \(depth)\nContent-Type: multipart/mixed; boundary=b\(depth)\n\n--b\(depth)\n" }
        #expect(try await parse(message, as: .mail).notes.contains { $0.contains("nested deeper") })
    }

    @Test("an encoding that nobody knows does not lose the text")
    func unknown() async throws {
        let document = try await parse("Subject: s\nContent-Type: text/plain; charset=x-martian\n\nHello.\n", as: .mail)
        #expect(document.texts(of: .paragraph) == ["Hello."] && document.notes == ["charset x-martian is unknown"])
    }
}

@Suite struct NotebookReaderTests {
    @Test("cells in order, code and text outputs in fences that nothing inside ends")
    func cells() async throws {
        let document = try await DocumentReader().read(try fixture("birds.ipynb"), as: .notebook)
        #expect(document.title == "Counting terns")
        #expect(document.texts(of: .code) == [
            "````python\nprint('```')\ncount_nests()\n````", "````\n```\n17 nests\n````", "```\n<Figure of nests>\n```", "```\nKeyError: 'tern'\n```",
        ])
        #expect(document.marks.map(\.place) == (1...3).map { Chunk.Place(.cell, $0) })
    }

    @Test("what a cell leaves open ends with it, and only the first may begin with front matter")
    func unclosed() async throws {
        let document = try await parse(
            ##"{"cells":[{"cell_type":"markdown","source":"<!-- open"},{"cell_type":"markdown","source":"```\nopen"},{"cell_type":"markdown","source":"---\na: b\n---\n\nGulls."},{"cell_type":"markdown","source":"# Terns"}]}"##,
            as: .notebook)
        #expect(document.headings == ["2 a: b", "1 Terns"] && document.texts(of: .code) == ["```\nopen"] && document.texts(of: .paragraph) == ["Gulls."])
        #expect(document.marks.map(\.place) == [2, 3, 4].map { Chunk.Place(.cell, $0) })
    }

    @Test("an output is its text, or what stands for it where the text only names an object")
    func outputs() async throws {
        let document = try await parse(
            #"{"cells":[{"cell_type":"code","source":"","outputs":[{"data":{"text/plain":"<IPython.core.display.HTML object>","text/html":"<p>Nine gulls.</p>"}},{"data":{"text/plain":"<IPython.core.display.Markdown object>","text/markdown":"**Ten** terns."}},{"data":{"text/plain":"  n\n0 9","text/html":"<table><tr><td>9</table>"}}]}]}"#,
            as: .notebook)
        #expect(document.embeddable == ["Nine gulls.", "Ten terns.", "n 0 9"])
    }

    @Test("notebooks of the third format")
    func third() async throws {
        let document = try await parse(
            #"{"worksheets":[{"cells":[{"cell_type":"heading","level":2,"source":"Terns"},{"cell_type":"code","input":["a = 1\n","a"],"outputs":[{"output_type":"pyout","text":["1"]}]}]}]}"#,
            as: .notebook)
        #expect(document.headings == ["2 Terns"] && document.texts(of: .code) == ["```\na = 1\na\n```", "```\n1\n```"])
    }
}

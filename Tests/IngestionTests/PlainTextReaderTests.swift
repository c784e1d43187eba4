import Ingestion
import Testing

@Suite struct PlainTextReaderTests {
    @Test("headings marked with equals signs, as AsciiDoc and wikis have them, open sections")
    func markedHeadings() async throws {
        let document = try await parse("= Lamps\nA. Keeper\n\n== Oil ==\nWhale oil.\n\n=== Wicks\n\nx = 1\n= 2\n", as: .plainText)
        #expect(document.title == "Lamps" && document.headings == ["1 Lamps", "2 Oil", "3 Wicks"])
        #expect(document.texts(of: .paragraph) == ["A. Keeper", "Whale oil.", "x = 1\n= 2"])
    }
}

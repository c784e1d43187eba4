import OutboundHTTP
import Testing

@Suite("server-sent events")
struct ServerSentEventsTests {
    private static let stream = """
        : a comment\r\ndata: first\r\n\r\nevent: done\ndata: two\ndata:  lines\nid: 7\nretry: 10\n\ndata\rdata:\r\rdata: é東👩\n\nevent: lost\n\n\ndata: {\"a\": [1]}\n\ndata: half
        """
    private static let events = [
        ServerSentEvent(name: "message", data: "first", id: ""),
        ServerSentEvent(name: "done", data: "two\n lines", id: "7"),
        ServerSentEvent(name: "message", data: "\n", id: "7"),
        ServerSentEvent(name: "message", data: "é東👩", id: "7"),
        ServerSentEvent(name: "message", data: "{\"a\": [1]}", id: "7"),
    ]

    @Test("are the same wherever the bytes are cut")
    func cut() throws {
        let bytes = Array(Self.stream.utf8)
        for first in 0...bytes.count {
            var parser = ServerSentEvents()
            let events = try parser.receive(bytes[..<first]) + parser.receive(bytes[first...])
            #expect(events == Self.events)
        }
        var parser = ServerSentEvents()
        let events = try bytes.flatMap { try parser.receive([$0]) }
        #expect(events == Self.events)
    }

    @Test("a byte order mark at the start is skipped")
    func byteOrderMark() throws {
        var parser = ServerSentEvents()
        let events = try parser.receive(Array("\u{FEFF}data: x\n\n".utf8))
        #expect(events.map(\.data) == ["x"])
    }

    @Test("a line or an event beyond the bound is an error", arguments: ["data: 12345678901234567890", "data: 1234567\ndata: 1234567\ndata: 1234567"])
    func bound(text: String) {
        #expect(throws: HTTPClientError.malformedResponse("an event of more than 20 bytes")) {
            var parser = ServerSentEvents(maximumEventBytes: 20)
            _ = try parser.receive(Array(text.utf8))
        }
    }
}

@Suite("multipart forms")
struct MultipartFormTests {
    @Test("hold fields and files between boundaries; names cannot end their header")
    func form() throws {
        var form = MultipartForm()
        form.addField("purpose", "assistants")
        form.addFile("file", fileName: "a\"\r\nb.md", contentType: "text/markdown", Array("# Title\r\n".utf8))
        let boundary = try #require(form.contentType.split(separator: "boundary=").last)
        let expected =
            "--\(boundary)\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n"
            + "--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22%0D%0Ab.md\"\r\n"
            + "Content-Type: text/markdown\r\n\r\n# Title\r\n\r\n--\(boundary)--\r\n"
        #expect(String(decoding: form.body(), as: UTF8.self) == expected)
    }
}

import Model
import Testing

@Suite struct ChunkTests {
    private func payload(_ start: Int64, _ end: Int64, text: String = "Nine bytes") -> Payload {
        ["document": "d", "text": .string(text), "chunk": 0, "start": .integer(start), "end": .integer(end)]
    }

    @Test("a chunk is read from the payload that it was written to")
    func roundTrip() {
        let chunk = Chunk(document: "d", title: "T", headings: ["A", "B"], text: "über", start: 7, end: 12, index: 3, place: .init(.page, 2))
        #expect(Chunk(payload: chunk.payload) == chunk)
        #expect(Chunk(payload: payload(.max - 10, .max))?.start == .max - 10)
    }

    @Test(
        "a payload whose range is not its text's is no chunk",
        arguments: [(Int64.min, Int64(10)), (.min, .max), (-1, 9), (10, 0), (0, 9), (0, 11), (100, 120), (.max, .min)])
    func ranges(start: Int64, end: Int64) {
        #expect(Chunk(payload: payload(start, end)) == nil)
    }
}

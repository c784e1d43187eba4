import Foundation
import Gateway
import Model
import Testing
import VectorMath

@Suite("Points out of a body that arrives in pieces") struct PointStreamTests {
    private func points(_ body: String, step: Int, limit: Int = 1 << 20) throws -> [Point] {
        var stream = PointStream(maximumPointBytes: limit)
        var points: [Point] = []
        let bytes = Array(body.utf8)
        for start in stride(from: 0, to: bytes.count, by: step) { points += try stream.receive(bytes[start..<min(start + step, bytes.count)]) }
        try stream.finish()
        return points
    }

    @Test("whatever the pieces, the points are those of the whole", arguments: [1, 2, 7, 64, 1_000, 1_000_000])
    func pieces(step: Int) throws {
        var random = SplitMix64(seed: UInt64(step))
        let expected = (0..<40).map { index in
            Point(
                id: index % 2 == 0 ? .integer(UInt64(index)) : .uuid(high: random.next(), low: random.next()),
                vector: (0..<24).map { _ in Float.random(in: -1...1, using: &random) }, payload: ["text": .string("a \"quoted\" ]}{[ \\ text"), "n": .integer(Int64(index))])
        }
        let texts = expected.map { point in
            let vector = point.vector.map { "\($0)" }.joined(separator: ", ")
            return "{\"id\": \(point.id.jsonText), \"payload\": \(String(decoding: JSONValue.object(point.payload).serialized(), as: UTF8.self)),\n \"vector\": [\(vector)]}"
        }
        #expect(try points(" {\"shard_key\": null, \"points\" : [ " + texts.joined(separator: " ,\n") + " ] }\n", step: step) == expected)
        #expect(try points("{\"points\":[" + texts.joined(separator: ",") + "],\"update_mode\":null}", step: step) == expected)
    }

    @Test("what is wrong is named", arguments: [
        ("", "unexpected end"), ("[]", "expected \"{\""), ("{}", "points is missing"), ("{\"points\":{}}", "points must be an array"), ("{\"points\":[1]}", "points[0] must be an object"),
        ("{\"points\":[{\"id\":1,\"vector\":[1]},]}", "points[1]"), ("{\"points\":[{\"id\":1,\"vector\":[1]} {\"id\":2,\"vector\":[1]}]}", "expected \",\" or \"]\""),
        ("{\"points\":[{\"id\":1,\"vector\":[1]},{\"id\":-1,\"vector\":[1]}]}", "points[1].id"), ("{\"points\":[{\"id\":1,\"vector\":[1,]}]}", "points[0], 11 bytes into the body"),
        ("{\"points\":[{\"id\":1,\"vector\":[1]}]", "unexpected end"), ("{\"points\":[]}x", "expected the end"), ("{\"points\":[],\"points\":[]}", "occurs twice"),
        ("{\"points\":[],\"shard_key\":\"a\"}", "shard_key"), ("{\"batch\":{},\"points\":[]}", "batch"), ("{\"pointz\":[]}", "unknown field pointz"), ("{\"points\":[{\"id\":1", "unexpected end"),
    ], [1, 5, 1_000])
    func wrong(text: (body: String, words: String), step: Int) {
        let error = #expect(throws: (any Error).self) { try points(text.body, step: step) }
        #expect(error.map { RequestError($0).message.contains(text.words) } == true, "\(text.body): \(String(describing: error))")
    }

    @Test("one point has a limit, all of them together have none here")
    func limit() throws {
        let point = "{\"id\":1,\"vector\":[" + String(repeating: "0.5,", count: 100) + "1]}"
        #expect(try points("{\"points\":[" + Array(repeating: point, count: 50).joined(separator: ",") + "]}", step: 300, limit: 1_000).count == 50)
        let error = #expect(throws: RequestError.self) { try points("{\"points\":[\(point)]}", step: 30, limit: 300) }
        #expect(error?.status.code == 413)
    }
}

extension PointID {
    fileprivate var jsonText: String { if case .integer(let value) = self { "\(value)" } else { "\"\(self)\"" } }
}

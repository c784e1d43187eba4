import Model
import Testing

@Suite("JSON values")
struct JSONValueTests {
    @Test("survives a round trip with its types", arguments: [
        #"{"a":1,"b":1.5,"c":"x\"\\\n\u0001é","d":[true,false,null],"e":{}}"#, "[]", "\"\"", "-9223372036854775808", "1e+300",
    ])
    func roundTrip(text: String) throws {
        let value = try JSONValue(parsing: Array(text.utf8))
        #expect(try JSONValue(parsing: value.serialized()) == value)
    }

    @Test("integers stay integers")
    func integers() throws {
        #expect(try JSONValue(parsing: Array("[1,1.5]".utf8)) == .array([.integer(1), .number(1.5)]))
    }

    @Test("equal values have equal bytes")
    func canonical() throws {
        let a = try JSONValue(parsing: Array(#"{"b":1,"a":2}"#.utf8))
        #expect(String(decoding: a.serialized(), as: UTF8.self) == #"{"a":2,"b":1}"#)
    }

    @Test("what is no JSON is refused", arguments: ["", "{", "nul", "\u{1}"])
    func refuses(text: String) { #expect(throws: ClusterError.self) { try JSONValue(parsing: Array(text.utf8)) } }
}

@Suite("names")
struct NameTests {
    @Test("bad names are refused with the field and the limit", arguments: ["", ".", ".x", "a/b", "ä", String(repeating: "x", count: 256)])
    func refuses(name: String) { #expect(throws: ClusterError.self) { try CollectionName(name) } }

    @Test("good names pass", arguments: ["a", "A-1_b.c", String(repeating: "x", count: 255)])
    func accepts(name: String) throws { #expect(try CollectionName(name).rawValue == name) }
}

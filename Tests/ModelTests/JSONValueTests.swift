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

    @Test("integers stay integers and floating-point numbers stay those, whole ones too", arguments: [1.5, 1, -0.0, 1e300, 1e-300] as [Double])
    func numbers(number: Double) throws {
        let value = JSONValue.array([.integer(1), .number(number)])
        #expect(try JSONValue(parsing: value.serialized()) == value)
    }

    @Test("equal values have equal bytes")
    func canonical() throws {
        let a = try JSONValue(parsing: Array(#"{"b":1,"a":2}"#.utf8))
        #expect(String(decoding: a.serialized(), as: UTF8.self) == #"{"a":2,"b":1}"#)
    }

    @Test("what is no JSON is refused", arguments: ["", "{", "nul", "\u{1}", "[1,]", #"{"a":1,}"#, #"{"a":1,"a":2}"#])
    func refuses(text: String) { #expect(throws: ClusterError.self) { try JSONValue(parsing: Array(text.utf8)) } }
}

@Suite("names")
struct NameTests {
    @Test("bad names are refused with the field and the limit", arguments: ["", ".", ".x", "a/b", "ä", String(repeating: "x", count: 256)])
    func refuses(name: String) { #expect(throws: ClusterError.self) { try CollectionName(name) } }

    @Test("good names pass", arguments: ["a", "A-1_b.c", String(repeating: "x", count: 255)])
    func accepts(name: String) throws { #expect(try CollectionName(name).rawValue == name) }
}

import Model
import Testing

@Suite("filters")
struct FilterTests {
    let payload: Payload = [
        "city": "Berlin", "price": 12.5, "count": 3, "tags": ["a", "b"], "nothing": nil, "none": [], "a.b": "dotted",
        "country": ["name": "Germany", "cities": [["size": 3], ["size": 9]]],
    ]

    func passes(_ condition: Filter.Condition) -> Bool { condition.holds(id: .integer(1), payload: payload) }

    @Test("match compares scalars, elements and numbers by value")
    func match() {
        #expect(passes(.match(key: "city", anyOf: ["Berlin"])))
        #expect(!passes(.match(key: "city", anyOf: ["berlin"])))
        #expect(passes(.match(key: "tags", anyOf: ["b", "z"])))
        #expect(passes(.match(key: "count", anyOf: [.number(3)])))
        #expect(!passes(.match(key: "missing", anyOf: [nil])))
    }

    @Test("keys go into objects and arrays")
    func paths() {
        #expect(passes(.match(key: "country.name", anyOf: ["Germany"])))
        #expect(passes(.match(key: "country.cities[].size", anyOf: [9])))
        #expect(passes(.range(key: "country.cities.size", .init(greaterThan: 8))))
        #expect(passes(.match(key: "a.b", anyOf: ["dotted"])))
    }

    @Test("integers beyond 2⁵³ match themselves, not the neighbours that they share a floating-point number with")
    func largeIntegers() {
        let id = Int64(1_795_940_500_123_456_783)
        func matches(_ stored: JSONValue, _ asked: JSONValue) -> Bool {
            Filter(must: [.match(key: "n", anyOf: [asked])]).passes(id: .integer(1), payload: ["n": stored])
        }
        for other in id - 10...id + 10 { #expect(matches(.integer(other), .integer(id)) == (other == id)) }
        #expect(matches(.integer(1), .number(1)) && matches(.number(-3), .integer(-3)) && !matches(.number(1.5), .integer(1)))
        #expect(matches(.integer(1 << 53), .number(0x1p53)) && !matches(.integer(1 << 53 + 1), .number(0x1p53)) && !matches(.integer(1), .number(.nan)))
    }

    @Test("ranges hold at their bounds as written")
    func ranges() {
        #expect(passes(.range(key: "price", .init(greaterOrEqual: 12.5, lessOrEqual: 12.5))))
        #expect(!passes(.range(key: "price", .init(greaterThan: 12.5))))
        #expect(!passes(.range(key: "city", .init(greaterThan: 0))))
    }

    @Test("except, empty and ids")
    func others() {
        #expect(passes(.matchExcept(key: "city", noneOf: ["Paris"])))
        #expect(!passes(.matchExcept(key: "city", noneOf: ["Berlin"])))
        #expect(passes(.isEmpty(key: "nothing")) && passes(.isEmpty(key: "none")) && passes(.isEmpty(key: "missing")))
        #expect(!passes(.isEmpty(key: "city")))
        #expect(passes(.hasID([.integer(1), .integer(2)])) && !passes(.hasID([.integer(2)])))
    }

    @Test("must, should and must_not combine as in Qdrant")
    func combines() {
        let yes = Filter.Condition.match(key: "city", anyOf: ["Berlin"])
        let no = Filter.Condition.match(key: "city", anyOf: ["Paris"])
        func passes(_ filter: Filter) -> Bool { filter.passes(id: .integer(1), payload: payload) }
        #expect(passes(Filter()))
        #expect(passes(Filter(must: [yes], should: [no, yes], mustNot: [no])))
        #expect(!passes(Filter(must: [yes, no])))
        #expect(!passes(Filter(should: [no])))
        #expect(!passes(Filter(mustNot: [yes])))
        #expect(passes(Filter(must: [.nested(Filter(should: [yes, no]))])))
    }
}

import Model
import Testing

@Suite("Parts of a payload") struct PayloadSelectionTests {
    private let payload: Payload = [
        "user": .object(["name": "ann", "password": "pw", "home": .object(["city": "Bern", "street": "x"])]), "tags": .array([.object(["k": 1, "v": 2]), "plain"]), "a.b": 3,
        "n": 4,
    ]

    @Test("include names members of objects and of the elements of arrays, and names that hold dots")
    func only() {
        func only(_ keys: String...) -> Payload { PayloadSelection.only(keys).select(from: payload) }
        #expect(only("n", "missing") == ["n": 4])
        #expect(only("user.name", "user.home.city") == ["user": .object(["name": "ann", "home": .object(["city": "Bern"])])])
        #expect(only("user", "user.name")["user"] == payload["user"])
        #expect(only("tags[].k") == ["tags": .array([.object(["k": 1])])] && only("tags.k") == only("tags[].k") && only("tags[]") == only("tags"))
        #expect(only("a.b") == ["a.b": 3])
        #expect(only("user.missing", "n.x", "").isEmpty)
    }

    @Test("exclude leaves out the same, at any depth, and nothing else")
    func except() {
        func except(_ keys: String...) -> Payload { PayloadSelection.except(keys).select(from: payload) }
        #expect(except("user.password", "user.home.street")["user"] == .object(["name": "ann", "home": .object(["city": "Bern"])]))
        #expect(except("tags[].k")["tags"] == .array([.object(["v": 2]), "plain"]))
        #expect(except("a.b", "n", "user", "tags").isEmpty && except("missing", "n.x") == payload)
    }

    @Test("the members that are read are those that the keys may name")
    func members() {
        #expect(PayloadSelection.members(of: ["user.name", "a.b", "tags[]", "n"]) == ["user", "user.name", "a", "a.b", "tags", "tags[]", "n"])
    }
}

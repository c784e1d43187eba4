import Foundation
import Model
import Sharding
import Storage
import Testing

/// Filters over a sealed segment, which an index over its payloads answers, against ``Filter/passes(id:payload:)``.
@Suite("Filters of sealed points") struct PayloadIndexTests {
    private static let names = ["a", "b", "c", "a.b", "x[]", "", "ü", "long"]
    private static let texts = ["red", "green", "", "é", "e\u{301}", "K", "\u{212a}", "ß", String(repeating: "y", count: 200), "true", "1"]

    private func scalar(_ random: inout SeededRandom) -> JSONValue {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: .bool(.random(using: &random))
        case 1: .null
        case 2: .integer(.random(in: -3...3, using: &random))
        // Integers that floating-point numbers do not tell apart.
        case 3: .integer((1 << 53) + .random(in: -1...3, using: &random))
        case 4: .number([0.5, 1, -0.0, 2.5, 1e300, 9_007_199_254_740_993][Int.random(in: 0..<6, using: &random)])
        default: .string(Self.texts.randomElement(using: &random)!)
        }
    }

    private func value(_ random: inout SeededRandom, depth: Int) -> JSONValue {
        switch depth > 2 ? 0 : Int.random(in: 0..<6, using: &random) {
        case 0..<3: scalar(&random)
        case 3: .array((0..<Int.random(in: 0...3, using: &random)).map { _ in value(&random, depth: depth + 1) })
        default: .object(object(&random, depth: depth + 1))
        }
    }

    private func object(_ random: inout SeededRandom, depth: Int) -> Payload {
        var members: Payload = [:]
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            // Names with dots and brackets are rare, so that most keys stay indexed.
            let name = Int.random(in: 0..<30, using: &random) == 0 ? Self.names.randomElement(using: &random)! : ["a", "b", "c", ""].randomElement(using: &random)!
            members[name] = value(&random, depth: depth)
        }
        return members
    }

    private func key(_ random: inout SeededRandom) -> String {
        (0..<Int.random(in: 1...3, using: &random)).map { _ in
            ["a", "b", "c", "", "x", "ü", "missing"].randomElement(using: &random)! + ["", "", "[]", "[][]"].randomElement(using: &random)!
        }.joined(separator: ".")
    }

    private func condition(_ random: inout SeededRandom, depth: Int = 0) -> Filter.Condition {
        func bound() -> Double? { Bool.random(using: &random) ? nil : [-2, -0.5, 0, 1, 2.5, 1e18].randomElement(using: &random)! }
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4: return .match(key: key(&random), anyOf: (0..<Int.random(in: 1...3, using: &random)).map { _ in scalar(&random) })
        case 4, 5: return .range(key: key(&random), Filter.Range(greaterThan: bound(), greaterOrEqual: bound(), lessThan: bound(), lessOrEqual: bound()))
        case 6: return .isEmpty(key: key(&random))
        case 7: return .matchExcept(key: key(&random), noneOf: [scalar(&random)])
        case 8 where depth < 2: return .nested(filter(&random, depth: depth + 1))
        default: return .hasID((0..<5).map { _ in .integer(.random(in: 0..<400, using: &random)) })
        }
    }

    private func filter(_ random: inout SeededRandom, depth: Int = 0) -> Filter {
        func some(_ count: Int) -> [Filter.Condition] { (0..<Int.random(in: 0...count, using: &random)).map { _ in condition(&random, depth: depth) } }
        return Filter(must: some(2), should: some(2), mustNot: some(1))
    }

    @Test("pass the points that a look at each payload passes, before and after sealing", arguments: 1...6 as ClosedRange<UInt64>)
    func agrees(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let harness = try await Harness()
        let node = harness.node { $0.entryBytes = 1 << 20 }
        let points = (0..<300).map { harness.point($0, 0, object(&random, depth: 0)) }
        try await harness.upsert(points, on: node)
        try await harness.seal(node)
        var selective = 0
        for _ in 0..<400 {
            let filter = filter(&random)
            let expected = points.filter { filter.passes(id: $0.id, payload: $0.payload) }.map(\.id)
            let found = try await harness.contents(node, filter: filter).map(\.id)
            #expect(found == expected, "\(filter)")
            if !expected.isEmpty && expected.count < points.count { selective += 1 }
        }
        #expect(selective > 40)
        await node.close()
    }

    @Test("keys beyond the bound are looked up in the payloads")
    func manyKeys() async throws {
        let harness = try await Harness()
        let node = harness.node()
        let points = (0..<400).map { harness.point($0, 0, ["k\($0)": .integer(Int64($0)), "z.\($0)": "dotted", "all": "same"]) }
        try await harness.upsert(points, on: node)
        try await harness.seal(node)
        for number in [0, 100, 399] as [UInt64] {
            for condition in [Filter.Condition.match(key: "k\(number)", anyOf: [.integer(Int64(number))]), .match(key: "z.\(number)", anyOf: ["dotted"])] {
                #expect(try await harness.contents(node, filter: Filter(must: [condition, .match(key: "all", anyOf: ["same"])])).map(\.id) == [.integer(number)])
            }
        }
        await node.close()
    }

    private func chunk(_ number: Int, of harness: Harness) -> Point {
        let payload: Payload = [
            "document": .string("d\(number / 20)"), "index": .integer(Int64(number % 20)), "text": .string(String(repeating: "some words of a chunk ", count: 40)),
            "attributes": .object(["year": .integer(Int64(1990 + number % 35))]),
        ]
        return harness.point(UInt64(number), 0, payload)
    }

    @Test("benchmark: a filter that was not asked before, over a sealed segment")
    func benchmark() async throws {
        let count = ProcessInfo.processInfo.environment["BENCHMARK"] == nil ? 5_000 : 100_000
        let harness = try await Harness()
        let node = harness.node { $0.sealPoints = 1_000_000 }
        for start in stride(from: 0, to: count, by: 5_000) {
            try await harness.upsert((start..<start + 5_000).map { chunk($0, of: harness) }, on: node)
        }
        let sealing = try await ContinuousClock().measure { try await harness.seal(node) }
        var times: [(String, Duration)] = []
        let filters: [(String, Filter)] = [
            ("one document", Filter(must: [.match(key: "document", anyOf: ["d7"])])),
            ("a range of years", Filter(must: [.range(key: "attributes.year", Filter.Range(greaterOrEqual: 2010, lessThan: 2012))])),
            ("not indexed", Filter(must: [.matchExcept(key: "document", noneOf: ["d7"])])),
        ]
        for (name, filter) in filters {
            let time = try await ContinuousClock().measure { _ = try await node.count(CountRequest(shard: harness.shard, filter: filter), context: harness.context()) }
            times.append((name, time))
        }
        let listed = times.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        print("benchmark: \(count) chunks sealed in \(sealing); filters asked for the first time: \(listed)")
        await node.close()
    }
}

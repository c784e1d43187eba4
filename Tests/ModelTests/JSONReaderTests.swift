import Foundation
import Gateway
import Model
import Testing

@Suite("JSON of strangers") struct JSONReaderTests {
    private func read(_ text: String) throws -> JSONInput { try JSONReader.read(Array(text.utf8)) }

    @Test(
        "reads what Foundation reads",
        arguments: [
            "null", "true", " [ ] ", "{}", "-0", "0.5", "-12.25e-3", "1E+2", "123456789012345678", "-9223372036854775808", "0.1", "1e-7",
            "3.141592653589793238462643383279", "2.2250738585072014e-308", "1.7976931348623157e308", "179769313486231570000000000000000000000",
            "[1,2.5,-3.5e-4,\"x\",null]", "[1, 2 ,3\n]", "{\"a\":{\"b\":[{\"c\":[[]]}]}}", "\"\\u00e9\\ud83d\\ude00\\n\\\"\\/\"", "\"äöü 漢字\"",
        ])
    func agreesWithFoundation(text: String) throws {
        let expected = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        let found = try read(text).jsonValue
        // Foundation reads 1E+2 as an integer; here what is written as a fraction or with an exponent is none.
        #expect(found == expected || found.double == expected.double && found.double != nil)
    }

    @Test(
        "says where a text goes wrong",
        arguments: [
            ("", "byte 0"), ("{\"a\":1,}", "byte 7"), ("[1,]", "byte 3"), ("[1 2]", "byte 3"), ("01", "byte 1"), ("+1", "byte 0"), ("1.", "byte 2"),
            ("1e", "byte 2"), ("-", "byte 1"), ("nul", "byte 0"), ("\"a\nb\"", "byte 2"), ("\"\\x\"", "byte 2"), ("\"\\ud800x\"", "byte 7"),
            ("{\"a\":1 \"b\":2}", "byte 7"), ("{1:2}", "byte 1"), ("{\"a\":1,\"a\":2}", "occurs twice"), ("[1]]", "byte 3"), ("\"abc", "byte 4"),
            ("[1,\n 2,\n x]", "line 3, column 2"),
        ])
    func namesThePlace(text: String, place: String) throws {
        let error = #expect(throws: ClusterError.self) { try read(text) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(place) == true, "\(error?.message ?? "")")
    }

    @Test("bounds the depth")
    func depth() throws {
        let deepest = String(repeating: "[", count: JSONReader.maximumDepth) + String(repeating: "]", count: JSONReader.maximumDepth)
        _ = try read(deepest)
        #expect(throws: ClusterError.self) { try read("[" + deepest + "]") }
        #expect(throws: ClusterError.self) { try read(String(repeating: "[", count: 1_000_000)) }
        #expect(throws: ClusterError.self) { try read(String(repeating: "{\"a\":", count: 1_000_000)) }
    }

    @Test("no cut and no flipped byte of a request crashes it", arguments: [1, 2, 3] as [UInt64])
    func survivesDamage(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let text = Array("{\"points\":[{\"id\":1,\"vector\":[0.1,-2e3,4],\"payload\":{\"k\":\"\\u00e9\\ud83d\\ude00\",\"n\":null}}]}".utf8)
        for length in 0..<text.count { #expect(throws: ClusterError.self) { try JSONReader.read(Array(text[..<length])) } }
        for _ in 0..<20_000 {
            var damaged = text
            damaged[Int(random.next() % UInt64(text.count))] = UInt8(truncatingIfNeeded: random.next())
            _ = try? JSONReader.read(damaged).jsonValue
        }
    }

    @Test("a vector printed with enough digits reads as itself", arguments: [1, 2] as [UInt64])
    func vectorsRoundTrip(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let vector = (0..<4_096).map { _ in
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
            return value.isFinite ? value : 0.5
        }
        #expect(try read(String(decoding: JSONOutput.floats(vector).serialized(), as: UTF8.self)).vector(at: "v") == vector)
        let asDoubles = "[" + vector.map { "\(Double($0))" }.joined(separator: ",") + "]"
        #expect(try read(asDoubles).vector(at: "v") == vector)
    }

    @Test("integers of 64 bits keep their digits as ids")
    func ids() throws {
        #expect(try read("18446744073709551615").pointID(at: "id") == .integer(.max))
        #expect(try read("9223372036854775808").pointID(at: "id") == .integer(1 << 63))
        for text in ["-1", "1.5", "18446744073709551616", "true", "\"no\""] {
            #expect(throws: RequestError.self) { try read(text).pointID(at: "id") }
        }
    }

    @Test("what is no dense vector is refused by name", arguments: ["[]", "[1,\"2\"]", "[1e39]", "[null]", "{\"a\":[1]}", "[[1]]", "3"])
    func vectors(text: String) throws {
        let error = #expect(throws: RequestError.self) { try read(text).vector(at: "points[3].vector") }
        #expect(error?.message.contains("points[3].vector") == true)
    }

    @Test("benchmark: a vector of 1,536 numbers, beside Foundation's decoder")
    func benchmark() throws {
        var random = SplitMix64(seed: 9)
        let vector = (0..<1_536).map { _ in Double(Float(Int64(bitPattern: random.next()) >> 40) / 8_388_608) }
        let text = Array(("{\"vector\":[" + vector.map { "\($0)" }.joined(separator: ", ") + "]}").utf8)
        struct Body: Decodable { var vector: [Float] }
        let rounds = ProcessInfo.processInfo.environment["BENCHMARK"] == nil ? 20 : 2_000
        var sums: [Float] = []
        func measure(_ work: () throws -> [Float]) rethrows -> Double {
            let clock = ContinuousClock()
            var sum: Float = 0
            let time = try clock.measure { for _ in 0..<rounds { sum += try work().reduce(0, +) } }
            sums.append(sum)
            return Double(time.components.attoseconds) / 1e12 / Double(rounds) + Double(time.components.seconds) * 1e6 / Double(rounds)
        }
        let ours = try measure {
            guard case .object(let members) = try JSONReader.read(text) else { return [] }
            return try members[0].value.vector(at: "vector")
        }
        let foundation = try measure { try JSONDecoder().decode(Body.self, from: Data(text)).vector }
        let values = try measure { (try JSONDecoder().decode(JSONValue.self, from: Data(text))["vector"]?.array ?? []).map { Float($0.double ?? 0) } }
        #expect(sums[0] == sums[1] && sums[0] == sums[2])
        print("benchmark: \(text.count) bytes, 1536 numbers, µs: \(ours) here, \(foundation) Foundation into [Float], \(values) Foundation into JSONValue")
    }
}

struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

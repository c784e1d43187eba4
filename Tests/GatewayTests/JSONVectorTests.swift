import Foundation
import Gateway
import Model
import Testing
import VectorMath

@Suite("Vectors and ids in JSON of strangers") struct JSONVectorTests {
    private func read(_ text: String) throws -> JSONInput { try JSONReader.read(Array(text.utf8)) }

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

    /// `loadtest/json` writes the bodies and reads what this prints.
    @Test("benchmark: bodies of vectors from JSON_BODIES", .enabled(if: ProcessInfo.processInfo.environment["JSON_BODIES"] != nil, "needs loadtest/json"))
    func bodies() throws {
        let folder = URL(fileURLWithPath: ProcessInfo.processInfo.environment["JSON_BODIES"]!)
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil).sorted(by: { $0.path < $1.path }) {
            let body = [UInt8](try Data(contentsOf: file))
            func vectors() throws -> [[Float]] {
                guard case .object(let members) = try JSONReader.read(body) else { return [] }
                for member in members where member.key == "query" { return [try member.value.vector(at: "query")] }
                return try (members.first { $0.key == "points" }?.value.elements ?? []).map { point in
                    guard case .object(let members) = point, let vector = members.first(where: { $0.key == "vector" }) else { return [] }
                    return try vector.value.vector(at: "vector")
                }
            }
            let sum = try vectors().reduce(0.0) { $1.reduce($0) { $0 + Double($1) } }
            let rounds = max(3, 20_000_000 / body.count)
            var best = Double.infinity
            for _ in 0..<5 {
                let time = try ContinuousClock().measure { for _ in 0..<rounds { _ = try vectors() } }
                best = min(best, time / .microseconds(1) / Double(rounds))
            }
            print("body \(file.path): \(best) µs, sum \(sum)")
        }
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
        let values = try measure { (try JSONValue(parsing: text)["vector"]?.array ?? []).map { Float($0.double ?? 0) } }
        #expect(sums[0] == sums[1] && sums[0] == sums[2])
        print("benchmark: \(text.count) bytes, 1536 numbers, µs: \(ours) here, \(values) here as JSONValue, \(foundation) Foundation into [Float]")
    }
}

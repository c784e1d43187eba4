import Foundation
import Model
import Testing
import VectorMath

@Suite("JSON of strangers") struct JSONReaderTests {
    private func read(_ text: String) throws -> JSONInput { try JSONReader.read(Array(text.utf8)) }

    @Test("a number that payloads do not keep as it is is named with its place")
    func unkept() throws {
        func place(_ text: String) throws -> String? { try read(text).unkept(at: "p").map { "\($0.path): \($0.number)" } }
        #expect(try place(#"{"a":[1,-9223372036854775808,9223372036854775807,1e308],"b":{"c":"18446744073709551615"}}"#) == nil)
        #expect(try place(#"{"a":1,"b":{"c":[true,18446744073709551615]}}"#) == "p.b.c[1]: 18446744073709551615")
        #expect(try place(#"[1,2,9223372036854775808]"#) == "p[2]: 9223372036854775808")
        #expect(try place(#"{"a":[1e400]}"#) == "p.a[0]: beyond the range of floating-point numbers")
    }

    @Test(
        "reads what Foundation reads",
        arguments: [
            "null", "true", " [ ] ", "{}", "-0", "0.5", "-12.25e-3", "1E+2", "123456789012345678", "-9223372036854775808", "0.1", "1e-7",
            "3.141592653589793238462643383279", "2.2250738585072014e-308", "1.7976931348623157e308",
            "[1,2.5,-3.5e-4,\"x\",null]", "[1, 2 ,3\n]", "{\"a\":{\"b\":[{\"c\":[[]]}]}}", "\"\\u00e9\\ud83d\\ude00\\n\\\"\\/\"", "\"äöü 漢字\"",
        ])
    func agreesWithFoundation(text: String) throws {
        let expected = try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
        #expect(isSame(try read(text).jsonValue, expected))
    }

    @Test("an integer of more than 64 bits is the nearest number")
    func longInteger() throws { #expect(try read("179769313486231570000000000000000000000").jsonValue == .number(1.7976931348623157e38)) }

    private func isSame(_ value: JSONValue, _ other: Any) -> Bool {
        switch (value, other) {
        case (.null, is NSNull): true
        case (.bool(let value), let other as Bool): value == other
        case (.integer(let value), let other as NSNumber): value == other.int64Value
        case (.number(let value), let other as NSNumber): value == other.doubleValue
        case (.string(let value), let other as String): value == other
        case (.array(let values), let others as [Any]): values.count == others.count && zip(values, others).allSatisfy { isSame($0, $1) }
        case (.object(let members), let others as [String: Any]): members.count == others.count && members.allSatisfy { isSame($0.value, others[$0.key] ?? 0) }
        default: false
        }
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

    @Test("floats are those of strtof, near ties and at the ends of the range too", arguments: 1...8 as ClosedRange<UInt64>)
    func floats(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        func float() -> Float {
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
            return value.isFinite ? value : 1
        }
        func digits(_ count: Int) -> String { String((0..<count).map { _ in Character("\(Int.random(in: 0...9, using: &random))") }) }
        var texts: [String] = ["0", "-0", "0.0e5", "1e-400", "-1e400", "3.4028235677973366e38", "3.4028235677973362e38", "1.401298464324817e-45", "7.006492321624085e-46",
            "1.17549435e-38", "1.1754942e-38", "16777217", "16777217.0000000000000000000000001", "0." + String(repeating: "0", count: 400) + "1e390"]
        for _ in 0..<4_000 {
            let value = float()
            let tie = (Double(value) + Double(value.nextUp)) / 2
            let bits = tie.bitPattern &+ UInt64(bitPattern: Int64.random(in: -6...6, using: &random))
            texts += [
                "\(value)", "\(Double(value))", "\(tie)", "\(Double(bitPattern: bits))", String(format: "%.40e", tie), "-0.\(digits(.random(in: 1...30, using: &random)))",
                "\(Int.random(in: 1...9, using: &random))\(digits(.random(in: 0...25, using: &random))).\(digits(.random(in: 1...12, using: &random)))E\(Int.random(in: -70...50, using: &random))",
            ].filter { !$0.contains("n") }
        }
        guard case .numbers(_, let floats) = try read("[" + texts.joined(separator: seed % 2 == 0 ? "," : " ,\n") + "]") else { throw ClusterError(.internal, "no numbers") }
        #expect(floats.count == texts.count)
        for (text, value) in zip(texts, floats) { #expect(value.bitPattern == strtof(text, nil).bitPattern, "\(text)") }
    }

    @Test("numbers end where the bytes end, whatever their alignment", arguments: 0...40)
    func ends(length: Int) throws {
        let text = "[1.5," + String(repeating: "7", count: length + 1) + "]"
        guard case .numbers(_, let floats) = try read(text) else { throw ClusterError(.internal, "no numbers") }
        #expect(floats == [1.5, Float(String(repeating: "7", count: length + 1))!])
        for cut in 1..<text.utf8.count { #expect(throws: ClusterError.self) { try read(String(text.prefix(cut))) } }
    }

    @Test("the end of a value is found however its bytes come", arguments: [
        "{\"a\":[1,2,{\"b\":\"]}\\\"\"}],\"c\":\"\\\\\"}", "[[],[[1.25e-3,2]],\"x|y\"]", "\"a \\\\\"", "12.5e3", "null",
        "{\"long\":\"" + String(repeating: "plain text ", count: 40) + "\",\"v\":[" + String(repeating: "0.123456,", count: 60) + "1]}",
    ], 1...9)
    func elements(value: String, step: Int) {
        let bytes = Array((value + ",{\"next\":1}").utf8)
        var (end, position, known) = (ElementEnd(), 0, 0)
        var found: Int?
        while found == nil, known < bytes.count {
            known = min(known + step, bytes.count)
            found = end.find(in: Array(bytes[..<known]), from: &position)
        }
        #expect(found == value.utf8.count)
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
}

import Model

/// A JSON value on its way to a client: members in the order they were written, vectors without a detour.
package enum JSONOutput: Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case unsigned(UInt64)
    case number(Double)
    /// Printed with the fewest digits that read back as the same `Float`.
    case float(Float)
    case string(String)
    case floats([Float])
    case value(JSONValue)
    case array([JSONOutput])
    case object([(String, JSONOutput)])

    /// The value as compact JSON. A number that is not finite, which JSON cannot say, becomes `null`.
    package func serialized() -> [UInt8] {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return bytes
    }

    func write(to bytes: inout [UInt8]) {
        switch self {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): bytes.append(contentsOf: String(value).utf8)
        case .unsigned(let value): bytes.append(contentsOf: String(value).utf8)
        case .number(let value): bytes.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
        case .float(let value): bytes.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
        case .string(let value): JSONValue.write(value, to: &bytes)
        case .floats(let values): Self.write(values, to: &bytes) { value, bytes in JSONOutput.float(value).write(to: &bytes) }
        case .array(let values): Self.write(values, to: &bytes) { value, bytes in value.write(to: &bytes) }
        case .object(let members): Self.write(members, to: &bytes)
        case .value(let value): value.write(to: &bytes)
        }
    }

    private static func write<Element>(_ values: [Element], to bytes: inout [UInt8], _ writeElement: (Element, inout [UInt8]) -> Void) {
        bytes.append(UInt8(ascii: "["))
        for (offset, value) in values.enumerated() {
            if offset > 0 { bytes.append(UInt8(ascii: ",")) }
            writeElement(value, &bytes)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private static func write(_ members: [(String, JSONOutput)], to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "{"))
        for (offset, member) in members.enumerated() {
            if offset > 0 { bytes.append(UInt8(ascii: ",")) }
            JSONValue.write(member.0, to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            member.1.write(to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }
}

extension JSONOutput: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONOutput...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONOutput)...) { self = .object(elements) }
    package init(nilLiteral: ()) { self = .null }
}

extension PointID {
    var json: JSONOutput {
        switch self {
        case .integer(let value): .unsigned(value)
        case .uuid: .string(description)
        }
    }
}

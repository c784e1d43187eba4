/// A JSON value as it was sent, before its reader has said what each part means.
///
/// It differs from ``JSONValue`` in three ways that the public edge needs: members keep their order, integers up to
/// 2^64 − 1 keep all their digits (Qdrant's ids do), and an array of numbers is a vector of floats beside its text, which is there for a
/// route that asks for its values. So a vector of 1,536 numbers never becomes 1,536 enum values.
package enum JSONInput: Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// Above `Int64.max`.
    case unsigned(UInt64)
    case number(Double)
    case string(String)
    /// A non-empty array of nothing but numbers: its text between the brackets, checked against the grammar, and the nearest floats,
    /// infinite where one does not fit.
    case numbers(ArraySlice<UInt8>, [Float])
    case array([JSONInput])
    case object([Member])

    package struct Member: Sendable {
        package var key: String
        package var value: JSONInput

        package init(key: String, value: JSONInput) {
            self.key = key
            self.value = value
        }
    }

    /// What the value is called in an error.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .unsigned: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .numbers, .array: "an array"
        case .object: "an object"
        }
    }

    package var isNull: Bool { if case .null = self { true } else { false } }

    /// The elements of an array, numbers included; `nil` if this is no array.
    package var elements: [JSONInput]? {
        switch self {
        case .array(let elements): elements
        case .numbers(let text, let floats): NumberText.values(in: text, count: floats.count)
        default: nil
        }
    }

    /// The value as a floating-point number if it is any number.
    package var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// Where in this value, which stands at `path`, the first number is that ``jsonValue`` does not keep, and what it is; `nil` if there is none.
    package func unkept(at path: String) -> (path: String, number: String)? {
        switch self {
        case .unsigned(let value): (path, "\(value)")
        case .number(let value): value.isFinite ? nil : (path, "beyond the range of floating-point numbers")
        case .null, .bool, .integer, .string: nil
        case .numbers, .array: (elements ?? []).enumerated().lazy.compactMap { $1.unkept(at: "\(path)[\($0)]") }.first
        case .object(let members): members.lazy.compactMap { $0.value.unkept(at: "\(path).\($0.key)") }.first
        }
    }

    /// The value as payloads keep it. An integer above `Int64.max` becomes the nearest floating-point number.
    package var jsonValue: JSONValue {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .integer(let value): .integer(value)
        case .unsigned(let value): .number(Double(value))
        case .number(let value): .number(value)
        case .string(let value): .string(value)
        case .numbers, .array: .array((elements ?? []).map(\.jsonValue))
        case .object(let members): .object(Dictionary(members.map { ($0.key, $0.value.jsonValue) }) { _, last in last })
        }
    }
}

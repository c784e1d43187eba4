import Model

/// OpenAI's attributes of files, and filters on them.
package enum AttributeFilter {
    /// Bounds of OpenAI's API.
    static let maximumAttributes = 16
    static let maximumKeyBytes = 64
    static let maximumValueBytes = 512

    /// Reads `attributes` or `metadata`: strings, numbers and booleans under short keys.
    package static func attributes(_ input: JSONInput?, at path: String) throws -> Payload {
        guard let input else { return [:] }
        guard case .object(let members) = input else { throw RequestError.invalid(path, "\(path) must be an object, found \(input.kind)") }
        guard members.count <= maximumAttributes else {
            throw RequestError.invalid(path, "\(path) has \(members.count) keys, the limit is \(maximumAttributes)")
        }
        var attributes: Payload = [:]
        for member in members {
            let name = "\(path).\(member.key)"
            try checkKey(member.key, at: name)
            switch member.value {
            case .string(let text):
                guard text.utf8.count <= maximumValueBytes else {
                    throw RequestError.invalid(name, "\(name) has \(text.utf8.count) bytes, the limit is \(maximumValueBytes)")
                }
            case .bool, .integer, .number: break
            default: throw RequestError.invalid(name, "\(name) must be a string, a number or a boolean, found \(member.value.kind)")
            }
            attributes[member.key] = member.value.jsonValue
        }
        return attributes
    }

    /// Keys are parts of paths into payloads, where dots and brackets mean something.
    private static func checkKey(_ key: String, at path: String) throws {
        guard (1...maximumKeyBytes).contains(key.utf8.count), !key.contains(where: { ".[]".contains($0) }) else {
            throw RequestError.invalid(path, "\(path): a key has 1…\(maximumKeyBytes) bytes and neither dots nor brackets")
        }
    }

    /// A comparison, or `and` or `or` of filters, as a filter on the chunks' payloads.
    package static func read(_ input: JSONInput, at path: String) throws -> Filter { Filter(must: [try condition(input, at: path)]) }

    private static func condition(_ input: JSONInput, at path: String) throws -> Filter.Condition {
        var fields = try JSONFields(input, at: path)
        let type = try fields.required(
            "type", try fields.choice("type", of: ["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or"]))
        if type == "and" || type == "or" {
            let elements = try fields.required("filters", try fields.array("filters"))
            try fields.finish()
            guard !elements.isEmpty else { throw RequestError.invalid(fields.name("filters"), "\(fields.name("filters")) is empty") }
            let conditions = try elements.enumerated().map { try condition($1, at: "\(fields.name("filters"))[\($0)]") }
            return .nested(type == "and" ? Filter(must: conditions) : Filter(should: conditions))
        }
        let name = try fields.required("key", try fields.string("key"))
        try checkKey(name, at: fields.name("key"))
        let value = try fields.required("value", fields.take("value"))
        try fields.finish()
        return try comparison(type, key: "\(Documents.Key.attributes).\(name)", value, at: fields.name("value"))
    }

    private static func comparison(_ type: String, key: String, _ value: JSONInput, at path: String) throws -> Filter.Condition {
        switch type {
        case "eq": return .match(key: key, anyOf: [try scalar(value, at: path)])
        case "ne": return .nested(Filter(mustNot: [.match(key: key, anyOf: [try scalar(value, at: path)])]))
        case "in": return .match(key: key, anyOf: try scalars(value, at: path))
        case "nin": return .nested(Filter(mustNot: [.match(key: key, anyOf: try scalars(value, at: path))]))
        default:
            guard let bound = value.double else { throw RequestError.invalid(path, "\(path) must be a number for \(type), found \(value.kind)") }
            var range = Filter.Range()
            switch type {
            case "gt": range.greaterThan = bound
            case "gte": range.greaterOrEqual = bound
            case "lt": range.lessThan = bound
            default: range.lessOrEqual = bound
            }
            return .range(key: key, range)
        }
    }

    private static func scalars(_ value: JSONInput, at path: String) throws -> [JSONValue] {
        guard let elements = value.elements, !elements.isEmpty else { throw RequestError.invalid(path, "\(path) must be a list of values, found \(value.kind)") }
        return try elements.enumerated().map { try scalar($1, at: "\(path)[\($0)]") }
    }

    private static func scalar(_ value: JSONInput, at path: String) throws -> JSONValue {
        switch value {
        case .string, .bool, .integer, .number: return value.jsonValue
        default: throw RequestError.invalid(path, "\(path) must be a string, a number or a boolean, found \(value.kind)")
        }
    }
}

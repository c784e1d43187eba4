import Model

/// Reads Qdrant's filters: `must`, `should` and `must_not` of conditions on payload fields, ids, and filters within filters.
package enum QdrantFilter {
    package static func read(_ input: JSONInput, at path: String) throws -> Filter {
        var fields = try JSONFields(input, at: path)
        let filter = Filter(
            must: try conditions("must", in: &fields), should: try conditions("should", in: &fields),
            mustNot: try conditions("must_not", in: &fields))
        try fields.refuse("min_should")
        try fields.finish()
        return filter
    }

    /// A list of conditions, or one alone.
    private static func conditions(_ key: String, in fields: inout JSONFields) throws -> [Filter.Condition] {
        guard let value = fields.take(key) else { return [] }
        let path = fields.name(key)
        if case .object = value { return [try condition(value, at: path)] }
        guard let elements = value.elements else { throw RequestError.invalid(path, "\(path) must be a list of conditions, found \(value.kind)") }
        return try elements.enumerated().map { try condition($1, at: "\(path)[\($0)]") }
    }

    private static func condition(_ input: JSONInput, at path: String) throws -> Filter.Condition {
        var fields = try JSONFields(input, at: path)
        let condition = try condition(&fields, input)
        try fields.finish()
        return condition
    }

    private static func condition(_ fields: inout JSONFields, _ input: JSONInput) throws -> Filter.Condition {
        let path = fields.path
        try fields.refuse("nested", "has_vector")
        if let ids = try fields.pointIDs("has_id") { return .hasID(ids) }
        if let key = try fields.string("key") { return try fieldCondition(on: key, &fields) }
        if var target = try fields.object("is_empty") { return .isEmpty(key: try onlyKey(&target)) }
        if var target = try fields.object("is_null") { return .match(key: try onlyKey(&target), anyOf: [.null]) }
        // What is left is a filter within the filter, or no condition at all; reading it as a filter names what is wrong.
        let filter = try read(input, at: path)
        for key in ["must", "should", "must_not"] { _ = fields.take(key) }
        guard !filter.isEmpty else {
            throw RequestError.invalid(path, "\(path) is no condition: it has neither key, has_id, is_empty, is_null nor a filter")
        }
        return .nested(filter)
    }

    private static func onlyKey(_ fields: inout JSONFields) throws -> String {
        let key = try fields.required("key", try fields.string("key"))
        try fields.finish()
        return key
    }

    private static func fieldCondition(on key: String, _ fields: inout JSONFields) throws -> Filter.Condition {
        try fields.refuse("geo_bounding_box", "geo_radius", "geo_polygon", "values_count")
        var found: [Filter.Condition] = []
        if var match = try fields.object("match") { found.append(try Self.match(key, &match)) }
        if var range = try fields.object("range") { found.append(try Self.range(key, &range)) }
        if let isWanted = try fields.bool("is_empty") { found.append(either(isWanted, .isEmpty(key: key))) }
        if let isWanted = try fields.bool("is_null") { found.append(either(isWanted, .match(key: key, anyOf: [.null]))) }
        return try fields.only(found, of: "match, range, is_empty and is_null")
    }

    private static func either(_ isWanted: Bool, _ condition: Filter.Condition) -> Filter.Condition {
        isWanted ? condition : .nested(Filter(mustNot: [condition]))
    }

    private static func match(_ key: String, _ fields: inout JSONFields) throws -> Filter.Condition {
        try fields.refuse("text", "text_any", "text_prefix", "phrase")
        var found: [Filter.Condition] = []
        if let value = fields.take("value") { found.append(.match(key: key, anyOf: [try keyword(value, at: fields.name("value"))])) }
        if let values = try keywords("any", &fields) { found.append(.match(key: key, anyOf: values)) }
        if let values = try keywords("except", &fields) { found.append(.matchExcept(key: key, noneOf: values)) }
        try fields.finish()
        return try fields.only(found, of: "value, any and except")
    }

    private static func keywords(_ key: String, _ fields: inout JSONFields) throws -> [JSONValue]? {
        let path = fields.name(key)
        return try fields.array(key)?.enumerated().map { try keyword($1, at: "\(path)[\($0)]") }
    }

    private static func keyword(_ value: JSONInput, at path: String) throws -> JSONValue {
        switch value {
        case .bool, .integer, .string: return value.jsonValue
        default: throw RequestError.invalid(path, "\(path) must be a string, an integer or a boolean, found \(value.kind)")
        }
    }

    private static func range(_ key: String, _ fields: inout JSONFields) throws -> Filter.Condition {
        let range = Filter.Range(
            greaterThan: try bound("gt", &fields), greaterOrEqual: try bound("gte", &fields), lessThan: try bound("lt", &fields),
            lessOrEqual: try bound("lte", &fields))
        try fields.finish()
        return .range(key: key, range)
    }

    private static func bound(_ key: String, _ fields: inout JSONFields) throws -> Double? {
        guard let value = fields.take(key) else { return nil }
        let path = fields.name(key)
        if case .string = value { throw RequestError.unsupported(path, "\(path): ranges of dates are not supported, ranges of numbers are") }
        guard let number = value.double else { throw RequestError.invalid(path, "\(path) must be a number, found \(value.kind)") }
        return number
    }
}

extension JSONFields {
    fileprivate func only(_ found: [Filter.Condition], of names: String) throws -> Filter.Condition {
        guard found.count == 1 else { throw RequestError.invalid(path, "\(path) must have exactly one of \(names), found \(found.count)") }
        return found[0]
    }
}

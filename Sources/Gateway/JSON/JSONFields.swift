import Model

/// A JSON object whose members are taken one by one: what nobody took is an error, so no field of a client is ever ignored.
///
/// A member that is `null` counts as absent. `path` says where the object stands in the request; errors name fields with it.
package struct JSONFields {
    let path: String
    private var members: [String: JSONInput]

    /// - Throws: `badRequest` if `input` is no object.
    package init(_ input: JSONInput, at path: String = "") throws {
        guard case .object(let members) = input else {
            throw RequestError.invalid(path.isEmpty ? nil : path, "\(path.isEmpty ? "the body" : path) must be an object, found \(input.kind)")
        }
        self.path = path
        self.members = Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value) })  // the reader refuses a key met twice
    }

    func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    mutating func take(_ key: String) -> JSONInput? {
        guard let value = members.removeValue(forKey: key), !value.isNull else { return nil }
        return value
    }

    /// Says 501 for each of `keys` that is present: fields that the API knows and this server does not support.
    mutating func refuse(_ keys: String...) throws {
        for key in keys where take(key) != nil { throw RequestError.unsupported(name(key)) }
    }

    /// Takes fields that change nothing here.
    ///
    /// - Returns: The names of those that are present.
    mutating func ignore(_ keys: String...) -> [String] {
        var found: [String] = []
        for key in keys where take(key) != nil { found.append(name(key)) }
        return found
    }

    /// Accepts a field that may only have the value that changes nothing, say `n: 1`.
    mutating func accept(_ key: String, only allowed: JSONValue...) throws {
        guard let value = take(key)?.jsonValue else { return }
        let isAllowed = allowed.contains { $0 == value || ($0.double != nil && $0.double == value.double) }
        guard isAllowed else {
            let text = String(decoding: value.serialized().prefix(64), as: UTF8.self)
            let list = allowed.map { String(decoding: $0.serialized(), as: UTF8.self) }.joined(separator: " or ")
            throw RequestError.unsupported(name(key), "\(name(key)): \(text) is not supported, only \(list)")
        }
    }

    /// Says 400 for the first member that nobody took, in the order of the alphabet.
    func finish() throws {
        guard let key = members.keys.min() else { return }
        throw RequestError.invalid(name(key), "unknown field \(name(key))")
    }
}

// Typed members. Each throws `badRequest` naming the field, what it must be and what it is.
extension JSONFields {
    mutating func string(_ key: String, maximumBytes: Int? = nil) throws -> String? {
        guard let value = take(key) else { return nil }
        guard case .string(let text) = value else { throw mismatch(key, "a string", value) }
        if let maximumBytes, text.utf8.count > maximumBytes {
            throw RequestError.invalid(name(key), "\(name(key)) has \(text.utf8.count) bytes, the limit is \(maximumBytes)")
        }
        return text
    }

    mutating func bool(_ key: String) throws -> Bool? {
        guard let value = take(key) else { return nil }
        guard case .bool(let flag) = value else { throw mismatch(key, "true or false", value) }
        return flag
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let value = take(key) else { return nil }
        guard case .integer(let number) = value else { throw mismatch(key, "an integer", value) }
        guard range.contains(Int(number)) else {
            throw RequestError.invalid(name(key), "\(name(key)) must be \(range.lowerBound)…\(range.upperBound), found \(number)")
        }
        return Int(number)
    }

    mutating func number(_ key: String, in range: ClosedRange<Double>? = nil) throws -> Double? {
        guard let value = take(key) else { return nil }
        guard let number = value.double else { throw mismatch(key, "a number", value) }
        guard number.isFinite, range?.contains(number) ?? true else {
            let limits = range.map { "\($0.lowerBound)…\($0.upperBound)" } ?? "finite"
            throw RequestError.invalid(name(key), "\(name(key)) must be \(limits), found \(number)")
        }
        return number
    }

    mutating func choice(_ key: String, of choices: [String]) throws -> String? {
        guard let text = try string(key) else { return nil }
        guard choices.contains(text) else {
            throw RequestError.invalid(name(key), "\(name(key)) must be \(choices.joined(separator: ", ")), found \"\(text)\"")
        }
        return text
    }

    mutating func array(_ key: String, maximumCount: Int? = nil) throws -> [JSONInput]? {
        guard let value = take(key) else { return nil }
        if case .numbers(_, let floats) = value, let maximumCount, floats.count > maximumCount { throw tooMany(key, floats.count, maximumCount) }
        guard let elements = value.elements else { throw mismatch(key, "an array", value) }
        if let maximumCount, elements.count > maximumCount { throw tooMany(key, elements.count, maximumCount) }
        return elements
    }

    mutating func object(_ key: String) throws -> JSONFields? {
        guard let value = take(key) else { return nil }
        return try JSONFields(value, at: name(key))
    }

    mutating func required<Value>(_ key: String, _ value: Value?) throws -> Value {
        guard let value else { throw RequestError.invalid(name(key), "\(name(key)) is missing") }
        return value
    }

    private func tooMany(_ key: String, _ count: Int, _ limit: Int) -> RequestError {
        RequestError.invalid(name(key), "\(name(key)) has \(count) elements, the limit is \(limit)")
    }

    private func mismatch(_ key: String, _ expected: String, _ value: JSONInput) -> RequestError {
        RequestError.invalid(name(key), "\(name(key)) must be \(expected), found \(value.kind)")
    }
}

extension JSONInput {
    /// The value as one dense vector.
    ///
    /// - Throws: `badRequest` naming `path`; `unsupported` for named, sparse and multi-vectors.
    package func vector(at path: String) throws -> [Float] {
        switch self {
        case .numbers(_, let floats):
            guard floats.count <= CollectionSchema.maximumDimension else {
                throw RequestError.invalid(path, "\(path) has \(floats.count) numbers, the limit is \(CollectionSchema.maximumDimension)")
            }
            // As integers, the greatest exponent is found without a branch for each element.
            let greatest = floats.reduce(UInt32(0)) { max($0, $1.bitPattern & 0x7fff_ffff) }
            guard greatest >= Float.infinity.bitPattern, let offset = floats.firstIndex(where: { !$0.isFinite }) else { return floats }
            throw RequestError.invalid("\(path)[\(offset)]", "\(path)[\(offset)] does not fit a 32-bit float")
        case .array(let elements):
            if elements.isEmpty { throw RequestError.invalid(path, "\(path) is empty") }
            if elements[0].elements != nil { throw RequestError.unsupported(path, "\(path): multi-vectors are not supported, one dense vector is") }
            let offset = elements.firstIndex { $0.double == nil } ?? 0
            throw RequestError.invalid("\(path)[\(offset)]", "\(path)[\(offset)] must be a number, found \(elements[offset].kind)")
        case .object:
            throw RequestError.unsupported(path, "\(path): named, sparse and inferred vectors are not supported, one dense vector is")
        default:
            throw RequestError.invalid(path, "\(path) must be an array of numbers, found \(kind)")
        }
    }

    /// The value as a point's id: an unsigned integer or a UUID.
    package func pointID(at path: String) throws -> PointID {
        switch self {
        case .integer(let value) where value >= 0: return .integer(UInt64(value))
        case .unsigned(let value): return .integer(value)
        case .string(let text):
            if let id = PointID(uuid: text) { return id }
            throw RequestError.invalid(path, "\(path) must be an unsigned integer or a UUID, found \"\(text.prefix(64))\"")
        default: throw RequestError.invalid(path, "\(path) must be an unsigned integer or a UUID, found \(kind)")
        }
    }
}

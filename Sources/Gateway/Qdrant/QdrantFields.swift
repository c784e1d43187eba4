import Hummingbird
import Model

// Fields and parameters that several of Qdrant's routes share.
extension JSONFields {
    mutating func filter() throws -> Filter? { try take("filter").map { try QdrantFilter.read($0, at: name("filter")) } }

    /// `true`, `false`, a list of keys, or `{"include": …}` or `{"exclude": …}`.
    mutating func payloadSelection(default fallback: PayloadSelection) throws -> PayloadSelection {
        guard let value = take("with_payload") else { return fallback }
        let path = name("with_payload")
        switch value {
        case .bool(let isWanted): return isWanted ? .all : .none
        case .array(let keys): return .only(try Self.strings(keys, at: path))
        case .object:
            var fields = try JSONFields(value, at: path)
            let include = try fields.array("include").map { try Self.strings($0, at: "\(path).include") }
            let exclude = try fields.array("exclude").map { try Self.strings($0, at: "\(path).exclude") }
            try fields.finish()
            switch (include, exclude) {
            case (let include?, nil): return .only(include)
            case (nil, let exclude?): return .except(exclude)
            default: throw RequestError.invalid(path, "\(path) must have either include or exclude")
            }
        default: throw RequestError.invalid(path, "\(path) must be a boolean, a list of keys or an object, found \(value.kind)")
        }
    }

    mutating func withVector() throws -> Bool {
        guard let value = take("with_vector") else { return false }
        let path = name("with_vector")
        switch value {
        case .bool(let isWanted): return isWanted
        case .array: throw RequestError.unsupported(path, "\(path): named vectors are not supported, true and false are")
        default: throw RequestError.invalid(path, "\(path) must be true or false, found \(value.kind)")
        }
    }

    mutating func pointIDs(_ key: String, maximumCount: Int? = nil) throws -> [PointID]? {
        let path = name(key)
        return try array(key, maximumCount: maximumCount)?.enumerated().map { try $1.pointID(at: "\(path)[\($0)]") }
    }

    mutating func partial(default fallback: PartialPolicy) throws -> PartialPolicy {
        try choice("partial", of: PartialPolicy.allCases.map(\.rawValue)).flatMap(PartialPolicy.init(rawValue:)) ?? fallback
    }

    static func strings(_ elements: [JSONInput], at path: String) throws -> [String] {
        try elements.enumerated().map { offset, element in
            guard case .string(let text) = element else {
                throw RequestError.invalid("\(path)[\(offset)]", "\(path)[\(offset)] must be a string, found \(element.kind)")
            }
            return text
        }
    }
}

extension QueryParameters {
    /// Refuses parameters that a write does not have.
    static func checkWriteOptions(_ request: Request) throws {
        var parameters = try QueryParameters(request)
        try parameters.writeOptions()
        try parameters.finish()
    }

    /// Takes what reads know: `timeout` and `consistency`, which the middleware has read, and `partial`.
    ///
    /// - Returns: The policy of `partial` or of the header `covey-partial`; by default a partial answer is given and says so.
    mutating func readOptions(_ request: Request) throws -> PartialPolicy {
        _ = take("timeout")
        _ = take("consistency")
        let text = take("partial") ?? request.headers[.partial] ?? PartialPolicy.degrade.rawValue
        guard let policy = PartialPolicy(rawValue: text) else {
            throw RequestError.invalid("partial", "partial must be \(PartialPolicy.allCases.map(\.rawValue).joined(separator: " or ")), found \"\(text)\"")
        }
        return policy
    }

    /// Takes what writes know. A write is durable and searched when it is acknowledged, and its shard has one owner, so
    /// neither `wait` nor `ordering` changes anything.
    mutating func writeOptions() throws {
        _ = take("timeout")
        _ = try choice("wait", of: ["true", "false"])
        _ = try choice("ordering", of: ["weak", "medium", "strong"])
    }
}

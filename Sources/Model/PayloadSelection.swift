/// Which parts of a payload are handed out.
///
/// A key names a member as in a ``Filter``: `a.b` goes into objects, `a[]` and arrays on the way stand for each element; a member's name may itself hold dots.
package enum PayloadSelection: Hashable, Sendable {
    case none
    case all
    case only([String])
    case except([String])

    package func select(from payload: Payload) -> Payload {
        switch self {
        case .none: [:]
        case .all: payload
        case .only(let keys): Self.kept(of: payload, keys.flatMap(Self.paths))
        case .except(let keys): Self.rest(of: payload, keys.flatMap(Self.paths))
        }
    }

    /// The members that ``only(_:)`` needs to see.
    package static func members(of keys: [String]) -> Set<String> { Set(keys.flatMap(paths).map { String($0[0]) }) }

    /// What a key may mean.
    private static func paths(_ key: String) -> [ArraySlice<Substring>] {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false).map { $0.hasSuffix("[]") ? $0.dropLast(2) : $0 }
        return parts == [key[...]] ? [parts[...]] : [parts[...], [key[...]]]
    }

    private static func kept(of members: [String: JSONValue], _ paths: [ArraySlice<Substring>]) -> [String: JSONValue] {
        var found: [String: JSONValue] = [:]
        for (name, value) in members {
            let rests = paths.filter { $0.first == name[...] }.map { $0.dropFirst() }
            if rests.contains(where: \.isEmpty) { found[name] = value } else if !rests.isEmpty { found[name] = kept(of: value, rests) }
        }
        return found
    }

    /// `nil` if nothing is left.
    private static func kept(of value: JSONValue, _ paths: [ArraySlice<Substring>]) -> JSONValue? {
        switch value {
        case .object(let members):
            let found = kept(of: members, paths)
            return found.isEmpty ? nil : .object(found)
        case .array(let elements):
            let found = elements.compactMap { kept(of: $0, paths) }
            return found.isEmpty ? nil : .array(found)
        default: return nil
        }
    }

    private static func rest(of members: [String: JSONValue], _ paths: [ArraySlice<Substring>]) -> [String: JSONValue] {
        var left = members
        for (name, value) in members {
            let rests = paths.filter { $0.first == name[...] }.map { $0.dropFirst() }
            if rests.contains(where: \.isEmpty) { left[name] = nil } else if !rests.isEmpty { left[name] = rest(of: value, rests) }
        }
        return left
    }

    private static func rest(of value: JSONValue, _ paths: [ArraySlice<Substring>]) -> JSONValue {
        switch value {
        case .object(let members): .object(rest(of: members, paths))
        case .array(let elements): .array(elements.map { rest(of: $0, paths) })
        default: value
        }
    }
}

/// Which points count, by their payload; means what it means in Qdrant's API.
///
/// A point passes if all of `must` hold, none of `mustNot`, and, unless `should` is empty, at least one of `should`.
package struct Filter: Hashable, Sendable {
    package var must: [Condition] = []
    package var should: [Condition] = []
    package var mustNot: [Condition] = []

    package init(must: [Condition] = [], should: [Condition] = [], mustNot: [Condition] = []) {
        self.must = must
        self.should = should
        self.mustNot = mustNot
    }

    package indirect enum Condition: Hashable, Sendable {
        /// The payload's value at `key` (or one element of it, if it is an array) equals one of `values`.
        case match(key: String, anyOf: [JSONValue])
        /// The value (or one element) equals none of `values`; a missing key does not pass.
        case matchExcept(key: String, noneOf: [JSONValue])
        /// The number at `key` (or one element) lies within all given bounds.
        case range(key: String, Range)
        /// The point has one of these ids.
        case hasID([PointID])
        /// The key is missing, null or an empty array.
        case isEmpty(key: String)
        case nested(Filter)
    }

    package struct Range: Hashable, Sendable {
        package var greaterThan: Double?
        package var greaterOrEqual: Double?
        package var lessThan: Double?
        package var lessOrEqual: Double?

        package init(greaterThan: Double? = nil, greaterOrEqual: Double? = nil, lessThan: Double? = nil, lessOrEqual: Double? = nil) {
            self.greaterThan = greaterThan
            self.greaterOrEqual = greaterOrEqual
            self.lessThan = lessThan
            self.lessOrEqual = lessOrEqual
        }

        package func contains(_ value: Double) -> Bool {
            if let greaterThan, !(value > greaterThan) { return false }
            if let greaterOrEqual, !(value >= greaterOrEqual) { return false }
            if let lessThan, !(value < lessThan) { return false }
            if let lessOrEqual, !(value <= lessOrEqual) { return false }
            return true
        }
    }
}

extension Filter {
    package var isEmpty: Bool { must.isEmpty && should.isEmpty && mustNot.isEmpty }

    /// Whether a point with this id and payload passes. O(conditions × size of the values they name).
    package func passes(id: PointID, payload: Payload) -> Bool {
        must.allSatisfy { $0.holds(id: id, payload: payload) }
            && !mustNot.contains { $0.holds(id: id, payload: payload) }
            && (should.isEmpty || should.contains { $0.holds(id: id, payload: payload) })
    }
}

extension Filter.Condition {
    package func holds(id: PointID, payload: Payload) -> Bool {
        switch self {
        case .match(let key, let values): Filter.values(at: key, in: payload).contains { value in values.contains { $0.matches(value) } }
        case .matchExcept(let key, let values):
            Filter.values(at: key, in: payload).contains { value in !values.contains { $0.matches(value) } }
        case .range(let key, let range): Filter.values(at: key, in: payload).contains { $0.double.map(range.contains) ?? false }
        case .hasID(let ids): ids.contains(id)
        case .isEmpty(let key): Filter.values(at: key, in: payload).allSatisfy { $0 == .null }
        case .nested(let filter): filter.passes(id: id, payload: payload)
        }
    }
}

extension Filter {
    /// The values that a key names: `a.b` goes into objects, `a[]` and arrays on the way stand for each element.
    static func values(at key: String, in payload: Payload) -> [JSONValue] {
        if let value = payload[key] { return flatten(value) }  // a key may itself hold dots
        var found: [JSONValue] = [.object(payload)]
        for part in key.split(separator: ".", omittingEmptySubsequences: false) {
            let name = String(part.hasSuffix("[]") ? part.dropLast(2) : part)
            found = found.flatMap(flatten).compactMap { $0[name] }
        }
        return found.flatMap(flatten)
    }

    private static func flatten(_ value: JSONValue) -> [JSONValue] {
        if case .array(let elements) = value { elements } else { [value] }
    }
}

extension JSONValue {
    /// Equality as a filter sees it: `1` and `1.0` are the same number.
    fileprivate func matches(_ other: JSONValue) -> Bool {
        switch (self, other) {
        // As a floating-point number an integer beyond 2⁵³ would equal its neighbours.
        case (.integer(let integer), .number(let number)), (.number(let number), .integer(let integer)): Int64(exactly: number) == integer
        default: self == other
        }
    }
}

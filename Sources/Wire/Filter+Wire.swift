import Foundation
import Model

// Recursion is bounded by the decoder, which refuses messages nested deeper than 100.

extension Filter: WireValue {
    package init(_ message: Covey_V1_Filter) throws(ClusterError) {
        self.init(
            must: try convert(message.must, Condition.init), should: try convert(message.should, Condition.init),
            mustNot: try convert(message.mustNot, Condition.init))
    }

    package var message: Covey_V1_Filter {
        var message = Covey_V1_Filter()
        message.must = must.map(\.message)
        message.should = should.map(\.message)
        message.mustNot = mustNot.map(\.message)
        return message
    }
}

extension Filter.Condition: WireValue {
    package init(_ message: Covey_V1_Condition) throws(ClusterError) {
        switch message.kind {
        case .match(let match): self = .match(key: match.key, anyOf: try convert(match.values, JSONValue.init(parsing:)))
        case .matchExcept(let match): self = .matchExcept(key: match.key, noneOf: try convert(match.values, JSONValue.init(parsing:)))
        case .range(let range): self = .range(key: range.key, Filter.Range(range))
        case .hasID_p(let condition): self = .hasID(try convert(condition.ids, PointID.init))
        case .isEmpty(let key): self = .isEmpty(key: key)
        case .nested(let filter): self = .nested(try Filter(filter))
        case nil: throw ClusterError(.invalidArgument, "condition of a filter is missing or of a kind unknown to this version")
        }
    }

    package var message: Covey_V1_Condition {
        var message = Covey_V1_Condition()
        switch self {
        case .match(let key, let values): message.match = match(key, values)
        case .matchExcept(let key, let values): message.matchExcept = match(key, values)
        case .range(let key, let range): message.range = range.message(key: key)
        case .hasID(let ids):
            var condition = Covey_V1_Condition.HasID()
            condition.ids = ids.map(\.message)
            message.hasID_p = condition
        case .isEmpty(let key): message.isEmpty = key
        case .nested(let filter): message.nested = filter.message
        }
        return message
    }

    private func match(_ key: String, _ values: [JSONValue]) -> Covey_V1_Condition.Match {
        var match = Covey_V1_Condition.Match()
        match.key = key
        match.values = values.map { Data($0.serialized()) }
        return match
    }
}

extension Filter.Range {
    fileprivate init(_ message: Covey_V1_Condition.Range) {
        self.init(
            greaterThan: message.hasGreaterThan ? message.greaterThan : nil,
            greaterOrEqual: message.hasGreaterOrEqual ? message.greaterOrEqual : nil,
            lessThan: message.hasLessThan ? message.lessThan : nil,
            lessOrEqual: message.hasLessOrEqual ? message.lessOrEqual : nil)
    }

    fileprivate func message(key: String) -> Covey_V1_Condition.Range {
        var message = Covey_V1_Condition.Range()
        message.key = key
        if let greaterThan { message.greaterThan = greaterThan }
        if let greaterOrEqual { message.greaterOrEqual = greaterOrEqual }
        if let lessThan { message.lessThan = lessThan }
        if let lessOrEqual { message.lessOrEqual = lessOrEqual }
        return message
    }
}

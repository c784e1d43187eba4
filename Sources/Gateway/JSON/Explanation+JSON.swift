import Coordination
import Model

extension PointExplanation {
    /// The step that the point came to, and its ranks on the way; what it never got to is left out.
    var json: JSONOutput {
        var members: [(String, JSONOutput)] = [
            ("id", explanation.id.json), ("step", .string(explanation.step.rawValue)), ("shard", .integer(shard.index)), ("node", .string(node.rawValue)),
        ]
        if let reason { members.append(("reason", .string("\(reason.code): \(reason.message)"))) }
        if let place { members.append(("place", .integer(place))) }
        if let score = explanation.score {
            members += [("score", .float(score)), ("version", .unsigned(explanation.version))]
            if let exact = explanation.exact { members.append(("exact", exact.json)) }
            members.append(("segment", explanation.segment.map(JSONOutput.integer) ?? .null))
        }
        if let index = explanation.index { members.append(("index", index.json)) }
        return .object(members)
    }
}

extension IndexTrace {
    fileprivate var json: JSONOutput {
        var members: [(String, JSONOutput)] = [
            ("region", .integer(region)), ("region_rank", regionRank.json), ("list", .integer(list)), ("list_rank", listRank.json),
            ("lists_probed", .integer(listsProbed)), ("probed", .bool(isProbed)),
        ]
        if let byCode { members.append(("code", byCode.json)) }
        if let byBytes { members.append(("bytes", byBytes.json)) }
        members.append(("rescored", .integer(rescored)))
        return .object(members)
    }
}

extension Rank {
    fileprivate var json: JSONOutput { ["rank": .integer(place), "of": .integer(count)] }
}

extension JSONFields {
    /// Points whose way through the search the reply is to describe.
    mutating func explain() throws -> [PointID] { try pointIDs("explain", maximumCount: ExplainRequest.maximumCount) ?? [] }
}

import Coordination
import Hummingbird
import Model
import Transport

/// Qdrant's envelope around results, and how points look inside it.
enum QdrantReply {
    /// `{"result": …, "status": "ok", "time": seconds}`, with what only this server says under `covey` beside it.
    static func ok(_ result: JSONOutput, covey: JSONOutput? = nil, _ context: GatewayContext) -> Response {
        var members: [(String, JSONOutput)] = [("result", result), ("status", "ok"), ("time", .number(context.seconds))]
        if let covey { members.append(("covey", covey)) }
        return Response(json: .object(members))
    }

    /// The same where `result` holds so many points like this one.
    static func ok(
        points count: Int, like point: StoredPoint?, covey: JSONOutput? = nil, _ context: GatewayContext, _ result: @Sendable () -> JSONOutput
    ) async -> Response {
        LoopExecutor.mayEncode(count, of: point) ? ok(result(), covey: covey, context) : await awayFromLoops { () throws(Never) in ok(result(), covey: covey, context) }
    }

    static func record(_ point: StoredPoint, withPayload: Bool, withVector: Bool) -> JSONOutput {
        .object([("id", point.id.json)] + contents(point, withPayload, withVector))
    }

    static func scored(_ hit: ScoredPoint, withPayload: Bool, withVector: Bool) -> JSONOutput {
        .object(
            [("id", hit.point.id.json), ("version", .unsigned(hit.point.version)), ("score", .float(hit.score))]
                + contents(hit.point, withPayload, withVector))
    }

    private static func contents(_ point: StoredPoint, _ withPayload: Bool, _ withVector: Bool) -> [(String, JSONOutput)] {
        (withPayload ? [("payload", .value(.object(point.payload)))] : []) + (withVector ? [("vector", .floats(point.vector))] : [])
    }
}

extension Coverage {
    /// What was searched of what is held, and why anything is missing.
    var json: JSONOutput {
        [
            "complete": .bool(isComplete), "shards_asked": .integer(shardsAsked), "shards_answered": .integer(shardsAnswered),
            "points_held": .integer(work.pointsHeld), "points_searched": .integer(pointsSearched),
            "points_by_code": .integer(work.pointsByCode), "points_exactly": .integer(work.pointsExactly),
            "points_unreadable": .integer(work.pointsUnreadable), "codes_scanned": .integer(work.codesScanned),
            "candidates_rescored": .integer(work.candidatesRescored), "lists_scanned": .integer(work.listsScanned),
            "recall_estimate": work.recall.map { JSONOutput.float(Float($0)) } ?? .null, "gaps": .array(gaps.map(\.json)),
            "consistency": .string(unverified.isEmpty ? "verified" : "unverified"), "unverified": .array(unverified.map(\.json)),
        ]
    }
}

extension Coverage.Unverified {
    var json: JSONOutput {
        [
            "shard": .integer(shard.index), "reason": .string(reason.message), "position": position.map(JSONOutput.unsigned) ?? .null,
            "age_seconds": age.map { .number($0.seconds) } ?? .null,
        ]
    }
}

extension Coverage.Gap {
    var json: JSONOutput {
        [
            "shard": .integer(shard.index), "node": .string(node.rawValue), "code": .string("\(reason.code)"), "reason": .string(reason.message),
            "points_last_known": pointsLastKnown.map(JSONOutput.integer) ?? .null, "could_change": couldChange.map(JSONOutput.bool) ?? .null,
            "outline_position": outlinePosition.map(JSONOutput.unsigned) ?? .null,
        ]
    }
}

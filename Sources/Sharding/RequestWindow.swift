import Foundation
import Model
import Storage

/// The last parts of writes that were applied, so that one that comes again is answered and not applied again (protocol, H19).
///
/// It is part of what replay computes: entries carry a part's name and the hash of its body, manifests carry the window. What it has forgotten it may
/// not take for new: so far as ids have a time, those that are not newer than the newest forgotten one are refused.
struct RequestWindow {
    /// Parts remembered. Right after a merge of two shards there are up to twice as many, so many of each.
    let limit: Int
    /// Of ids that have a time, the newest that was forgotten, in milliseconds since 1970.
    private(set) var forgotten: UInt64 = 0

    private struct Answer {
        var bodyHash: Nonce
        var position: UInt64
        var superseded: Int
        /// Where it was applied; `nil`: in the whole range of the shard.
        var ranges: [HashRange]?
    }
    private var answers: [WritePart.Name: Answer] = [:]
    /// Oldest first, from `start`.
    private var order: [WritePart] = []
    private var start = 0

    init(limit: Int, _ manifest: Manifest? = nil) {
        self.limit = limit
        forgotten = manifest?.forgotten ?? 0
        for request in manifest?.requests ?? [] { add(request) }
    }

    /// Of shards whose points are divided anew, where none of the parts is one of a new shard's: what they have in common with those that come is the name.
    init(limit: Int, restoring windows: [RequestWindow]) {
        self.limit = limit
        forgotten = windows.map(\.forgotten).max() ?? 0
        for request in windows.flatMap(\.remembered).sorted(by: { $0.position < $1.position }) {
            add(request)
            forgetOldest()
        }
    }

    private mutating func add(_ request: RememberedRequest) {
        let answer = Answer(bodyHash: request.part.bodyHash, position: request.position, superseded: request.superseded, ranges: request.ranges)
        if answers.updateValue(answer, forKey: request.part.name) == nil { order.append(request.part) }
    }

    /// Two for one that is added, until there are not too many any more.
    private mutating func forgetOldest() {
        for _ in 0..<2 where order.count - start > limit {
            answers[order[start].name] = nil
            forgotten = max(forgotten, order[start].id.time ?? 0)
            start += 1
        }
        if start > limit {
            order.removeFirst(start)
            start = 0
        }
    }

    /// What a shard begins with that two were merged into: a request that one of them had not applied is remembered for the other's range.
    init(uniting lower: RequestWindow, _ lowerRange: HashRange, _ upper: RequestWindow, _ upperRange: HashRange) {
        let limit = max(lower.limit, upper.limit)
        self.limit = limit
        let all = [lower.order[lower.start...], upper.order[upper.start...]]
        forgotten = all.flatMap { $0.dropLast(limit).compactMap(\.id.time) }.reduce(max(lower.forgotten, upper.forgotten), max)
        // What one has not may be what it forgot: then nobody can say what is left of it to be applied.
        func mayHaveForgotten(_ part: WritePart) -> Bool {
            [lower, upper].contains { $0.answers[part.name] == nil && part.id.time ?? .max <= $0.forgotten }
        }
        // The newest of both first; their positions cannot be compared.
        var (first, second) = (all[0].suffix(limit), all[1].suffix(limit))
        var newestFirst: [WritePart] = []
        while !first.isEmpty || !second.isEmpty {
            for part in [first.popLast(), second.popLast()].compactMap({ $0 }) where answers[part.name] == nil && !mayHaveForgotten(part) {
                let parts = [(lower.answers[part.name], lowerRange), (upper.answers[part.name], upperRange)].compactMap { answer, range in answer.map { ($0, range) } }
                let ranges = parts.flatMap { $0.0.ranges ?? [$0.1] }.united
                answers[part.name] = Answer(
                    bodyHash: part.bodyHash, position: parts.map(\.0.position).max()!, superseded: parts.reduce(0) { $0 + $1.0.superseded },
                    ranges: ranges == [lowerRange, upperRange].united ? nil : ranges)
                newestFirst.append(part)
            }
        }
        order = newestFirst.reversed()
    }

    /// What becomes of a part that arrives.
    enum Verdict {
        /// It was applied before, with this answer.
        case applied(AppendReply)
        /// It is to be applied, but for the ranges in which it was.
        case new(appliedIn: [HashRange])
        /// `alreadyExists`: its name is another part's; `failedPrecondition`: it may be one that is no longer remembered.
        case refused(ClusterError)
    }

    func verdict(on part: WritePart) -> Verdict {
        if let answer = answers[part.name] {
            guard answer.bodyHash == part.bodyHash else { return .refused(Self.reused(part)) }
            if let ranges = answer.ranges { return .new(appliedIn: ranges) }
            return .applied(AppendReply(position: answer.position, superseded: answer.superseded))
        }
        if let time = part.id.time, time <= forgotten {
            return .refused(
                ClusterError(
                    .failedPrecondition,
                    "idempotency key \(part.id) is from \(Self.date(time)), and ids up to \(Self.date(forgotten)) are no longer remembered: whether it was applied is not known",
                    reason: .keyExpired))
        }
        return .new(appliedIn: [])
    }

    static func reused(_ part: WritePart) -> ClusterError {
        ClusterError(.alreadyExists, "idempotency key \(part.id) was sent with another body before", reason: .keyReused)
    }

    private static func date(_ milliseconds: UInt64) -> String {
        Date(timeIntervalSince1970: Double(milliseconds) / 1_000).formatted(.iso8601.time(includingFractionalSeconds: true))
    }

    /// A part was applied, in what was left of the range.
    ///
    /// - Returns: How many points it superseded in all.
    @discardableResult
    mutating func remember(_ part: WritePart, position: UInt64, superseded: Int) -> Int {
        let known = answers[part.name]
        let total = superseded + (known?.ranges == nil ? 0 : known!.superseded)
        add(RememberedRequest(part, position: position, superseded: total))
        forgetOldest()
        return total
    }

    /// What a manifest stores.
    var remembered: [RememberedRequest] {
        order[start...].map { part in
            let answer = answers[part.name]!
            return RememberedRequest(part, position: answer.position, superseded: answer.superseded, ranges: answer.ranges)
        }
    }

    /// What one of two halves begins with.
    func remembered(in half: HashRange) -> [RememberedRequest] {
        remembered.compactMap { request in
            guard let ranges = request.ranges else { return request }
            var request = request
            let own = ranges.compactMap { $0.intersection(half) }
            request.ranges = own == [half] ? nil : own
            return own.isEmpty ? nil : request
        }
    }
}

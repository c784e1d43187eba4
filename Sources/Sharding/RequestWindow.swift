import Model
import Storage

/// The last requests that were applied, so that one that comes again is answered and not applied again (protocol, H19).
///
/// It is part of what replay computes: entries carry the request's id and the hash of its body, manifests carry the window.
/// A request is the pair of both, because one request of a client may reach a shard in several parts.
struct RequestWindow {
    /// Requests remembered. Reason: well above what is in flight at once, and some 170 kB at most in a manifest. Right after a merge of two shards
    /// there are up to twice as many, so many of each.
    static let limit = 1_024

    struct Key: Hashable {
        let id: RequestID
        let bodyHash: Nonce
    }

    private struct Answer {
        var position: UInt64
        var superseded: Int
        /// Where it was applied; `nil`: in the whole range of the shard.
        var ranges: [HashRange]?
    }
    private var answers: [Key: Answer] = [:]
    /// Oldest first, from `start`.
    private var order: [Key] = []
    private var start = 0

    init() {}

    init(_ requests: [RememberedRequest]) {
        for request in requests {
            let key = Key(id: request.id, bodyHash: request.bodyHash)
            answers[key] = Answer(position: request.position, superseded: request.superseded, ranges: request.ranges)
            order.append(key)
        }
    }

    /// What a shard begins with that two were merged into: a request that one of them had not applied is remembered for the other's range.
    init(uniting lower: RequestWindow, _ lowerRange: HashRange, _ upper: RequestWindow, _ upperRange: HashRange) {
        // The newest of both first; their positions cannot be compared.
        var (first, second) = (lower.order[lower.start...].suffix(Self.limit), upper.order[upper.start...].suffix(Self.limit))
        var newestFirst: [Key] = []
        while !first.isEmpty || !second.isEmpty {
            for key in [first.popLast(), second.popLast()].compactMap({ $0 }) where answers[key] == nil {
                let parts = [(lower.answers[key], lowerRange), (upper.answers[key], upperRange)].compactMap { answer, range in answer.map { ($0, range) } }
                let ranges = parts.flatMap { $0.0.ranges ?? [$0.1] }.united
                answers[key] = Answer(
                    position: parts.map(\.0.position).max()!, superseded: parts.reduce(0) { $0 + $1.0.superseded },
                    ranges: ranges == [lowerRange, upperRange].united ? nil : ranges)
                newestFirst.append(key)
            }
        }
        order = newestFirst.reversed()
    }

    /// - Returns: `nil` for a request that is to be applied, whole or in the part that ``ranges(of:)`` leaves.
    func answer(to key: Key) -> AppendReply? {
        guard let answer = answers[key], answer.ranges == nil else { return nil }
        return AppendReply(position: answer.position, superseded: answer.superseded)
    }

    /// Where a request was applied that was not applied everywhere.
    func ranges(of key: Key) -> [HashRange] { answers[key]?.ranges ?? [] }

    /// A request was applied, in what was left of the range.
    ///
    /// - Returns: How many points it superseded in all.
    @discardableResult
    mutating func remember(_ key: Key, position: UInt64, superseded: Int) -> Int {
        let known = answers[key]
        let total = superseded + (known?.ranges == nil ? 0 : known!.superseded)
        answers[key] = Answer(position: position, superseded: total)
        if known == nil { order.append(key) }
        // Two for one, until there are not too many any more.
        for _ in 0..<2 where order.count - start > Self.limit {
            answers[order[start]] = nil
            start += 1
        }
        if start > Self.limit {
            order.removeFirst(start)
            start = 0
        }
        return total
    }

    /// What a manifest stores.
    var remembered: [RememberedRequest] {
        order[start...].map { key in
            let answer = answers[key]!
            return RememberedRequest(id: key.id, bodyHash: key.bodyHash, position: answer.position, superseded: answer.superseded, ranges: answer.ranges)
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

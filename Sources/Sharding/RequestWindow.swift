import Model
import Storage

/// The last requests that were applied, so that one that comes again is answered and not applied again (protocol, H19).
///
/// It is part of what replay computes: entries carry the request's id and the hash of its body, manifests carry the window.
/// A request is the pair of both, because one request of a client may reach a shard in several parts.
struct RequestWindow {
    /// Requests remembered. Reason: well above what is in flight at once, and some 170 kB at most in a manifest.
    static let limit = 1_024

    struct Key: Hashable {
        let id: RequestID
        let bodyHash: Nonce
    }

    private var answers: [Key: (position: UInt64, superseded: Int)] = [:]
    /// Oldest first, from `start`.
    private var order: [Key] = []
    private var start = 0

    init() {}

    init(_ requests: [RememberedRequest]) {
        for request in requests {
            remember(Key(id: request.id, bodyHash: request.bodyHash), position: request.position, superseded: request.superseded)
        }
    }

    func answer(to key: Key) -> AppendReply? {
        answers[key].map { AppendReply(position: $0.position, superseded: $0.superseded) }
    }

    mutating func remember(_ key: Key, position: UInt64, superseded: Int) {
        if answers.updateValue((position, superseded), forKey: key) == nil { order.append(key) }
        if order.count - start > Self.limit {
            answers[order[start]] = nil
            start += 1
        }
        if start > Self.limit {
            order.removeFirst(start)
            start = 0
        }
    }

    /// What a manifest stores.
    var remembered: [RememberedRequest] {
        order[start...].map { key in
            let answer = answers[key]!
            return RememberedRequest(id: key.id, bodyHash: key.bodyHash, position: answer.position, superseded: answer.superseded)
        }
    }
}

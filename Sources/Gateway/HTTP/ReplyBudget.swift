import Synchronization

/// Bytes of replies that wait in this process for clients to take them, over all connections of the public port.
final class ReplyBudget: Sendable {
    /// Beyond this a connection that leaves replies unread gets no more of them. Reason: forty of the largest replies, a small part of a machine.
    private static let softLimit = 256 << 20
    /// Beyond this nobody does.
    private static let hardLimit = 512 << 20
    /// What a connection that reads may have waiting.
    private static let ownLimit = 1 << 20

    private let waiting = Atomic<Int>(0)

    func change(by byteCount: Int) {
        if byteCount != 0 { waiting.add(byteCount, ordering: .relaxed) }
    }

    /// - Parameter own: Bytes that wait on the same connection already.
    func admits(_ byteCount: Int, beside own: Int) -> Bool {
        let total = waiting.load(ordering: .relaxed) + byteCount
        return total <= Self.softLimit || own <= Self.ownLimit && total <= Self.hardLimit
    }
}

import Model

/// A moment that several shards have in common, for a snapshot of them (protocol, H23).
///
/// The log of each has a ``LogEntry/Content/barrier(_:)`` of it. Who wants to write after one waits until the object `cuts/<id>` says that all are in, or
/// that there will be no such moment: whoever creates the object decides. So what is written after one barrier is neither acknowledged nor seen before
/// the last barrier is in its log.
package struct Cut: Hashable, Sendable {
    package let id: Nonce
    /// Seconds since 1970, by the clock of who makes it: a hint at how long to wait for the decision, nothing else.
    package let begunAt: Int64

    package init(id: Nonce, begunAt: Int64) {
        self.id = id
        self.begunAt = begunAt
    }

    package enum Decision: UInt8, Sendable {
        /// All barriers are in.
        case made = 1
        /// Somebody has waited too long.
        case abandoned = 2

        private static let frame = Frame(kind: "cut", magic: 0x5443_5643, version: 1)

        package func encoded() -> [UInt8] { Self.frame.wrap([rawValue]) }

        package init(decoding object: [UInt8]) throws(FormatError) {
            var reader = try Self.frame.open(object)
            let value: UInt8 = try reader.read()
            guard let decision = Self(rawValue: value), reader.remaining == 0 else { throw .malformed("it holds decision \(value)") }
            self = decision
        }
    }

    package var idText: String { fixedHex(id.high) + fixedHex(id.low) }
}

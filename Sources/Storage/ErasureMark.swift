import Model

/// Says that a shard holds bytes which were superseded: deleted or overwritten points, in segments or in its log. An object without content
/// under `erasures/`, put before the write that supersedes is acknowledged, and deleted when the shard was rewritten since.
///
/// So the store knows what is to be erased without anybody asking shards at rest: listing the marks costs what is pending.
///
/// | key | |
/// | --- | --- |
/// | `erasures/<seconds since 1970, 20 digits>/<tenant>/<incarnation>/<shard>-<16 hex, random>` | the oldest lists first |
package struct ErasureMark: Hashable, Sendable {
    /// By the marking node's clock: a deadline is measured with it, nothing else.
    package let markedAt: UInt64
    package let shard: ShardID
    private let nonce: UInt64

    package init(markedAt: UInt64, shard: ShardID) {
        self.markedAt = markedAt
        self.shard = shard
        var entropy = Entropy()
        nonce = entropy.next()
    }

    package static let prefix = "erasures/"
    package var key: String { "\(Self.prefix)\(StoreKey.twentyDigits(markedAt))/\(shard.tenant)/\(shard.incarnation)/\(shard.index)-\(fixedHex(nonce))" }

    /// `nil` for a key that is none of a mark.
    package init?(key: String) {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 5, parts[0] + "/" == Self.prefix, parts[1].utf8.count == 20, let markedAt = StoreKey.number(at: parts[1]),
            let tenant = try? TenantID(parts[2]), let incarnation = Incarnation(parts[3])
        else { return nil }
        let name = parts[4].split(separator: "-")
        guard name.count == 2, let index = Int(name[0]), index >= 0, name[1].utf8.count == 16, let nonce = UInt64(name[1], radix: 16) else { return nil }
        self.markedAt = markedAt
        self.shard = ShardID(tenant: tenant, incarnation: incarnation, index: index)
        self.nonce = nonce
    }
}

import Foundation

/// Names a tenant: the owner of collections, and the first part of every key in the store.
///
/// 1–64 characters of `a–z A–Z 0–9 _ . -`, not starting with a dot, so that it is safe in keys, file names, logs and metrics.
package struct TenantID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let rawValue: String

    /// The tenant of every call while no API key is configured.
    package static let `default` = TenantID(unchecked: "default")

    package init(_ rawValue: String) throws(ClusterError) {
        try requireName(rawValue, field: "tenant", limit: 64)
        self.rawValue = rawValue
    }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }

    package var description: String { rawValue }
    package static func < (a: TenantID, b: TenantID) -> Bool { a.rawValue < b.rawValue }
}

/// Names a collection within its tenant: 1–255 characters of `a–z A–Z 0–9 _ . -`, not starting with a dot.
package struct CollectionName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let rawValue: String

    package init(_ rawValue: String) throws(ClusterError) {
        try requireName(rawValue, field: "collection name", limit: 255)
        self.rawValue = rawValue
    }

    package var description: String { rawValue }
    package static func < (a: CollectionName, b: CollectionName) -> Bool { a.rawValue < b.rawValue }
}

/// Names one life of a collection: a dropped and recreated collection has the same name and another incarnation,
/// so a late write to the first cannot reach the second (protocol, H21).
package struct Incarnation: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// A fresh one from the system's random source.
    package static func random() -> Incarnation {
        var entropy = Entropy()
        return Incarnation(.random(in: 1...UInt64.max, using: &entropy))
    }

    /// 16 hexadecimal digits.
    package var description: String { fixedHex(rawValue) }
    package init?(_ text: String) {
        guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else { return nil }
        rawValue = value
    }
}

/// Names a node of the cluster as the configuration does.
package struct NodeID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let rawValue: String
    package init(_ rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
    package static func < (a: NodeID, b: NodeID) -> Bool { a.rawValue < b.rawValue }
}

/// Names one shard of one life of a collection.
package struct ShardID: Hashable, Sendable, CustomStringConvertible {
    package let tenant: TenantID
    package let incarnation: Incarnation
    /// Position of the shard in its collection's layout, from 0.
    package let index: Int

    package init(tenant: TenantID, incarnation: Incarnation, index: Int) {
        self.tenant = tenant
        self.incarnation = incarnation
        self.index = index
    }

    package var description: String { "\(tenant)/\(incarnation)/\(index)" }
}

/// Ties together everything done for one request of a client; it stands in every log line and error.
package struct RequestID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String
    /// Longest accepted from a client. Default reason: a UUID with a prefix fits, a log line stays readable.
    package static let maximumLength = 128

    package init(_ rawValue: String) { self.rawValue = String(rawValue.prefix(Self.maximumLength)) }
    /// Whether a client's may stand in a log line: visible ASCII, not too long.
    package static func accepts(_ id: String) -> Bool {
        !id.isEmpty && id.utf8.count <= maximumLength && id.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
    package static func random() -> RequestID {
        var entropy = Entropy()
        return RequestID(fixedHex(entropy.next()))
    }
    package var description: String { rawValue }

    /// Milliseconds since 1970 at which it was made, if it is a UUID of version 7 (RFC 9562, section 5.7): such ids have an order.
    package var time: UInt64? {
        let bytes = Array(rawValue.utf8)
        guard bytes.count == 36, bytes[14] == UInt8(ascii: "7"), UUID(uuidString: rawValue) != nil else { return nil }
        return UInt64(rawValue.prefix(8) + rawValue.dropFirst(9).prefix(4), radix: 16)
    }

    /// A UUID of version 7.
    package static func ordered(time milliseconds: UInt64) -> RequestID {
        var entropy = Entropy()
        let (high, low) = (fixedHex(milliseconds << 16 | 0x7000 | entropy.next() >> 52), fixedHex(0x8000_0000_0000_0000 | entropy.next() >> 2))
        return RequestID("\(high.prefix(8))-\(high.dropFirst(8).prefix(4))-\(high.suffix(4))-\(low.prefix(4))-\(low.suffix(12))")
    }
}

/// `value` as 16 lower-case hexadecimal digits.
package func fixedHex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
}

private func requireName(_ name: String, field: String, limit: Int) throws(ClusterError) {
    guard !name.isEmpty else { throw ClusterError(.invalidArgument, "\(field) is empty") }
    guard name.utf8.count <= limit else {
        throw ClusterError(.invalidArgument, "\(field) has \(name.utf8.count) bytes, the limit is \(limit)")
    }
    let isAllowed = name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }
    guard isAllowed, !name.hasPrefix(".") else {
        throw ClusterError(.invalidArgument, "\(field) \"\(name)\" may hold only a–z A–Z 0–9 _ . - and not start with a dot")
    }
}

import Foundation
import Model
import NIOCore

/// An IP address. One of IPv4 is kept as ::ffff:a.b.c.d, so that the forms in which sockets and proxies show it are one.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// The first eight of 16 bytes, the first of them most significant.
    let high: UInt64
    let low: UInt64

    private init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    private init(v4: UInt32) { self.init(high: 0, low: 0xffff << 32 | UInt64(v4)) }

    private init(v6: in6_addr) {
        let bytes = unsafe withUnsafeBytes(of: v6) { unsafe Array($0) }
        let (high, low) = (Self.number(bytes[..<8]), Self.number(bytes[8...]))
        // Behind a translator all of IPv4 comes from this one /96: RFC 6052, 2.1.
        if high == 0x0064_ff9b << 32, low >> 32 == 0 { self.init(v4: UInt32(truncatingIfNeeded: low)) } else { self.init(high: high, low: low) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    /// - Parameter text: Of IPv4 in four decimal parts or of IPv6; with a zone, brackets or a port it is none.
    package init?(_ text: String) {
        guard text.utf8.count < 46, !text.utf8.contains(0) else { return nil }
        var (four, six) = (in_addr(), in6_addr())
        if unsafe inet_pton(AF_INET, text, &four) == 1 {
            self.init(v4: UInt32(bigEndian: four.s_addr))
        } else if unsafe inet_pton(AF_INET6, text, &six) == 1 {
            self.init(v6: six)
        } else {
            return nil
        }
    }

    /// `nil` for a socket without one.
    package init?(_ address: SocketAddress?) {
        switch address {
        case .v4(let address): self.init(v4: UInt32(bigEndian: address.address.sin_addr.s_addr))
        case .v6(let address): self.init(v6: address.address.sin6_addr)
        case .unixDomainSocket, nil: return nil
        }
    }

    package var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    /// What limits count as one client: an address of IPv4, of IPv6 its /64, of which a subscriber has at least one.
    package var client: IPAddress { isIPv4 ? self : IPAddress(high: high, low: 0) }

    /// The same with all bits behind the first `length` of 128 cleared.
    fileprivate func prefix(_ length: Int) -> IPAddress {
        IPAddress(high: high & ~(UInt64.max >> min(length, 64)), low: low & ~(UInt64.max >> max(length - 64, 0)))
    }

    package var description: String {
        if isIPv4 { return (0..<4).reversed().map { String(low >> (8 * $0) & 0xff) }.joined(separator: ".") }
        var bytes = in6_addr()
        unsafe withUnsafeMutableBytes(of: &bytes) { bytes in
            for index in 0..<16 { unsafe bytes[index] = UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> (56 - 8 * (index % 8))) }
        }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            unsafe inet_ntop(AF_INET6, &bytes, text.baseAddress!, socklen_t(text.count))
            return unsafe String(cString: text.baseAddress!)
        }
    }
}

/// One address, or all that begin alike: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
package struct IPAddressRange: Hashable, Sendable {
    package let first: IPAddress
    /// Of 128.
    private let length: Int

    /// - Throws: `invalidArgument` with what is wrong.
    package init(_ text: String) throws(ClusterError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let address = parts.first.flatMap(IPAddress.init) else {
            throw ClusterError(.invalidArgument, "expected an address like 10.0.0.7, or a range like 10.0.0.0/8, found \"\(text.prefix(64))\"")
        }
        let most = address.isIPv4 ? 32 : 128
        let bits = parts.count == 1 ? most : Int(parts[1]) ?? -1
        guard (0...most).contains(bits) else { throw ClusterError(.invalidArgument, "behind the / of \"\(text.prefix(64))\" must stand 0 to \(most)") }
        first = address.prefix(bits + 128 - most)
        length = bits + 128 - most
        guard first == address else {
            throw ClusterError(.invalidArgument, "\"\(text.prefix(64))\" has more bits than its range; \(first)/\(bits) is one")
        }
    }

    package func contains(_ address: IPAddress) -> Bool { address.prefix(length) == first }
}

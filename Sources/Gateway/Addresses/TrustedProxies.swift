/// The proxies whose word counts for whom they speak.
package struct TrustedProxies: Sendable {
    private let ranges: [IPAddressRange]

    package init(_ ranges: [IPAddressRange]) { self.ranges = ranges }

    package func contains(_ address: IPAddress) -> Bool { ranges.contains { $0.contains(address) } }

    /// Whose request it is: the other end of the connection, unless that is a trusted proxy. Then the last address in `X-Forwarded-For` that is no
    /// trusted proxy's. What stands before it is its own say; so is what stands before a word that is no address.
    ///
    /// - Parameter forwardedFor: The header's values in order, with commas between; addresses may have a port.
    package func client(of peer: IPAddress, forwardedFor: String?) -> IPAddress {
        guard contains(peer), let forwardedFor else { return peer }
        var client = peer
        for part in forwardedFor.split(separator: ",").reversed() {
            let word = part.trimmingSpaces
            if word.isEmpty { continue }
            guard let address = Self.address(word) else { break }
            client = address
            if !contains(address) { break }
        }
        return client
    }

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
    private static func address(_ word: String) -> IPAddress? {
        if let address = IPAddress(word) { return address }
        if word.hasPrefix("["), let end = word.firstIndex(of: "]") { return IPAddress(String(word[word.index(after: word.startIndex)..<end])) }
        return word.firstIndex(of: ":").flatMap { IPAddress(String(word[..<$0])) }
    }
}

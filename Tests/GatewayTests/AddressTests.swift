import Gateway
import Model
import NIOCore
import Testing

private let acme = try! TenantID("acme")
private let umbra = try! TenantID("umbra")
private func address(_ text: String) -> IPAddress { IPAddress(text)! }

@Suite("client addresses") struct IPAddressTests {
    @Test("every form of an address is one", arguments: [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("::FFFF:C000:0201", "192.0.2.1"), ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:0::1", "2001:db8::1"), ("::1", "::1"), ("::", "::"),
    ])
    func forms(text: String, shown: String) throws {
        #expect(address(text).description == shown)
        #expect(IPAddress(try SocketAddress(ipAddress: text, port: 80)) == address(shown))
    }

    @Test("what is no address", arguments: ["", "192.0.2", "192.0.2.256", "192.0.2.01", "1.2.3.4:80", "[::1]", "::1%lo", "fe80::1\u{0}", "localhost", "1.2.3.4 ", String(repeating: "1", count: 100)])
    func wrong(text: String) { #expect(IPAddress(text) == nil) }

    @Test("a client is an address of IPv4, a /64 of IPv6")
    func client() {
        #expect(address("192.0.2.1").client == address("192.0.2.1"))
        #expect(address("2001:db8:1:2:3:4:5:6").client == address("2001:db8:1:2::"))
        #expect(address("2001:db8:1:2::1").client != address("2001:db8:1:3::1").client)
    }

    @Test("ranges", arguments: [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "a00::"]), ("10.1.2.3", ["10.1.2.3"], ["10.1.2.2"]),
        ("0.0.0.0/0", ["1.2.3.4"], ["2001:db8::"]), ("::/0", ["1.2.3.4", "2001:db8::"], []), ("2001:db8::/33", ["2001:db8:7fff::1"], ["2001:db8:8000::"]),
        ("2001:db8::1", ["2001:db8::1"], ["2001:db8::2"]), ("2001:db8:0:0:8000::/65", ["2001:db8::8000:0:0:1"], ["2001:db8::1"]),
    ])
    func ranges(text: String, inside: [String], outside: [String]) throws {
        let range = try IPAddressRange(text)
        for text in inside { #expect(range.contains(address(text)), "\(text)") }
        for text in outside { #expect(!range.contains(address(text)), "\(text)") }
    }

    @Test("what is no range says why", arguments: [("10.0.0.0/33", "0 to 32"), ("::/129", "0 to 128"), ("10.0.0.1/8", "10.0.0.0/8 is one"), ("proxy", "\"proxy\""), ("10.0.0.0/", "0 to 32"), ("10.0.0.0/x", "0 to 32")])
    func wrongRange(text: String, words: String) {
        let error = #expect(throws: ClusterError.self) { try IPAddressRange(text) }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test("the last address that is no trusted proxy's is the client's", arguments: [
        ("10.0.0.1", nil, "10.0.0.1"), ("10.0.0.1", "192.0.2.1", "192.0.2.1"), ("10.0.0.1", "1.1.1.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "1.1.1.1, 192.0.2.1 ,10.0.0.2", "192.0.2.1"), ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"), ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1"), ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "192.0.2.1, unknown", "10.0.0.1"), ("10.0.0.1", "192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"), ("10.0.0.1", " , ,192.0.2.1,", "192.0.2.1"),
        ("192.0.2.9", "192.0.2.1", "192.0.2.9"), ("192.0.2.9", "10.0.0.1", "192.0.2.9"),
    ] as [(String, String?, String)])
    func forwarded(peer: String, header: String?, client: String) throws {
        let proxies = TrustedProxies([try IPAddressRange("10.0.0.0/8")])
        #expect(proxies.client(of: address(peer), forwardedFor: header) == address(client))
    }
}

@Suite("limits of addresses") struct AddressLimitsTests {
    private let start = ContinuousClock.now

    @Test("an address has its connections and no more, a /64 together, and leaves nothing behind")
    func connections() {
        let limits = AddressLimits(maximumConnections: 2)
        let (a, b) = (address("2001:db8::1"), address("2001:db8::2"))
        #expect(limits.enter(a) == .admitted && limits.enter(b) == .admitted)
        #expect(limits.enter(a) == .refused(isFirst: true) && limits.enter(b) == .refused(isFirst: false))
        #expect(limits.enter(address("2001:db8:0:1::1")) == .admitted && limits.enter(address("192.0.2.1")) == .admitted)
        limits.leave(b)
        #expect(limits.enter(a) == .admitted && limits.enter(a) == .refused(isFirst: false))
        for each in [a, a, address("2001:db8:0:1::9"), address("192.0.2.1")] { limits.leave(each) }
        #expect(limits.connectedCount == 0)
        #expect(limits.enter(a) == .admitted)
    }

    @Test("requests are admitted at their rate, and the wait is said")
    func requests() throws {
        let limits = AddressLimits(maximumConnections: 1, requests: AddressLimits.Rate(perSecond: 0.5, burst: 2))
        let own = address("192.0.2.1")
        for _ in 0..<2 { try limits.admitRequest(of: own, at: start) }
        let error = #expect(throws: RequestError.self) { try limits.admitRequest(of: own, at: start) }
        #expect(error?.status.code == 429 && error?.retryAfterSeconds == 2)
        try limits.admitRequest(of: address("192.0.2.2"), at: start)
        try limits.admitRequest(of: own, at: start + .seconds(2))
        #expect(throws: RequestError.self) { try limits.admitRequest(of: own, at: start + .seconds(3)) }
        // Whatever wrong keys did, none is counted without a limit.
        for _ in 0..<100 { #expect(throws: ClusterError.self) { try limits.caller(presenting: "x", from: own, in: try KeyRing([]), at: start) } }
    }

    @Test("after too many wrong keys only keys that were good from the address before are good, until the wrong ones are forgotten")
    func wrongKeys() throws {
        let keys = try KeyRing([KeyRing.Key(key: "used", tenant: acme, name: "used"), KeyRing.Key(key: "unused", tenant: umbra, name: "unused")])
        let limits = AddressLimits(maximumConnections: 1, wrongKeys: AddressLimits.Rate(perSecond: 3.0 / 60, burst: 3))
        let own = address("2001:db8::1")
        func status(_ key: String?, from address: IPAddress? = nil, after seconds: Double = 0) -> Int {
            do { _ = try limits.caller(presenting: key, from: address ?? own, in: keys, at: start + .seconds(seconds)) } catch { return Int(RequestError(error).status.code) }
            return 200
        }
        #expect(status("used") == 200)
        #expect((0..<5).map { status("wrong-\($0)") } == [401, 401, 401, 429, 429])
        #expect(status("unused") == 429 && status("used") == 200 && status(nil) == 401 && status("") == 401)
        #expect(status("wrong", from: address("2001:db8::ffff")) == 429)
        #expect(status("unused", from: address("2001:db8:0:1::1")) == 200)
        // One wrong key is forgotten every 20 s; those that were not looked at have not put it off.
        #expect(status("unused", after: 19.9) == 429 && status("unused", after: 20) == 200)
        #expect(status("wrong", after: 20) == 401 && status("wrong", after: 20) == 429)
        // The key has been good from here by now.
        #expect(status("unused", after: 20) == 200)
        // A right key never counts.
        for _ in 0..<100 { #expect(status("unused", after: 100) == 200) }
        #expect((0..<4).map { _ in status("wrong", after: 100) } == [401, 401, 401, 429])
        let open = AddressLimits(maximumConnections: 1, wrongKeys: AddressLimits.Rate(perSecond: 1, burst: 1))
        for _ in 0..<3 { #expect(try open.caller(presenting: "x", from: own, in: .open, at: start).tenant == .default) }
    }

    @Test("a key that was taken away is good nowhere, a new one of the same name where the old one was")
    func reload() throws {
        let limits = AddressLimits(maximumConnections: 1, wrongKeys: AddressLimits.Rate(perSecond: 1e-6, burst: 1))
        let own = address("192.0.2.1")
        let (before, after) = (try KeyRing([KeyRing.Key(key: "old", tenant: acme, name: "a")]), try KeyRing([KeyRing.Key(key: "new", tenant: acme, name: "a")]))
        _ = try limits.caller(presenting: "old", from: own, in: before, at: start)
        #expect(throws: ClusterError.self) { try limits.caller(presenting: "wrong", from: own, in: before, at: start) }
        #expect(throws: RequestError.self) { try limits.caller(presenting: "old", from: own, in: after, at: start) }
        #expect(try limits.caller(presenting: "new", from: own, in: after, at: start).keyName == "a")
    }

    @Test("a flood of addresses takes bounded memory, and the worst stay known")
    func memory() throws {
        let keys = try KeyRing([KeyRing.Key(key: "good", tenant: acme, name: "good")])
        let limits = AddressLimits(
            maximumConnections: 1, requests: AddressLimits.Rate(perSecond: 1e-3, burst: 10), wrongKeys: AddressLimits.Rate(perSecond: 1e-3, burst: 10))
        let worst = address("2001:db8::1")
        for _ in 0..<10 {
            try limits.admitRequest(of: worst, at: start)
            #expect(throws: ClusterError.self) { try limits.caller(presenting: "wrong", from: worst, in: keys, at: start) }
        }
        for index in 0..<3 * AddressLimits.maximumRemembered {
            let own = address("2001:db8:\(String(index >> 16 + 1, radix: 16)):\(String(index & 0xffff, radix: 16))::1")
            try? limits.admitRequest(of: own, at: start)
            _ = try? limits.caller(presenting: "wrong", from: own, in: keys, at: start)
            _ = try? limits.caller(presenting: "good", from: own, in: keys, at: start + .seconds(index))
        }
        let counts = limits.rememberedCounts
        for count in [counts.requests, counts.wrongKeys, counts.usedKeys] { #expect((1...AddressLimits.maximumRemembered).contains(count)) }
        #expect(throws: RequestError.self) { try limits.admitRequest(of: worst, at: start) }
        #expect(throws: RequestError.self) { try limits.caller(presenting: "wrong", from: worst, in: keys, at: start) }
    }
}

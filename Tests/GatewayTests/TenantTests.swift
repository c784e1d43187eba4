import Foundation
import Gateway
import Model
import Testing

private let acme = try! TenantID("acme")
private let umbra = try! TenantID("umbra")

@Suite("keys") struct KeyRingTests {
    @Test("a key names its tenant, its role and itself, and nothing else opens")
    func callers() throws {
        let ring = try KeyRing([
            KeyRing.Key(key: "secret", tenant: acme, name: "backend", role: .write), KeyRing.Key(key: "root", tenant: .default, isOperator: true),
        ])
        let caller = try ring.caller(presenting: "secret")
        #expect(caller.tenant == acme && caller.keyName == "backend" && caller.role == .write && !caller.isOperator)
        let root = try ring.caller(presenting: "root")
        #expect(root.tenant == .default && root.isOperator && root.role == .admin && root.keyName.hasPrefix("sha256-"))
        for wrong in [nil, "", "Secret", "secret ", "secre"] as [String?] {
            let error = #expect(throws: ClusterError.self) { try ring.caller(presenting: wrong) }
            #expect(error?.code == .unauthenticated)
        }
    }

    @Test("without keys everyone is the default tenant; a ring without a key lets nobody in")
    func open() throws {
        #expect(try KeyRing.open.caller(presenting: nil).tenant == .default)
        #expect(try KeyRing.open.caller(presenting: "anything").tenant == .default)
        #expect(throws: ClusterError.self) { try KeyRing([]).caller(presenting: nil) }
        #expect(throws: ClusterError.self) { try KeyRing([]).caller(presenting: "anything") }
    }

    @Test("a key is good until its end")
    func end() throws {
        let end = Date(timeIntervalSince1970: 1_000)
        let ring = try KeyRing([KeyRing.Key(key: "secret", tenant: acme, name: "old", expiresAt: end)])
        #expect(try ring.caller(presenting: "secret", at: end - 0.001).tenant == acme)
        let error = #expect(throws: ClusterError.self) { try ring.caller(presenting: "secret", at: end) }
        #expect(error?.code == .unauthenticated && error?.message.contains("old, ended at 1970-01-01T00:16:40Z") == true)
    }

    @Test("hashes are read as sha256sum prints them; one key cannot stand twice")
    func hashes() throws {
        let key = try KeyRing.Key(sha256: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", tenant: acme)
        #expect(try KeyRing([key]).caller(presenting: "secret").tenant == acme)
        for text in ["", "zz", String(repeating: "g", count: 64), String(repeating: "a", count: 63)] {
            #expect(throws: ClusterError.self) { try KeyRing.Key(sha256: text, tenant: acme) }
        }
        #expect(throws: ClusterError.self) { try KeyRing([key, KeyRing.Key(key: "secret", tenant: umbra)]) }
        #expect(throws: ClusterError.self) { try KeyRing([key, KeyRing.Key(key: "secret", tenant: acme)]) }
    }

    @Test("ten thousand keys are each found")
    func many() throws {
        let ring = try KeyRing((0..<10_000).map { KeyRing.Key(key: "key-\($0)", tenant: try TenantID("t\($0 % 100)"), name: "\($0)") })
        for index in stride(from: 0, to: 10_000, by: 97) { #expect(try ring.caller(presenting: "key-\(index)").keyName == "\(index)") }
        #expect(ring.tenants.count == 100)
    }
}

@Suite("scopes of keys") struct CollectionScopeTests {
    private func name(_ text: String) throws -> CollectionName { try CollectionName(text) }

    @Test("names are contained as they are, beginnings with everything behind them")
    func contains() throws {
        let scope = try CollectionScope(["docs", "logs-*"])
        for text in ["docs", "logs-", "logs-2026"] { #expect(scope.contains(try name(text))) }
        for text in ["doc", "docs2", "Docs", "logs", "my-logs-1"] { #expect(!scope.contains(try name(text))) }
        #expect(CollectionScope.all.contains(try name("anything")))
    }

    @Test("a scope covers another exactly if it contains all of its names", arguments: [1, 2, 3] as [UInt64])
    func covers(seed: UInt64) throws {
        var state = seed
        func draw(_ count: UInt64) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % count)
        }
        // Names of at most three letters of two; a beginning that a scope has no shorter one of is met by one more letter than all patterns have.
        let names = (1...5).flatMap { length in (0..<(1 << length)).map { bits in String((0..<length).map { bits >> $0 & 1 == 0 ? "a" : "b" }) } }
        for _ in 0..<2_000 {
            let scopes = try (0..<2).map { _ in
                try CollectionScope((0...draw(3)).map { _ in names[draw(14)] + (draw(2) == 0 ? "*" : "") })
            }
            let others = try names.map(name).filter(scopes[1].contains)
            // "a*" is more than "a", "aa*" and "ab*" together: names of other letters.
            let isCovered = others.allSatisfy(scopes[0].contains)
                && scopes[1].patterns!.filter { $0.hasSuffix("*") }.allSatisfy { scopes[0].contains(try! name($0.dropLast() + "c")) }
            #expect(scopes[0].covers(scopes[1]) == isCovered, "\(scopes)")
        }
        let some = try CollectionScope(["a"])
        #expect(CollectionScope.all.covers(some) && CollectionScope.all.covers(.all) && !some.covers(.all))
    }

    @Test("what names no collection is refused", arguments: [[], [""], ["*"], ["a*b"], ["a**"], [".a"], ["a b"], (0...256).map { "n\($0)" }])
    func wrong(patterns: [String]) {
        let error = #expect(throws: ClusterError.self) { try CollectionScope(patterns) }
        #expect(error?.code == .invalidArgument)
    }
}

@Suite("admission") struct AdmissionGateTests {
    @Test("the gate refuses beyond its bounds and forgets who has left")
    func bounds() throws {
        let gate = AdmissionGate(limit: 4, limitPerTenant: 2)
        var passes = [try gate.enter(acme), try gate.enter(acme)]
        let share = #expect(throws: RequestError.self) { _ = try gate.enter(acme) }
        #expect(share?.status.code == 429 && share?.retryAfterSeconds == 1)
        passes.append(try gate.enter(umbra))
        #expect(gate.inside == 3)
        passes.removeAll()
        #expect(gate.inside == 0)
        _ = try gate.enter(acme)
    }

    @Test("tenants that flood leave room for those who ask little")
    func fairness() throws {
        let gate = AdmissionGate(limit: 90, limitPerTenant: 90)
        var passes: [AdmissionGate.Pass] = []
        func flood(_ tenant: TenantID) -> Int {
            var count = 0
            while let pass = try? gate.enter(tenant) {
                passes.append(pass)
                count += 1
            }
            return count
        }
        #expect(flood(acme) == 45)
        #expect(flood(umbra) >= 22)
        passes.append(try gate.enter(.default))
    }

    @Test("a tenant's own limit stands in place of the common one; alone without keys one takes all")
    func ownLimit() throws {
        let gate = AdmissionGate(limit: 8, limitPerTenant: 3)
        var passes = [try gate.enter(acme, ownLimit: 1)]
        #expect(throws: RequestError.self) { passes.append(try gate.enter(acme, ownLimit: 1)) }
        let open = AdmissionGate(limit: 2, limitPerTenant: nil)
        passes += [try open.enter(.default), try open.enter(.default)]
        let full = #expect(throws: RequestError.self) { passes.append(try open.enter(.default)) }
        #expect(full?.status.code == 503 && full?.retryAfterSeconds == 1)
    }
}

@Suite("rates") struct TokenBucketsTests {
    private let start = ContinuousClock.now

    @Test("a bucket gives what it holds at once, then what its rate brings")
    func bucket() {
        let buckets = TokenBuckets<TenantID>()
        func take(at seconds: Double) -> RateVerdict { buckets.take(acme, rate: 2, burst: 3, at: start + .seconds(seconds)) }
        #expect((0..<3).map { _ in take(at: 0) }.map(\.remaining) == [2, 1, 0])
        let empty = take(at: 0)
        #expect(!empty.isAdmitted && empty.untilNext == .seconds(0.5) && empty.untilFull == .seconds(1.5) && empty.limit == 3)
        #expect(!take(at: 0.4).isAdmitted)
        #expect(take(at: 0.5).isAdmitted)
        #expect(!take(at: 0.6).isAdmitted)
        // No more than the bucket holds, however long the pause; and a clock that jumps back takes nothing away.
        #expect((0..<4).map { _ in take(at: 100) }.map(\.isAdmitted) == [true, true, true, false])
        #expect(!take(at: 50).isAdmitted)
        #expect(buckets.take(umbra, rate: 2, burst: 3, at: start).remaining == 2)
    }

    @Test("over any time no more get in than the bucket and the rate allow")
    func bound() {
        let buckets = TokenBuckets<TenantID>()
        var random = SystemRandomNumberGenerator()
        var now = 0.0
        var admitted = 0
        for _ in 0..<10_000 {
            now += Double.random(in: 0...0.01, using: &random)
            if buckets.take(acme, rate: 20, burst: 7, at: start + .seconds(now)).isAdmitted { admitted += 1 }
            #expect(Double(admitted) <= 7 + 20 * now + 1e-6)
        }
        #expect(Double(admitted) >= 20 * now - 1)
    }

    @Test("looking takes nothing and remembers nothing")
    func look() {
        let buckets = TokenBuckets<TenantID>()
        for _ in 0..<5 { #expect(buckets.take(acme, tokens: 0, rate: 1, burst: 2, at: start).isAdmitted) }
        #expect(buckets.count == 0)
        _ = (0..<2).map { _ in buckets.take(acme, rate: 1, burst: 2, at: start) }
        let empty = buckets.take(acme, tokens: 0, rate: 1, burst: 2, at: start + .seconds(0.5))
        #expect(!empty.isAdmitted && empty.untilNext == .seconds(0.5))
        #expect(buckets.take(acme, tokens: 0, rate: 1, burst: 2, at: start + .seconds(1)).isAdmitted)
    }

    @Test("beyond a number of owners those that are nearest to full are forgotten, the emptiest stay")
    func mostOwners() throws {
        let buckets = TokenBuckets<Int>(maximumCount: 1_000)
        for _ in 0..<100 { _ = buckets.take(-1, rate: 0.001, burst: 100, at: start) }
        for owner in 0..<50_000 {
            _ = buckets.take(owner, rate: 0.001, burst: 100, at: start)
            #expect(buckets.count <= 1_000)
        }
        #expect(!buckets.take(-1, rate: 0.001, burst: 100, at: start).isAdmitted)
    }

    @Test("tenants that asked long ago take no memory")
    func memory() throws {
        let buckets = TokenBuckets<TenantID>()
        for index in 0..<20_000 { _ = buckets.take(try TenantID("t\(index)"), rate: 1, burst: 1, at: start + .seconds(index)) }
        #expect(buckets.count <= 2_048)
    }
}

@Suite("roles of routes") struct RouteRuleTests {
    @Test(
        "reads, writes and the rest",
        arguments: [
            ("GET", "/collections/a", AccessRole.read, nil), ("POST", "/collections/a/points/query", .read, nil), ("PUT", "/collections/a/points", .write, nil),
            ("POST", "/collections/a/points/delete", .write, "points.delete"), ("DELETE", "/collections/a", .admin, "collection.drop"),
            ("DELETE", "//collections//a/", .admin, "collection.drop"), ("POST", "/v1/chat/completions", .read, nil),
            ("POST", "/v1/vector_stores", .admin, "collection.create"), ("POST", "/anything", .admin, nil), ("DELETE", "/v1/files/f", .write, "file.delete"),
        ] as [(String, String, AccessRole, String?)])
    func rules(method: String, path: String, role: AccessRole, event: String?) {
        let rule = RouteRule(method: method, path: path)
        #expect(rule.role == role && rule.event == event)
    }

    @Test("names of the path are decoded")
    func object() {
        let rule = RouteRule(method: "DELETE", path: "/collections/a%20b/snapshots/c")
        #expect(rule.object.map(\.name) == ["collection", "snapshot"] && rule.object.map(\.value) == ["a b", "c"])
    }
}

@Suite("limits of tenants") struct TenantLimitsTests {
    @Test("a tenant's own limits stand before the common ones; a rate of its own brings its own bucket")
    func over() throws {
        var (own, common) = (TenantLimits(), TenantLimits())
        common.requestsPerSecond = 10
        common.burst = 50
        common.points = 7
        own.points = 9
        #expect(own.over(common).points == 9 && own.over(common).burst == 50)
        own.requestsPerSecond = 1
        #expect(own.over(common).requestsPerSecond == 1 && own.over(common).burst == nil)
        let directory = TenantDirectory(TenantDirectory.Contents(keys: .open, limits: [acme: own], defaults: common))
        #expect(directory.limits(of: acme).points == 9 && directory.limits(of: umbra).points == 7)
    }
}

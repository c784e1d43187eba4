import Foundation
import Storage
import Synchronization
import TestServers
import Testing

import S3Store

/// A service that answers what the test says: errors that a real one gives once a month.
@Suite("an S3 store and a service that fails")
struct RetryTests {
    private func store(at url: String, prefix: String = "", attempts: Int = 3, readCredentials: (@Sendable () throws -> S3Credentials)? = nil) throws -> S3ObjectStore {
        let folder = FileManager.default.temporaryDirectory.path + "/covey-s3-\(UInt64.random(in: .min ... .max))"
        var configuration = S3Configuration(
            endpoint: url, bucket: "bucket", prefix: prefix, credentials: S3Credentials(accessKey: "A", secretKey: "S"), cacheFolder: folder)
        configuration.firstPause = .milliseconds(1)
        configuration.attempts = attempts
        configuration.readCredentials = readCredentials
        return try S3ObjectStore(configuration)
    }

    private func error(_ code: String, _ status: Int) -> StubServer.Reply {
        StubServer.Reply(text: "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>words</Message></Error>", status: status, contentType: "application/xml")
    }
    private let done = StubServer.Reply(text: "")

    @Test(
        "errors that may pass are asked again",
        arguments: [(500, "InternalError"), (502, ""), (503, "SlowDown"), (503, "ServiceUnavailable"), (504, ""), (429, "TooManyRequests"), (400, "RequestTimeout"), (409, "ConditionalRequestConflict")])
    func repeats(status: Int, code: String) async throws {
        let server = try await StubServer([error(code, status), error(code, status), done])
        try await store(at: server.url).put("k", [1], ifAbsent: true)
        #expect(server.requests.map(\.body) == [[1], [1], [1]])
        #expect(server.requests.allSatisfy { $0.head.lowercased().contains("if-none-match: *") })
    }

    @Test("other errors are told at once, with endpoint, status and the service's words", arguments: [(403, "SignatureDoesNotMatch"), (404, "NoSuchBucket"), (400, "InvalidRequest")])
    func refuses(status: Int, code: String) async throws {
        let server = try await StubServer([error(code, status)])
        let thrown = await #expect(throws: StoreError.self) { try await store(at: server.url).get("k") }
        guard case .unavailable(let reason) = thrown else { throw thrown! }
        for word in [server.url, "\(status)", code, "words"] { #expect(reason.contains(word), "\(reason)") }
        #expect(server.requests.count == 1)
    }

    @Test("a 404 of something in front of the service is no missing object")
    func notTheService() async throws {
        let server = try await StubServer((0..<2).map { _ in StubServer.Reply(text: "404 page not found", status: 404, contentType: "text/plain") } + [error("NoSuchKey", 404)])
        for _ in 0..<2 {
            let thrown = await #expect(throws: StoreError.self) { try await store(at: server.url).get("k") }
            guard case .unavailable = thrown else { throw thrown! }
        }
        await #expect(throws: StoreError.notFound(key: "k")) { try await store(at: server.url).get("k") }
    }

    @Test("after as many attempts as allowed the outcome is unknown, never failed")
    func givesUp() async throws {
        let server = try await StubServer((0..<3).map { _ in error("InternalError", 500) })
        let thrown = await #expect(throws: StoreError.self) { try await store(at: server.url).put("k", [1], ifAbsent: true) }
        guard case .unavailable = thrown else { throw thrown! }
        #expect(server.requests.count == 3)
    }

    @Test("a create-only put whose first attempt had taken effect is a success (H5)", arguments: [false, true])
    func ownBytes(connectionBreaks: Bool) async throws {
        let lost = connectionBreaks ? StubServer.Reply(raw: "") : error("InternalError", 500)
        let server = try await StubServer([lost, error("PreconditionFailed", 412), StubServer.Reply(text: "mine")])
        try await store(at: server.url).put("k", Array("mine".utf8), ifAbsent: true)
        #expect(server.requests.map(\.method) == ["PUT", "PUT", "GET"])
    }

    @Test("a create-only put that meets another's object after a lost reply has lost")
    func foreignBytes() async throws {
        let server = try await StubServer([error("InternalError", 500), error("PreconditionFailed", 412), StubServer.Reply(text: "theirs")])
        await #expect(throws: StoreError.alreadyExists(key: "k")) { try await store(at: server.url).put("k", Array("mine".utf8), ifAbsent: true) }
    }

    @Test("a create-only put that is refused at once has lost, whatever the bytes")
    func firstAttempt() async throws {
        let server = try await StubServer([error("PreconditionFailed", 412)])
        await #expect(throws: StoreError.alreadyExists(key: "k")) { try await store(at: server.url).put("k", Array("mine".utf8), ifAbsent: true) }
        #expect(server.requests.count == 1)
    }

    @Test("an object that is gone when it should decide decides nothing (H6)")
    func vanished() async throws {
        let server = try await StubServer([error("InternalError", 500), error("PreconditionFailed", 412), error("NoSuchKey", 404)])
        let thrown = await #expect(throws: StoreError.self) { try await store(at: server.url).put("k", [1], ifAbsent: true) }
        guard case .unavailable = thrown else { throw thrown! }
    }

    @Test("a clock that is wrong is set by the service's")
    func clock() async throws {
        let skewed = StubServer.Reply(
            raw: "HTTP/1.1 403 Forbidden\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 57\r\nconnection: close\r\n\r\n<Error><Code>RequestTimeTooSkewed</Code></Error>         ")
        let server = try await StubServer([skewed, done])
        try await store(at: server.url).put("k", [1], ifAbsent: false)
        #expect(server.requests[1].head.contains("x-amz-date: 19941106T08"))
    }

    @Test("credentials that the service no longer takes are read anew, once a request", arguments: [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch")])
    func replacedCredentials(status: Int, code: String) async throws {
        let server = try await StubServer([error(code, status), done, done, error(code, status)])
        let store = try store(at: server.url) { S3Credentials(accessKey: "B", secretKey: "T", sessionToken: "token") }
        for _ in 0..<2 { try await store.put("k", [1], ifAbsent: false) }
        #expect(server.requests.map { $0.head.contains("Credential=A/") } == [true, false, false])
        #expect(server.requests.map { $0.head.contains("x-amz-security-token: token") } == [false, true, true])
        // Those at hand are the newest: the refusal is told.
        await #expect(throws: StoreError.self) { try await store.put("k", [1], ifAbsent: false) }
        #expect(server.requests.count == 4)
    }

    @Test("credentials that cannot be read leave those at hand, and the service's refusal")
    func unreadableCredentials() async throws {
        let server = try await StubServer([error("ExpiredToken", 400), done])
        let store = try store(at: server.url) { throw S3ConfigurationError("gone") }
        let thrown = await #expect(throws: StoreError.self) { try await store.put("k", [1], ifAbsent: false) }
        #expect("\(thrown!)".contains("ExpiredToken"))
        try await store.put("k", [1], ifAbsent: false)
        #expect(server.requests.allSatisfy { $0.head.contains("Credential=A/") })
    }

    @Test("replies that are no S3 are refused", arguments: ["", "<ListBucketResult>", "{}", "<a/>", "<!DOCTYPE a [<!ENTITY e \"x\">]><ListBucketResult/>", "<ListBucketResult><Contents><Key>other/k</Key></Contents></ListBucketResult>", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"])
    func malformed(reply: String) async throws {
        let server = try await StubServer([StubServer.Reply(text: reply)])
        await #expect(throws: StoreError.self) { try await store(at: server.url).list(prefix: "p/", after: nil, limit: 10) }
    }

    @Test("a service that ignores the condition is refused, named, and left clean")
    func probe() async throws {
        let server = try await StubServer { request in
            StubServer.Reply(text: request.method == "POST" ? "<DeleteResult/>" : "")
        }
        let thrown = await #expect(throws: S3Refusal.self) { try await store(at: server.url).verify() }
        for word in [server.url, "bucket", "status 200 instead of 412"] { #expect("\(thrown!)".contains(word), "\(thrown!)") }
        let last = try #require(server.requests.last)
        let probes = Set(server.requests.filter { $0.method == "PUT" }.map { $0.path.replacing("/bucket/", with: "") })
        #expect(last.method == "POST" && probes.count == 2 && probes.allSatisfy { String(decoding: last.body, as: UTF8.self).contains("<Key>\($0)</Key>") })
    }

    @Test("a service that lets two create-only puts win that come together, or none, is refused (H25)", arguments: [2, 20, 0])
    func racers(winners: Int) async throws {
        let puts = Mutex(0)
        let server = try await StubServer { [error] request in
            guard request.method == "PUT" else { return StubServer.Reply(text: "") }
            let before = puts.withLock { puts in
                defer { puts += 1 }
                return puts
            }
            return before < winners ? StubServer.Reply(text: "") : error("PreconditionFailed", 412)
        }
        let thrown = await #expect(throws: S3Refusal.self) { try await store(at: server.url).verifyRace() }
        #expect("\(thrown!)".contains("let \(winners) of 20 create-only puts of one key win"), "\(thrown!)")
        #expect(server.requests.last?.method == "DELETE")
    }

    /// A bucket of Amazon's, by what it answers to each question.
    private func warnings(_ settings: [String: String], prefix: String = "") async throws -> [String] {
        let server = try await StubServer { [error] request in
            let name = String(request.path.split(separator: "?").last!.split(separator: "=")[0])
            return settings[name].map { StubServer.Reply(text: $0) } ?? error("NoSuchConfiguration", 404)
        }
        return try await store(at: server.url, prefix: prefix).bucketWarnings()
    }

    @Test("settings of a bucket that are at odds with a store are named")
    func bucketSettings() async throws {
        #expect(try await warnings([:]).isEmpty)
        #expect(try await warnings(["versioning": "<VersioningConfiguration/>", "lifecycle": "<html>", "object-lock": ""]).isEmpty)
        func versioning(_ status: String) -> [String: String] { ["versioning": "<VersioningConfiguration><Status>\(status)</Status></VersioningConfiguration>"] }
        #expect(try await warnings(versioning("Enabled")).first?.contains("bucket keeps old versions") ?? false)
        #expect(try await warnings(versioning("Suspended")).first?.contains("suspended") ?? false)
        let lock = ["object-lock": "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"]
        #expect(try await warnings(lock).first?.contains("locked cannot be erased") ?? false)
        let copy = ["replication": "<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status><Priority>1</Priority></Rule></ReplicationConfiguration>"]
        #expect(try await warnings(copy).first?.contains("copied to another") ?? false)
    }

    @Test(
        "a lifecycle rule is told of if it ends objects of the store",
        arguments: [
            ("<Status>Enabled</Status><Filter><Prefix></Prefix></Filter><Expiration><Days>30</Days></Expiration>", true),
            ("<Status>Enabled</Status><Prefix>covey</Prefix><Expiration><Date>2027-01-01T00:00:00Z</Date></Expiration>", true),
            ("<Status>Enabled</Status><Filter><Prefix>covey/prod/0a1b/</Prefix></Filter><Expiration><Days>1</Days></Expiration>", true),
            ("<Status>Enabled</Status><Filter><And><Prefix>covey/</Prefix><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter><Expiration><Days>1</Days></Expiration>", true),
            ("<Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>30</Days></Expiration>", false),
            ("<Status>Disabled</Status><Filter/><Expiration><Days>30</Days></Expiration>", false),
            ("<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Expiration><Days>30</Days></Expiration>", false),
            ("<Status>Enabled</Status><Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>", false),
            ("<Status>Enabled</Status><Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", false),
            ("<Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>", false),
        ])
    func lifecycle(rule: String, isDanger: Bool) async throws {
        let found = try await warnings(["lifecycle": "<LifecycleConfiguration><Rule><ID>old</ID>\(rule)</Rule></LifecycleConfiguration>"], prefix: "covey/prod")
        #expect(found.map { $0.contains("\"old\"") && $0.contains("DATA WILL BE LOST") } == (isDanger ? [true] : []))
    }

    @Test("pauses double up to a bound and are spread over all of it", arguments: [1, 2, 3] as [UInt64])
    func pauses(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for (attempt, bound) in [(1, 100), (2, 200), (3, 400), (6, 3_000), (60, 3_000)] {
            let pauses = (0..<200).map { _ in RetryRule.pause(after: attempt, first: .milliseconds(100), longest: .seconds(3), random: &random) }
            #expect(pauses.allSatisfy { $0 >= .zero && $0 <= .milliseconds(bound) })
            #expect(pauses.min()! < .milliseconds(bound) * 0.2 && pauses.max()! > .milliseconds(bound) * 0.8)
        }
    }
}

struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 32) | (state << 32)
    }
}

import Foundation
import S3Store
import Storage
import Testing

/// What only a real server can show. `ObjectStoreTests` runs its whole list there too.
@Suite(
    "S3 on a real server",
    .enabled(if: StoreKind.s3Endpoint != nil, "SKIPPED ALOUD: no S3 server; `cluster/test` starts one, or see cluster/seaweedfs and set COVEY_STORE_ENDPOINT"))
struct S3ServerTests {
    private func store(prefix: String, secret: String? = nil) throws -> S3ObjectStore {
        try StoreKind.makeS3(root: FileManager.default.temporaryDirectory.path + "/covey-s3-\(UInt64.random(in: .min ... .max))", prefix: prefix, secret: secret)
    }

    @Test("honours the condition, and the probe leaves nothing behind")
    func probe() async throws {
        let store = try store(prefix: "probe-\(UInt64.random(in: .min ... .max))")
        try await store.verify()
        try await store.verifyRace()
        #expect(try await store.listAll(prefix: "").isEmpty)
    }

    @Test("a wrong secret is refused with the service's reason")
    func wrongSecret() async throws {
        let thrown = await #expect(throws: StoreError.self) { try await store(prefix: "x", secret: "wrong").verify() }
        #expect("\(thrown!)".contains("SignatureDoesNotMatch") && "\(thrown!)".contains(StoreKind.s3Endpoint!))
    }

    @Test("two stores see each other's objects at once, but not beyond their prefix")
    func prefixes() async throws {
        let prefix = "p-\(UInt64.random(in: .min ... .max))"
        let (inner, outer) = (try store(prefix: prefix), try store(prefix: ""))
        try await inner.put("k", [1], ifAbsent: true)
        #expect(try await outer.get("\(prefix)/k") == [1])
        #expect(try await inner.listAll(prefix: "") == ["k"])
        try await inner.delete("k")
    }
}

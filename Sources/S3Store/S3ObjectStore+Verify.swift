import Foundation
import OutboundHTTP
import Storage

/// Why a service cannot keep a store.
package struct S3Refusal: Error, CustomStringConvertible {
    package let description: String
}

extension S3ObjectStore {
    private static let racers = 20

    /// Tries out what the cluster's safety rests on: that a create-only put of a key that exists is refused and changes nothing, that
    /// what was put is read and listed at once, in order (protocol, H25). Leaves nothing behind. Eight requests. See ``verifyRace()``, too.
    ///
    /// - Throws: ``S3Refusal`` naming endpoint and bucket and what it answered; ``StoreError`` if it cannot be reached or refuses the credentials.
    package func verify() async throws {
        let folder = "covey-probe/\(String(UInt64.random(in: .min ... .max), radix: 16))"
        let keys = ["\(folder)/1", "\(folder)/2"]
        defer { cache.remove(keys[0]) }
        do {
            for key in keys { try await put(key, Array("first".utf8), ifAbsent: true) }
            try await verifyCreateOnly(keys[0])
            let listed = try await list(prefix: folder + "/", after: nil, limit: 10)
            guard listed == keys else { throw refusal("listed \(listed) where \(keys) had just been put") }
            let rest = try await list(prefix: folder + "/", after: keys[0], limit: 10)
            guard rest == [keys[1]] else { throw refusal("listed \(rest) after \(keys[0]), where \(keys[1]) follows") }
        } catch {
            try? await delete(keys)
            throw error
        }
        try await delete(keys)
    }

    /// Tries out that of 20 create-only puts of one key that come together one wins (protocol, H25): a service may look first and write later,
    /// which ``verify()`` does not notice. Leaves nothing behind. 22 requests; SeaweedFS lets those that lose wait for up to eleven seconds.
    ///
    /// - Throws: As ``verify()``.
    package func verifyRace() async throws {
        let key = "covey-probe/\(String(UInt64.random(in: .min ... .max), radix: 16))/race"
        do {
            let winners = try await winners(of: key)
            guard winners.count == 1 else {
                throw refusal("let \(winners.count) of \(Self.racers) create-only puts of one key win that came together: two nodes could both own a shard")
            }
            guard try await get(key) == winners[0] else { throw refusal("told one of \(Self.racers) create-only puts that it won, and keeps another's object") }
        } catch {
            try? await delete([key])
            throw error
        }
        try await delete([key])
    }

    private func winners(of key: String) async throws -> [[UInt8]] {
        try await withThrowingTaskGroup(of: [UInt8]?.self) { racers in
            for racer in 0..<Self.racers {
                racers.addTask {
                    let bytes = Array("racer \(racer)".utf8)
                    do throws(StoreError) { try await self.put(key, bytes, ifAbsent: true) } catch {
                        if case .alreadyExists = error { return nil }
                        throw error
                    }
                    return bytes
                }
            }
            return try await racers.reduce(into: []) { winners, bytes in if let bytes { winners.append(bytes) } }
        }
    }

    private func verifyCreateOnly(_ key: String) async throws {
        let again = S3Request(method: .put, object: try name(of: key), headers: [("if-none-match", "*")], body: Array("second".utf8))
        do throws(S3Failure) {
            let reply = try await client.send(again)
            throw S3Failure(status: reply.status, description: "", mayHaveTakenEffect: false)
        } catch {
            guard error.status != 412 else { return try await verifyUnchanged(key) }
            guard (200..<300).contains(error.status) else { throw storeError(error, key: key) }
            throw refusal("answered a put with If-None-Match: * on an object that exists with status \(error.status) instead of 412: it ignores the condition, and two nodes could both own a shard")
        }
    }

    private func verifyUnchanged(_ key: String) async throws {
        let found = try await get(key)
        guard found == Array("first".utf8) else { throw refusal("answered 412 to a create-only put and stored it nevertheless") }
    }

    private func refusal(_ reason: String) -> S3Refusal {
        S3Refusal(description: "\(configuration.endpoint) (bucket \(configuration.bucket)) \(reason)")
    }
}

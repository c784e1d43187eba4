import Foundation
import HTTPTypes
import Hummingbird
import Model

/// What a client names a write with, so that it takes effect once, however often it is sent: the header `Idempotency-Key`
/// (draft-ietf-httpapi-idempotency-key-header), 1 to 128 visible ASCII characters, in quotation marks or not.
///
/// A UUID of version 7 is best: it says when it was made, so that a shard refuses it once it no longer remembers whether it was applied.
enum IdempotencyKey {
    /// How far a key's clock may be ahead of this one. Reason: clocks differ by seconds; when such a key is forgotten, none that is older is taken any more.
    private static let mostAhead: TimeInterval = 60

    /// - Throws: 400 if it is none, or was made in the future.
    static func take(from request: Request) throws(RequestError) -> Model.RequestID? {
        guard var key = request.headers[.idempotencyKey] else { return nil }
        if key.count >= 2, key.hasPrefix("\""), key.hasSuffix("\"") { key = String(key.dropFirst().dropLast()) }
        guard Model.RequestID.accepts(key) else {
            throw .invalid("Idempotency-Key", "Idempotency-Key must be 1 to \(Model.RequestID.maximumLength) visible ASCII characters, found \(key.utf8.count) bytes: \"\(key.prefix(64))\"")
        }
        let id = Model.RequestID(key)
        if let time = id.time {
            let ahead = Double(time) / 1_000 - Date().timeIntervalSince1970
            guard ahead <= mostAhead else {
                throw .invalid("Idempotency-Key", "Idempotency-Key \(key) was made \(Int(ahead)) seconds from now, the limit is \(Int(mostAhead))")
            }
        }
        return id
    }
}

extension HTTPField.Name {
    static let idempotencyKey = Self("idempotency-key")!
}

import Foundation
import Model
import Storage

/// Which API keys are good, and whose they are. Keys themselves are not kept, only their SHA-256.
///
/// Keys are meant to be random (128 bits and more), so a plain hash gives nothing away that a slow one would keep.
package struct KeyRing: Sendable {
    package struct Key: Sendable {
        let hash: [UInt8]
        package let tenant: TenantID
        /// What the audit log calls it.
        package let name: String
        package let role: AccessRole
        /// What it may touch of the tenant's.
        package let collections: CollectionScope
        /// May read `/metrics`, which shows figures of all tenants.
        package let isOperator: Bool
        /// From then on it is good no more.
        package let expiresAt: Date?

        /// - Parameters:
        ///   - sha256: 64 hexadecimal digits: `printf %s KEY | sha256sum`.
        ///   - name: By default the hash's first digits.
        /// - Throws: `invalidArgument` for anything else; the digits are not repeated.
        package init(
            sha256: String, tenant: TenantID, name: String? = nil, role: AccessRole = .admin, collections: CollectionScope = .all, isOperator: Bool = false,
            expiresAt: Date? = nil
        ) throws(ClusterError) {
            let digits = Array(sha256.utf8)
            let hash = stride(from: 0, to: digits.count - 1, by: 2).compactMap { offset in
                UInt8(String(decoding: digits[offset..<offset + 2], as: UTF8.self), radix: 16)
            }
            guard digits.count == 64, hash.count == 32 else {
                throw ClusterError(.invalidArgument, "key of tenant \(tenant): sha256 must be 64 hexadecimal digits, found \(digits.count) bytes")
            }
            self.init(hash: hash, tenant: tenant, name: name, role: role, collections: collections, isOperator: isOperator, expiresAt: expiresAt)
        }

        /// Hashes `key` at once. For tests and for tools that make keys.
        package init(
            key: String, tenant: TenantID, name: String? = nil, role: AccessRole = .admin, collections: CollectionScope = .all, isOperator: Bool = false,
            expiresAt: Date? = nil
        ) {
            self.init(hash: Storage.sha256(Array(key.utf8)), tenant: tenant, name: name, role: role, collections: collections, isOperator: isOperator, expiresAt: expiresAt)
        }

        private init(hash: [UInt8], tenant: TenantID, name: String?, role: AccessRole, collections: CollectionScope, isOperator: Bool, expiresAt: Date?) {
            self.hash = hash
            self.tenant = tenant
            self.name = name ?? "sha256-" + hex(hash.prefix(4))
            self.role = role
            self.collections = collections
            self.isOperator = isOperator
            self.expiresAt = expiresAt
        }
    }

    /// Everyone is ``Model/TenantID/default``, admin and operator.
    package static let open = KeyRing(isOpen: true, secret: [], keys: [:])

    package let isOpen: Bool
    /// Of this ring alone; what is looked up is a code of the presented key under it, so that how long a look-up takes, and which keys lie
    /// beside it, has nothing to do with what its sender could choose.
    private let secret: [UInt8]
    private let keys: [[UInt8]: Key]

    private init(isOpen: Bool, secret: [UInt8], keys: [[UInt8]: Key]) {
        self.isOpen = isOpen
        self.secret = secret
        self.keys = keys
    }

    /// - Throws: `invalidArgument` if one key stands twice, for one tenant or for two.
    package init(_ keys: [Key]) throws(ClusterError) {
        let secret = (0..<32).map { _ in UInt8.random(in: 0...255) }
        var found: [[UInt8]: Key] = [:]
        for key in keys {
            guard let other = found.updateValue(key, forKey: hmacSHA256(key: secret, key.hash)) else { continue }
            throw ClusterError(
                .invalidArgument,
                other.tenant == key.tenant
                    ? "tenant \(key.tenant) has the same key twice, as \(other.name) and \(key.name)" : "tenants \(other.tenant) and \(key.tenant) have the same key")
        }
        self.init(isOpen: false, secret: secret, keys: found)
    }

    package var tenants: [TenantID] { isOpen ? [.default] : Set(keys.values.map(\.tenant)).sorted() }
    /// Who each key makes its bearer, by `tenant/name`.
    package var callers: [String: Caller] {
        Dictionary(keys.values.map { ("\($0.tenant)/\($0.name)", Self.caller($0)) }) { first, _ in first }
    }

    package struct Caller: Hashable, Sendable {
        package var tenant: TenantID
        package var keyName: String
        package var role: AccessRole
        package var collections: CollectionScope
        package var isOperator: Bool
    }

    /// Who presents this key. Takes the same time whether it is known or not, whatever part of it is right, and however many keys there are.
    ///
    /// - Throws: `unauthenticated` if keys are configured and this is none of them, or one whose time is over.
    package func caller(presenting presented: String?, at time: Date = Date()) throws(ClusterError) -> Caller {
        if isOpen { return Caller(tenant: .default, keyName: "none", role: .admin, collections: .all, isOperator: true) }
        guard let presented, !presented.isEmpty else {
            throw ClusterError(.unauthenticated, "no API key: send it as \"api-key: KEY\" or \"Authorization: Bearer KEY\"")
        }
        let hash = Storage.sha256(Array(presented.utf8))
        let candidate = keys[hmacSHA256(key: secret, hash)]
        let isKnown = equalInConstantTime(candidate?.hash ?? Self.nobody, hash)
        guard let key = candidate, isKnown else { throw ClusterError(.unauthenticated, "this API key is not known") }
        if let end = key.expiresAt, end <= time { throw ClusterError(.unauthenticated, "this API key, \(key.name), ended at \(end.formatted(.iso8601))") }
        return Self.caller(key)
    }

    private static func caller(_ key: Key) -> Caller {
        Caller(tenant: key.tenant, keyName: key.name, role: key.role, collections: key.collections, isOperator: key.isOperator)
    }

    /// No key has this hash that anybody could find.
    private static let nobody = [UInt8](repeating: 0, count: 32)
}

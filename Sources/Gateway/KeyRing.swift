import Model
import Storage

/// Which API keys are good, and whose they are. Keys themselves are not kept, only their SHA-256.
///
/// Keys are meant to be random (128 bits and more), so a plain hash gives nothing away that a slow one would keep.
package struct KeyRing: Sendable {
    package struct Key: Sendable {
        let hash: [UInt8]
        package let tenant: TenantID
        /// May read `/metrics`, which shows figures of all tenants.
        package let isOperator: Bool

        /// - Parameter sha256: 64 hexadecimal digits: `printf %s KEY | sha256sum`.
        /// - Throws: `invalidArgument` for anything else; the digits are not repeated.
        package init(sha256: String, tenant: TenantID, isOperator: Bool = false) throws(ClusterError) {
            let digits = Array(sha256.utf8)
            let hash = stride(from: 0, to: digits.count - 1, by: 2).compactMap { offset in
                UInt8(String(decoding: digits[offset..<offset + 2], as: UTF8.self), radix: 16)
            }
            guard digits.count == 64, hash.count == 32 else {
                throw ClusterError(.invalidArgument, "key of tenant \(tenant): sha256 must be 64 hexadecimal digits, found \(digits.count) bytes")
            }
            self.hash = hash
            self.tenant = tenant
            self.isOperator = isOperator
        }

        /// Hashes `key` at once. For tests and for tools that make keys.
        package init(key: String, tenant: TenantID, isOperator: Bool = false) {
            self.hash = Storage.sha256(Array(key.utf8))
            self.tenant = tenant
            self.isOperator = isOperator
        }
    }

    private let keys: [Key]

    /// Without keys everyone is ``Model/TenantID/default`` and an operator.
    ///
    /// - Throws: `invalidArgument` if one key stands for two tenants.
    package init(_ keys: [Key] = []) throws(ClusterError) {
        for (offset, key) in keys.enumerated() {
            if let other = keys[..<offset].first(where: { $0.hash == key.hash }) {
                throw ClusterError(.invalidArgument, "tenants \(other.tenant) and \(key.tenant) have the same key")
            }
        }
        self.keys = keys
    }

    package var isEmpty: Bool { keys.isEmpty }

    package struct Caller: Hashable, Sendable {
        package var tenant: TenantID
        package var isOperator: Bool
    }

    /// Who presents this key. Time depends on the number of keys and the length of `presented`, not on what matches. O(keys).
    ///
    /// - Throws: `unauthenticated` if keys are configured and this is none of them.
    package func caller(presenting presented: String?) throws(ClusterError) -> Caller {
        if keys.isEmpty { return Caller(tenant: .default, isOperator: true) }
        guard let presented, !presented.isEmpty else {
            throw ClusterError(.unauthenticated, "no API key: send it as \"api-key: KEY\" or \"Authorization: Bearer KEY\"")
        }
        let hash = Storage.sha256(Array(presented.utf8))
        var found: Key?
        for key in keys {
            let difference = zip(key.hash, hash).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
            if difference == 0 { found = key }
        }
        guard let found else { throw ClusterError(.unauthenticated, "this API key is not known") }
        return Caller(tenant: found.tenant, isOperator: found.isOperator)
    }
}

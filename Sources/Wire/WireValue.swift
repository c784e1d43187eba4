import Model
import SwiftProtobuf

/// A value of `Model` that crosses the wire as one protobuf message.
package protocol WireValue: Sendable {
    associatedtype Message: SwiftProtobuf.Message

    /// - Throws: `invalidArgument` naming the field that holds no value of the model.
    init(_ message: Message) throws(ClusterError)
    var message: Message { get }
}

extension WireValue {
    /// - Throws: `invalidArgument` if the bytes are not the message, or the message not a value.
    package init(decoding bytes: [UInt8]) throws(ClusterError) {
        try self.init(Message(decoding: bytes))
    }

    /// - Throws: `resourceExhausted` beyond 2 GiB, protobuf's own limit.
    package func encoded() throws(ClusterError) -> [UInt8] { try message.encoded() }
}

/// A request: it says for which tenant it is made, and names only shards of that tenant.
package protocol WireRequest: Sendable {
    associatedtype Message: TenantMessage

    /// - Throws: `invalidArgument` naming the field that holds no value of the model.
    init(_ message: Message) throws(ClusterError)
    /// The message without its tenant.
    var message: Message { get }
    var shards: [ShardID] { get }
}

/// A message with a field for the tenant that it speaks for.
package protocol TenantMessage: SwiftProtobuf.Message {
    var tenant: String { get set }
}

extension WireRequest {
    /// Reads a request and the tenant that makes it.
    ///
    /// - Throws: `invalidArgument` if the bytes are not the message, or the message not a value;
    ///   `permissionDenied` if the request names a shard of another tenant.
    package static func decode(_ bytes: [UInt8]) throws(ClusterError) -> (request: Self, tenant: TenantID) {
        let message = try Message(decoding: bytes)
        let tenant = try TenantID(message.tenant)
        let request = try Self(message)
        for shard in request.shards where shard.tenant != tenant {
            throw ClusterError(.permissionDenied, "shard \(shard) does not belong to tenant \(tenant), which asks")
        }
        return (request, tenant)
    }

    /// - Throws: `resourceExhausted` beyond 2 GiB, protobuf's own limit.
    package func encoded(for tenant: TenantID) throws(ClusterError) -> [UInt8] {
        var message = message
        message.tenant = tenant.rawValue
        return try message.encoded()
    }
}

extension SwiftProtobuf.Message {
    package init(decoding bytes: [UInt8]) throws(ClusterError) {
        do {
            try self.init(serializedBytes: bytes)
        } catch {
            throw ClusterError(.invalidArgument, "\(bytes.count) bytes are not a \(Self.protoMessageName): \(error)")
        }
    }

    package func encoded() throws(ClusterError) -> [UInt8] {
        do {
            return try serializedBytes()
        } catch {
            throw ClusterError(.resourceExhausted, "a \(Self.protoMessageName) beyond protobuf's limit of 2 GiB: \(error)")
        }
    }
}

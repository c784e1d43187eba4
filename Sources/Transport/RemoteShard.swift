import Model
import Wire

/// A shard node behind a network.
package struct RemoteShard: ShardService {
    private let peer: Peer

    package init(peer: Peer) { self.peer = peer }

    /// - Throws: besides what the node throws, `aborted` if the connection is lost once the request is under way.
    package func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        try await call("Append", request, context, lossCode: .aborted)
    }
    package func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply {
        try await call("Search", request, context)
    }
    package func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply {
        try await call("Explain", request, context)
    }
    package func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply {
        try await call("Fetch", request, context)
    }
    package func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply {
        try await call("Count", request, context)
    }
    package func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply {
        try await call("Status", request, context)
    }
    package func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply {
        try await call("Outline", request, context)
    }
    package func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply {
        try await call("Seal", request, context)
    }
    package func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) {
        _ = try await send("Drop", request, context)
    }
    package func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) {
        _ = try await send("Follow", request, context)
    }

    private func call<Reply: WireValue>(
        _ method: String, _ request: some WireRequest, _ context: CallContext, lossCode: ClusterError.Code = .unavailable
    ) async throws(ClusterError) -> Reply {
        let bytes = try await send(method, request, context, lossCode: lossCode)
        do throws(ClusterError) {
            return bytes.count <= LoopExecutor.mostBytes
                ? try Reply(decoding: bytes) : try await awayFromLoops { () throws(ClusterError) in try Reply(decoding: bytes) }
        } catch {
            throw ClusterError(.internal, "unreadable reply to \(method): \(error.message)")
        }
    }

    private func send(
        _ method: String, _ request: some WireRequest, _ context: CallContext, lossCode: ClusterError.Code = .unavailable
    ) async throws(ClusterError) -> [UInt8] {
        try await peer.unary(
            "/\(ServiceRoutes.shardService)/\(method)", request.encoded(for: context.tenant), context: context, lossCode: lossCode)
    }
}

import Model

/// A shard node behind a network.
package struct RemoteShard: ShardService {
    private let peer: Peer
    package init(peer: Peer) { self.peer = peer }

    package func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply { throw ClusterError(.unimplemented, "under way") }
    package func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply { throw ClusterError(.unimplemented, "under way") }
    package func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply { throw ClusterError(.unimplemented, "under way") }
    package func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply { throw ClusterError(.unimplemented, "under way") }
    package func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply { throw ClusterError(.unimplemented, "under way") }
    package func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply { throw ClusterError(.unimplemented, "under way") }
    package func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) { throw ClusterError(.unimplemented, "under way") }
}

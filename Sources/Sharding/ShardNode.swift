import Logging
import Model
import Observability
import Storage

/// A shard node: hosts any number of shards of any collection and opens them from the store on demand.
package final class ShardNode: ShardService {
    private let node: NodeID
    private let store: any ObjectStore
    private let configuration: ShardConfiguration
    private let metrics: Metrics
    private let logger: Logger

    package init(node: NodeID, store: any ObjectStore, configuration: ShardConfiguration = ShardConfiguration(), metrics: Metrics, logger: Logger) {
        self.node = node
        self.store = store
        self.configuration = configuration
        self.metrics = metrics
        self.logger = logger
    }

    package func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply { throw ClusterError(.unavailable, "starting") }
    package func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply { throw ClusterError(.unavailable, "starting") }
    package func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply { throw ClusterError(.unavailable, "starting") }
    package func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply { throw ClusterError(.unavailable, "starting") }
    package func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply { throw ClusterError(.unavailable, "starting") }
    package func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply { throw ClusterError(.unavailable, "starting") }
    package func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) { throw ClusterError(.unavailable, "starting") }
    /// Finishes what was accepted and closes every shard. Afterwards calls throw `unavailable`.
    package func close() async {}
}

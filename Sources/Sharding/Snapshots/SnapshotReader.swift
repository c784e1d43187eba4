import Logging
import Model
import Observability
import Storage

/// A collection in a snapshot, opened as a node opens it.
struct SnapshotReader {
    let snapshot: any ObjectStore
    let tenant: TenantID
    let schema: CollectionSchema

    func count() async throws(ClusterError) -> Int {
        var points = 0
        for shard in try await ShardTree(snapshot, schema, tenant).leaves { points += try await open(shard).snapshot.pointCount }
        return points
    }

    /// - Throws: `dataLoss` if anything of the shard cannot be read.
    func open(_ shard: ShardID) async throws(ClusterError) -> Shard {
        let open = try await Shard.open(shard, environment: environment)
        if let damage = open.state.withLock({ $0.damage.first }) { throw ClusterError(.dataLoss, damage) }
        return open
    }

    let environment: ShardEnvironment

    /// - Parameter threads: 0 for the caller's.
    init(snapshot: any ObjectStore, tenant: TenantID, schema: CollectionSchema, threads: Int = 1, clock: DeadlineClock = .continuous) {
        self.snapshot = snapshot
        self.tenant = tenant
        self.schema = schema
        var configuration = ShardConfiguration()
        if threads == 0 { configuration.searchThreads = 0 }
        environment = ShardEnvironment(
            node: NodeID("snapshot"), store: snapshot, configuration: configuration, followers: Followers(of: NodeID("snapshot")),
            clock: clock, metrics: Metrics(),
            logger: Logger(label: "snapshot") { _ in SwiftLogNoOpLogHandler() })
    }
}

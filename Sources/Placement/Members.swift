import Model
import Synchronization

/// The shard nodes of the cluster as this process knows them at the moment, and how to call them. May be used from any task.
package final class Members: Sendable {
    /// One version of the members: everything in it fits together.
    package struct View: Sendable {
        package let record: ClusterRecord
        package let placement: Placement
        /// By name; without those that this process cannot call, itself say.
        package let services: [NodeID: any ShardService]

        package var version: UInt64 { record.version }

        /// The nodes that keep each shard of a collection, in the order of the layout; see ``Placement/replicas(tenant:incarnation:shardCount:count:)``.
        package func replicas(tenant: TenantID, incarnation: Incarnation, layout: ShardLayout) -> [[NodeID]] {
            let first = placement.replicas(tenant: tenant, incarnation: incarnation, shardCount: layout.firstCount, count: record.replicas)
            return layout.shards.map { shard in
                ShardLayout.base(of: shard.index) < layout.firstCount
                    ? first[ShardLayout.base(of: shard.index)] : replicas(of: ShardID(tenant: tenant, incarnation: incarnation, index: shard.index), firstCount: layout.firstCount)
            }
        }

        package func replicas(of shard: ShardID, firstCount: Int) -> [NodeID] {
            placement.replicas(of: shard, firstCount: firstCount, count: record.replicas)
        }
    }

    private let connect: @Sendable (ClusterMember) -> (any ShardService)?
    private let state: Mutex<View>

    /// - Parameter connect: Makes the service of a member; called once for each address that a member has.
    /// - Throws: `invalidArgument` for a record that no placement can be made of.
    package init(_ record: ClusterRecord, connect: @escaping @Sendable (ClusterMember) -> (any ShardService)?) throws(ClusterError) {
        self.connect = connect
        var services: [NodeID: any ShardService] = [:]
        for member in record.members { services[member.node] = connect(member) }
        state = Mutex(View(record: record, placement: try Placement(members: record.members), services: services))
    }

    package var view: View { state.withLock { $0 } }

    /// Takes a record over unless a newer one is known.
    ///
    /// - Returns: Whether it did.
    /// - Throws: `invalidArgument` for a record that no placement can be made of; the members stay as they are.
    package func update(_ record: ClusterRecord) throws(ClusterError) -> Bool {
        let placement = try Placement(members: record.members)
        let known = view
        guard record.version > known.version else { return false }
        let addresses = Dictionary(uniqueKeysWithValues: known.record.members.map { ($0.node, $0.address) })
        var services: [NodeID: any ShardService] = [:]
        for member in record.members {
            services[member.node] = addresses[member.node] == member.address ? known.services[member.node] : connect(member)
        }
        let new = View(record: record, placement: placement, services: services)
        return state.withLock { view in
            guard record.version > view.version else { return false }
            view = new
            return true
        }
    }
}

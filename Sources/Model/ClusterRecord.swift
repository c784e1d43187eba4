/// A shard node as the cluster's record names it.
package struct ClusterMember: Hashable, Sendable {
    package var node: NodeID
    /// `host:port`; empty where nobody calls it.
    package var address: String
    /// Share of the shards relative to the other members'. Default: 1.
    package var weight: Double
    /// What fails together, say a rack: replicas of one shard are kept in different zones where there are several. `nil`: a zone of its own.
    package var zone: String?

    package init(node: NodeID, address: String = "", weight: Double = 1, zone: String? = nil) {
        self.node = node
        self.address = address
        self.weight = weight
        self.zone = zone
    }
}

/// The shard nodes of a cluster, alive or not, at one version. Who is alive is not in it: callers find out by calling.
package struct ClusterRecord: Hashable, Sendable {
    /// Counts from 1 in the store; 0 for what a process took from its own configuration.
    package var version: UInt64
    /// Nodes that keep each shard.
    package var replicas: Int
    package var members: [ClusterMember]

    package init(version: UInt64, replicas: Int, members: [ClusterMember]) {
        self.version = version
        self.replicas = replicas
        self.members = members
    }
}

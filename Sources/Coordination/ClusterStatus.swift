import Model

/// How the cluster is, as one tenant may see it.
package struct ClusterStatus: Sendable {
    package struct Node: Sendable {
        package var node: NodeID
        /// `nil` if the node answered.
        package var error: ClusterError?
        /// Time of the answer, or until the failure.
        package var latency: Duration
        /// Shards open on the node, of this tenant.
        package var shards: Int
        /// Since the node started.
        package var codesScanned: UInt64

        package var isReachable: Bool { error == nil }
    }

    package struct Collection: Sendable {
        package var schema: CollectionSchema
        /// What the shards that answered say, in the order of their indices.
        package var shards: [Shard]
        package var gaps: [Coverage.Gap]

        package struct Shard: Sendable {
            package var node: NodeID
            package var status: ShardStatus
        }

        package var points: Int { sum(\.points) }
        /// Points searched through their codes.
        package var pointsByCode: Int { sum(\.pointsByCode) }
        /// Points searched exactly, most of them because they are not sealed yet.
        package var pointsExactly: Int { points - pointsByCode }
        package var segments: Int { sum(\.segments) }
        package var indexBytes: Int { sum(\.indexBytes) }
        package var fileBytes: Int { sum(\.fileBytes) }
        /// Files that cannot be read, each with its shard.
        package var damaged: [String] { shards.flatMap { shard in shard.status.damaged.map { "shard \(shard.status.shard.index): \($0)" } } }

        private func sum(_ value: KeyPath<ShardStatus, Int>) -> Int { shards.reduce(0) { $0 + $1.status[keyPath: value] } }
    }

    /// In the order of names.
    package var nodes: [Node]
    package var collections: [Collection]
}

/// Whether a coordinator can serve.
package struct Readiness: Sendable {
    /// Why the object store cannot be used; `nil` if it can.
    package var storeError: ClusterError?
    /// Shard nodes that do not answer, with the reason. Answers without them are partial, not impossible.
    package var unreachable: [NodeID: ClusterError]
    package var nodeCount: Int

    package var isReady: Bool { storeError == nil && unreachable.count < nodeCount }
}

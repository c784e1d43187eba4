import Model

/// One shard, and whom to ask for it.
struct ShardTarget: Sendable {
    let shard: ShardID
    /// Where it stands in the plan: shards are in the order of their ranges.
    let place: Int
    /// The nodes that keep it, in the order of the placement.
    let replicas: [Replica]
    /// The part of the hash space that the collection's layout gives to this shard.
    let range: HashRange
    /// Which of the replicas is asked.
    private(set) var chosen = 0

    struct Replica: Sendable {
        let node: NodeID
        let service: any ShardService
        let health: NodeHealth
    }

    init(shard: ShardID, place: Int, replicas: [Replica], range: HashRange) {
        self.shard = shard
        self.place = place
        self.replicas = replicas
        self.range = range
    }

    var node: NodeID { replicas[chosen].node }
    var service: any ShardService { replicas[chosen].service }
    var health: NodeHealth { replicas[chosen].health }

    func asking(_ replica: Int) -> ShardTarget {
        var target = self
        target.chosen = replica
        return target
    }

    /// How much slower a replica may be expected to be before one without a lease is preferred to it. Reason: that one has the store list the
    /// shard's log, which costs a service as much as several searches cost a node.
    private static let leaseAdvantage = 4.0

    /// The replicas, the one that is likely to answer soonest first; those that seem to be down last.
    ///
    /// - Parameter leaseHolder: Who answers without asking the store, as far as is known.
    func order(now: ContinuousClock.Instant, leaseHolder: NodeID? = nil) -> [Int] {
        let expectations = replicas.map { replica in
            (replica.health.expectation(now: now) ?? .infinity) * (leaseHolder == nil || leaseHolder == replica.node ? 1 : Self.leaseAdvantage)
        }
        let ranks = replicas.indices.map { replicas[$0].node == leaseHolder ? -1 : $0 }
        return replicas.indices.sorted { (expectations[$0], ranks[$0]) < (expectations[$1], ranks[$1]) }
    }
}

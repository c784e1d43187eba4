import Model
import Placement
import Testing

@Suite("Placement") struct PlacementTests {
    private func placement(_ count: Int, weights: [Double] = []) throws -> Placement {
        try Placement(members: (0..<count).map { ClusterMember(node: NodeID("node-\($0)"), weight: weights.isEmpty ? 1 : weights[$0]) })
    }
    private func owners(_ placement: Placement, _ collection: UInt64, _ shardCount: Int) -> [NodeID] {
        placement.replicas(tenant: .default, incarnation: Incarnation(collection &* 0x9e37_79b9_7f4a_7c15), shardCount: shardCount, count: 1).map { $0[0] }
    }

    @Test("no member gets more than its share of a collection's shards, rounded up", arguments: [1, 2, 3, 4, 7, 16], [1, 2, 4, 5, 16, 100, 256])
    func evenSpread(members: Int, shards: Int) throws {
        let placement = try placement(members)
        for collection in 0..<20 as Range<UInt64> {
            let owners = owners(placement, collection, shards)
            #expect(owners.count == shards)
            let counts = Dictionary(grouping: owners) { $0 }.mapValues(\.count)
            #expect(counts.values.max()! <= (shards + members - 1) / members)
        }
    }

    @Test("the order in which members are listed does not matter")
    func determinism() throws {
        let members = (0..<9).map { ClusterMember(node: NodeID("n\($0)")) }
        let a = try Placement(members: members)
        let b = try Placement(members: members.reversed())
        for collection in 0..<50 as Range<UInt64> { #expect(owners(a, collection, 12) == owners(b, collection, 12)) }
    }

    @Test("the layout of these collections is the same in every release")
    func golden() throws {
        let owners = owners(try placement(4), 7, 8).map(\.rawValue)
        #expect(owners == PlacementTests.goldenOwners)
    }
    private static let goldenOwners = ["node-3", "node-1", "node-2", "node-3", "node-2", "node-1", "node-0", "node-0"]

    @Test("one-shard collections spread over the members by weight")
    func weights() throws {
        let placement = try placement(4, weights: [1, 1, 2, 4])
        var counts: [NodeID: Int] = [:]
        for collection in 0..<8_000 as Range<UInt64> { counts[owners(placement, collection, 1)[0], default: 0] += 1 }
        for (node, expected) in [("node-0", 1_000), ("node-1", 1_000), ("node-2", 2_000), ("node-3", 4_000)] {
            let count = counts[NodeID(node), default: 0]
            #expect(abs(count - expected) < 150, "\(node) has \(count) of about \(expected)")
        }
    }

    @Test("a member that joins takes about its share, and little else moves", arguments: [(4, 1), (4, 16), (8, 64), (16, 256)])
    func joining(members: Int, shards: Int) throws {
        let before = try placement(members)
        let after = try placement(members + 1)
        let newcomer = NodeID("node-\(members)")
        var moved = 0
        var taken = 0
        let collections = 400 / shards + 50
        for collection in 0..<UInt64(collections) {
            for (a, b) in zip(owners(before, collection, shards), owners(after, collection, shards)) {
                moved += a == b ? 0 : 1
                taken += b == newcomer ? 1 : 0
            }
        }
        let total = Double(collections * shards)
        #expect(abs(Double(taken) / total - 1 / Double(members + 1)) < 0.1)
        // Rendezvous alone moves exactly what the newcomer takes; keeping the spread even moves some more.
        #expect(Double(moved) <= 2.5 * Double(taken), "\(moved) moved, \(taken) taken, of \(total)")
    }

    @Test("an impossible member list is refused by name")
    func validation() {
        #expect(throws: ClusterError(.invalidArgument, "the cluster has no shard node")) { try Placement(members: []) }
        #expect(throws: ClusterError(.invalidArgument, "node a is listed twice")) {
            try Placement(members: [.init(node: NodeID("a")), .init(node: NodeID("a"))])
        }
        #expect(throws: ClusterError(.invalidArgument, "weight of node a must be above 0, found 0.0")) {
            try Placement(members: [.init(node: NodeID("a"), weight: 0)])
        }
    }
}

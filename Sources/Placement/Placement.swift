import Foundation
import Model

/// Which member keeps which shard: a pure function of the member list and the shard, computed alike by everyone.
///
/// Each pair of shard and member has a score that depends on nothing else (rendezvous hashing), so a member that joins or
/// leaves changes only the order in which it takes part. The shards of one collection are dealt out best score first, and a
/// member takes no more than its share of them, rounded up: a query asks every shard of a collection, so an uneven spread
/// would make one node answer last. Collections are independent of each other.
///
/// - SeeAlso: Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 1998; weights after
///   Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", SPAA 2005.
package struct Placement: Sendable {
    /// In ascending order of names, so that the order in which members are listed does not matter.
    package let members: [ClusterMember]

    /// - Throws: `invalidArgument` if there is no member, a name stands twice, or a weight is not a positive number.
    package init(members: [ClusterMember]) throws(ClusterError) {
        guard !members.isEmpty else { throw ClusterError(.invalidArgument, "the cluster has no shard node") }
        for member in members where !(member.weight > 0 && member.weight.isFinite) {
            throw ClusterError(.invalidArgument, "weight of node \(member.node) must be above 0, found \(member.weight)")
        }
        self.members = members.sorted { $0.node < $1.node }
        for (a, b) in zip(self.members, self.members.dropFirst()) where a.node == b.node {
            throw ClusterError(.invalidArgument, "node \(a.node) is listed twice")
        }
    }

    /// The members that keep each shard of one collection, by shard index; the first of them owns it while all is well.
    ///
    /// Ranks are dealt out one after the other: of each rank a member gets at most ⌈`shardCount` × its weight / all weights⌉, as long as
    /// some other member may still take what is left. Replicas of one shard lie in different zones as long as there are any left, even
    /// where that makes a member take more than its share.
    ///
    /// - Parameter count: Replicas of a shard; more than there are members gives one on each.
    /// - Complexity: O(`shardCount` × members × (log + `count`)), to be kept by the caller for as long as the members stay.
    package func replicas(tenant: TenantID, incarnation: Incarnation, shardCount: Int, count: Int) -> [[NodeID]] {
        let total = members.reduce(0) { $0 + $1.weight }
        // A quotient that rounding left just above a whole number must not round up to the next.
        let share = members.map { Int((Double(shardCount) * $0.weight / total - 1e-9).rounded(.up)) }
        let seeds = members.map { member in fold(member.node.rawValue, into: 0) }
        let zones = members.enumerated().map { index, member in member.zone.map(Zone.named) ?? .own(index) }
        var pairs: [Pair] = []
        pairs.reserveCapacity(shardCount * members.count)
        for shard in 0..<shardCount {
            let key = mix(fold(tenant.rawValue, into: incarnation.rawValue) &+ mix(UInt64(shard)))
            for (index, member) in members.enumerated() {
                pairs.append(Pair(shard: shard, member: index, score: score(mix(key ^ seeds[index]), weight: member.weight)))
            }
        }
        pairs.sort { ($0.score, $1.shard, $1.member) > ($1.score, $0.shard, $0.member) }
        var chosen = [[Int]](repeating: [], count: shardCount)
        for rank in 0..<min(max(1, count), members.count) {
            var room = share
            // The rooms sum to at least shardCount, so the first rank leaves nothing over. In a later one the members with room may all
            // have the shard already: then it goes to the best of the others.
            for (isZoneNew, mayExceed) in [(true, false), (true, true), (false, false), (false, true)] {
                for pair in pairs where chosen[pair.shard].count == rank && !chosen[pair.shard].contains(pair.member) && (room[pair.member] > 0 || mayExceed) {
                    if isZoneNew, chosen[pair.shard].contains(where: { zones[$0] == zones[pair.member] }) { continue }
                    chosen[pair.shard].append(pair.member)
                    room[pair.member] -= 1
                }
            }
        }
        return chosen.map { $0.map { members[$0].node } }
    }

    /// The same for any shard, those that came of splits and merges too: the lower half stays where the shard was, and the upper half goes where its own score sends it.
    package func replicas(of shard: ShardID, firstCount: Int, count: Int) -> [NodeID] {
        let index = ShardLayout.base(of: shard.index)
        guard let parent = ShardLayout.parent(of: index, firstCount: firstCount) else {
            return replicas(tenant: shard.tenant, incarnation: shard.incarnation, shardCount: firstCount, count: count)[index]
        }
        guard ShardLayout.isUpper(index, firstCount: firstCount) else {
            return replicas(of: ShardID(tenant: shard.tenant, incarnation: shard.incarnation, index: parent), firstCount: firstCount, count: count)
        }
        return replicas(tenant: shard.tenant, incarnation: Incarnation(mix(shard.incarnation.rawValue &+ UInt64(index))), shardCount: 1, count: count)[0]
    }

    private enum Zone: Equatable {
        case named(String)
        case own(Int)
    }

    private struct Pair {
        var shard: Int
        var member: Int
        var score: Double
    }
}

/// −w / ln u for u uniform in (0, 1): the highest of several is each member's with probability proportional to its weight.
private func score(_ hash: UInt64, weight: Double) -> Double {
    // 53 bits, moved by half a step, so that u is neither 0 nor 1.
    let uniform = (Double(hash >> 11) + 0.5) * 0x1p-53
    return -weight / log(uniform)
}

/// FNV-1a over the bytes, finished so that similar names have unlike hashes.
private func fold(_ text: String, into seed: UInt64) -> UInt64 {
    var hash = 0xcbf2_9ce4_8422_2325 ^ seed
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    return mix(hash)
}

/// SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014).
private func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
}

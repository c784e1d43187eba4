import Model

/// A hit and the shard that found it.
struct RankedHit: Hashable, Sendable {
    var hit: Hit
    /// The shard's in the plan.
    var place: Int
}

/// The best hits of several shards, in the total order of ``Hit``: better score first, then smaller id.
struct RankedHits {
    private(set) var hits: [RankedHit] = []
    private let capacity: Int
    private let metric: Metric

    init(capacity: Int, metric: Metric) {
        self.capacity = capacity
        self.metric = metric
    }

    /// Takes in one shard's hits, which are in order; keeps the best `capacity`. O(capacity).
    mutating func merge(_ found: [Hit], from place: Int) {
        var merged: [RankedHit] = []
        merged.reserveCapacity(min(capacity, hits.count + found.count))
        var a = 0
        var b = 0
        while merged.count < capacity, a < hits.count || b < found.count {
            if b == found.count || (a < hits.count && !Hit.ranksBefore(found[b], hits[a].hit, under: metric)) {
                merged.append(hits[a])
                a += 1
            } else {
                merged.append(RankedHit(hit: found[b], place: place))
                b += 1
            }
        }
        hits = merged
    }

    /// The hits without those whose text stands further up already.
    static func collapsed(_ hits: [RankedHit]) -> [RankedHit] {
        var seen: Set<UInt64> = []
        return hits.filter { $0.hit.contentHash == 0 || seen.insert($0.hit.contentHash).inserted }
    }
}

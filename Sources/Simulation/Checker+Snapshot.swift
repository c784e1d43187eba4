import Model
import Sharding
import Storage

extension Checker {
    /// The copy of a shard holds exactly what lived at its position.
    func check(copy points: [StoredPoint], of shard: ShardID, at position: UInt64) {
        let model = history.model(of: shard)
        let found = Dictionary(points.map { ($0.id, $0.version) }) { first, _ in first }
        if found.count < points.count { report("the copy of shard \(shard) has a point twice") }
        for id in Set(model.versions.keys).union(found.keys) {
            let live = model.live(id, in: position...position).first { $0.point != nil }?.from
            if found[id] != live { report("the copy of shard \(shard) at position \(position) has \(id) in version \(found[id], default: "none"), which lived in \(live, default: "none"); its life: \(model.story(id))") }
        }
    }

    /// Nothing is missing from a snapshot that was acknowledged before it began; nor, if it is causal, anything that was acknowledged, or seen by a
    /// reader, before a write began that it holds (protocol, H23).
    ///
    /// - Parameter positions: Of the shards that kept points, up to where it holds everything.
    func checkCut(_ positions: [ShardID: UInt64], of collection: Workload.Collection, begun: Duration, isCausal: Bool) {
        let ranges = positions.map { (range: history.range(of: $0.key), position: $0.value) }
        /// Positions grow from a shard to those that take its place, so that those of the shards in the snapshot divide them all.
        func holds(_ position: UInt64, _ range: HashRange) -> Bool {
            ranges.contains { $0.range.intersection(range) != nil && position <= $0.position }
        }
        var latest = (at: begun, why: "the snapshot")
        if isCausal {
            for shard in positions.keys {
                for (request, applied) in history.model(of: shard).applied where applied.contains(where: { $0.position <= positions[shard]! }) {
                    if let began = self.begun[request], began > latest.at { latest = (began, "request \(request) in shard \(shard.index)") }
                }
            }
        }
        for (request, shard, position, at) in acknowledgements where shard.incarnation == collection.schema.incarnation && at < latest.at {
            guard !holds(position, history.range(of: shard)) else { continue }
            report("a snapshot of positions \(positions.map { "\($0.key.index): \($0.value)" }) lacks request \(request), acknowledged by shard \(shard.index) at position \(position) after \(at), before \(latest.why) began after \(latest.at)")
        }
        guard isCausal else { return }
        for seen in observations where seen.incarnation == collection.schema.incarnation && seen.at < latest.at {
            guard !holds(seen.version, HashRange(first: seen.id.hash, last: seen.id.hash)) else { continue }
            report("a snapshot of positions \(positions.map { "\($0.key.index): \($0.value)" }) lacks \(seen.id) in version \(seen.version), read after \(seen.at), before \(latest.why) began after \(latest.at)")
        }
    }
}

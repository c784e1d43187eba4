import Coordination
import Foundation
import Model
import Storage

/// Holds what clients were told to what the logs say.
final class Checker: @unchecked Sendable {  // one thread
    let history: StoreHistory
    private(set) var violations: [String] = []
    /// Gaps of which answers said whether they could have changed them, and those that could not.
    private(set) var judged = 0
    private(set) var harmless = 0
    /// Acknowledgements, by request and shard.
    private(set) var acknowledgements: [(request: RequestID, shard: ShardID, position: UInt64, at: Duration)] = []
    /// When each request began.
    private(set) var begun: [RequestID: Duration] = [:]
    /// Points that reads gave in these versions.
    private(set) var observations: [(incarnation: Incarnation, id: PointID, version: UInt64, at: Duration)] = []
    private var refusals: [(RequestID, [ShardID])] = []
    /// Of each shard, the highest position that was acknowledged, and when it became so.
    private var highest: [ShardID: [(at: Duration, position: UInt64)]] = [:]
    private let now: () -> Duration

    init(_ history: StoreHistory, now: @escaping () -> Duration) {
        self.history = history
        self.now = now
    }

    func report(_ violation: String) {
        if violations.count < 20 { violations.append("after \(now()): \(violation)") }
    }

    // MARK: - Writes

    func begin(_ request: RequestID) { begun[request] = now() }

    func acknowledged(_ request: RequestID, _ shard: ShardID, _ position: UInt64) {
        acknowledgements.append((request, shard, position, now()))
        if position > highest[shard]?.last?.position ?? 0 { highest[shard, default: []].append((now(), position)) }
    }

    func refused(_ request: RequestID, _ shards: [ShardID]) { refusals.append((request, shards)) }

    /// Every acknowledged write is in its log, once; what was refused is not; and no two owners acknowledged in one place.
    func checkLogs(_ shards: [ShardID]) {
        let models = Dictionary(uniqueKeysWithValues: shards.map { ($0, history.model(of: $0)) })
        for (request, shard, position, at) in acknowledgements {
            guard let model = models[shard] else {
                report("request \(request) was acknowledged by shard \(shard) after \(at), which nothing was split or merged into; the log there: \(history.story(of: shard, around: position))")
                continue
            }
            let found = (model.applied[request] ?? []).map(\.position)
            if found.isEmpty || !model.positions[request]!.contains(position) {
                report("request \(request) was acknowledged at position \(position) of shard \(shard) after \(at), but is applied at \(found); the log there: \(history.story(of: shard, around: position))")
            }
        }
        for (request, shards) in refusals {
            for shard in shards where models[shard]!.applied[request] != nil { report("request \(request) was refused, and applied to shard \(shard)") }
        }
        for (shard, model) in models {
            // The parts of a request that a shard gets have bodies of their own; the workload makes one part.
            for fault in model.faults { report("shard \(shard): \(fault)") }
        }
    }

    // MARK: - Reads

    struct Begun {
        let collection: Workload.Collection
        /// Of each shard, what the reader must see at least.
        let least: [ShardID: UInt64]
        let consistency: Consistency
    }

    func begin(_ collection: Workload.Collection, _ consistency: Consistency, now: Duration) -> Begun {
        var least: [ShardID: UInt64] = [:]
        for shard in collection.allShards {
            switch consistency {
            case .strong: least[shard] = highest[shard]?.last?.position ?? 0
            case .bounded(let milliseconds):
                // The node's clock may run a twentieth faster or slower.
                let before = now - .milliseconds(milliseconds * 11 / 10)
                least[shard] = highest[shard]?.last { $0.at <= before }?.position ?? 0
            case .eventual: least[shard] = 0
            }
        }
        return Begun(collection: collection, least: least, consistency: consistency)
    }

    /// Positions at which a point may have been read: those of the shard that keeps it, and before those that it comes from. Of two that were
    /// merged one kept it: the other's positions say nothing of it.
    private func range(_ shard: ShardID, _ id: PointID, _ begun: Begun, isVerified: Bool = true) -> ClosedRange<UInt64> {
        let last = history.model(of: shard).last
        let least = isVerified ? history.line(of: shard, keeping: id).compactMap { begun.least[$0] }.max() ?? 0 : 0
        return min(least, last)...last
    }

    func checkLookup(_ ids: [PointID], _ points: [StoredPoint], _ begun: Begun) {
        let found = Dictionary(points.map { ($0.id, $0) }) { first, _ in
            report("point \(first.id) came twice")
            return first
        }
        for id in ids {
            let shard = begun.collection.shard(of: id)
            let model = history.model(of: shard)
            let range = range(shard, id, begun)
            if let point = found[id] {
                check(point, model, shard, range, begun)
            } else if !model.mayBeAbsent(id, in: range) {
                report("\(begun.consistency) lookup of \(id) in shard \(shard) found nothing, though it lived throughout positions \(range); its life: \(model.story(id))")
            }
        }
    }

    private func check(_ point: StoredPoint, _ model: LogModel, _ shard: ShardID, _ range: ClosedRange<UInt64>, _ begun: Begun) {
        guard let version = model.live(point.id, in: range).first(where: { $0.from == point.version }) else {
            return report("\(begun.consistency) read of shard \(shard) gave \(point.id) in version \(point.version), which did not live in positions \(range)")
        }
        observations.append((shard.incarnation, point.id, point.version, now()))
        if let logged = version.point, !point.vector.isEmpty, logged.vector != point.vector { report("point \(point.id) in version \(point.version) has another vector") }
        if point.payload["tenant"]?.string != begun.collection.tenant.rawValue { report("point \(point.id) is another tenant's: \(point.payload)") }
    }

    func checkSearch(_ query: SearchQuery, _ answer: SearchAnswer, _ begun: Begun) {
        let unverified = Set(answer.coverage.unverified.map(\.shard))
        let silent = Set(answer.coverage.gaps.map(\.shard))
        if Set(answer.hits.map(\.point.id)).count < answer.hits.count { report("a search gave a point twice") }
        for hit in answer.hits {
            let shard = begun.collection.shard(of: hit.point.id)
            check(hit.point, history.model(of: shard), shard, range(shard, hit.point.id, begun, isVerified: unverified.isDisjoint(with: history.line(of: shard))), begun)
        }
        if answer.coverage.work.pointsUnreadable > 0 { report("a search says that \(answer.coverage.work.pointsUnreadable) points are unreadable") }
        checkGaps(query, answer)
        // What was overwritten meanwhile was left out of the answer, and says so.
        guard answer.superseded == 0 else { return }
        let isFull = answer.hits.count == query.limit
        let worst = answer.hits.last.map { ($0.score, $0.point.id) }
        for shard in begun.collection.shards where silent.union(unverified).isDisjoint(with: history.line(of: shard)) {
            let model = history.model(of: shard)
            for id in model.versions.keys {
                let range = range(shard, id, begun)
                guard let version = model.throughout(id, range), let point = version.point, !answer.hits.contains(where: { $0.point.id == id }) else { continue }
                let score = zip(point.vector, query.vector).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
                if !isFull || (score, id) < worst! {
                    report("\(begun.consistency) search of shard \(shard) left out \(id) at distance \(score), though it lived throughout positions \(range); life \(model.story(id)); hits \(answer.hits.map { "\($0.point.id)@\($0.point.version)" }), superseded \(answer.superseded), gaps \(answer.coverage.gaps.map { "\($0.shard.index): \($0.reason)" }), pointsHeld \(answer.coverage.work.pointsHeld) searched \(answer.coverage.pointsSearched) unread \(answer.coverage.work.pointsUnreadable), disk \(history.isOnDisk)")
                }
            }
        }
    }

    /// A gap that could not have changed the hits holds no point, at its outline's position, that would stand among them.
    private func checkGaps(_ query: SearchQuery, _ answer: SearchAnswer) {
        for gap in answer.coverage.gaps {
            guard let couldChange = gap.couldChange, let position = gap.outlinePosition else { continue }
            judged += 1
            guard !couldChange else { continue }
            harmless += 1
            let model = history.model(of: gap.shard)
            for id in model.versions.keys {
                guard let point = model.live(id, in: position...position).first?.point else { continue }
                let score = zip(point.vector, query.vector).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
                guard answer.hits.count < query.limit || (score, id) < (answer.hits.last!.score, answer.hits.last!.point.id) else { continue }
                report("shard \(gap.shard) is said to hold nothing at position \(position) that could have changed a search, but \(id) is at distance \(score); hits \(answer.hits.map(\.score)); life \(model.story(id))")
            }
        }
    }

    func checkCount(_ count: Int, _ begun: Begun) {
        var (least, most) = (0, 0)
        for shard in begun.collection.shards {
            let model = history.model(of: shard)
            for id in model.versions.keys {
                let range = range(shard, id, begun)
                if !model.live(id, in: range).isEmpty { most += 1 }
                if !model.mayBeAbsent(id, in: range) { least += 1 }
            }
        }
        if !(least...max(least, most)).contains(count) { report("a count gave \(count), which must be \(least)…\(most)") }
    }
}

import Model
import Storage

/// What a shard's log means at each position: obviously right, and made without the code under test but for the entries' form.
struct LogModel {
    struct Version {
        /// Position of the entry that made it.
        let from: UInt64
        /// Position of the entry that ended it; `nil` while it is live.
        var to: UInt64?
        let point: LoggedPoint?
    }
    /// Of each point, in order.
    private(set) var versions: [PointID: [Version]] = [:]
    /// Valid entries that hold a request, by its id, and the hash ranges in which it was applied by each.
    private(set) var applied: [RequestID: [(position: UInt64, ranges: [HashRange])]] = [:]
    /// Positions that an answer may name for a request: where it was applied, here or in the shards that this one comes from. A shard that two
    /// were merged into answers with the higher of two, and so do its halves, whichever of the two was in their range.
    private(set) var positions: [RequestID: Set<UInt64>] = [:]
    /// The last position without a hole before it.
    private(set) var last: UInt64 = 0
    private(set) var claims = 0
    /// Whether two other shards keep its halves.
    private(set) var isSplit = false
    /// Index of the other half that it ended in favour of merging with.
    private(set) var mergedWith: Int?
    private(set) var epoch: UInt64 = 0
    /// Things that must not be.
    private(set) var faults: [String] = []

    private let range: HashRange

    /// - Parameters:
    ///   - range: The shard's.
    ///   - parents: What it comes from: nothing, the shard that it is a half of, or the two that were merged. It holds what those held in its range.
    init(_ entries: [UInt64: LogEntry], of range: HashRange, after parents: [LogModel], bulk: (String) -> [UInt8]?) {
        self.range = range
        for parent in parents {
            versions.merge(parent.versions.filter { range.contains($0.key.hash) }) { _, new in new }
            positions.merge(parent.positions) { $0.union($1) }
            for (request, places) in parent.applied {
                for place in places {
                    let ranges = place.ranges.compactMap { $0.intersection(range) }
                    if !ranges.isEmpty { applied[request, default: []].append((place.position, ranges)) }
                }
            }
            (last, epoch) = (max(last, parent.last), max(epoch, parent.epoch))
        }
        var (holder, isOver): (LogWriterID?, Bool) = (nil, false)
        while let entry = entries[last + 1] {
            last += 1
            switch entry.content {
            case .claim:
                guard !isOver, entry.epoch > epoch else { continue }
                claims += 1
                (epoch, holder) = (entry.epoch, entry.writer)
                continue
            case .barrier: continue
            default: break
            }
            guard !isOver, entry.epoch == epoch, entry.writer == holder else {
                // With one put in flight no owner's entry gets in behind the claim that replaced it.
                faults.append("entry \(last) of \(entry.writer) in epoch \(entry.epoch) counts for nobody")
                continue
            }
            switch entry.content {
            case .release: holder = nil
            case .terminal: isOver = true
            case .split: (isOver, isSplit) = (true, true)
            case .promise: break
            case .merge(let other): (isOver, mergedWith) = (true, other)
            case .data(_, let requests): for request in requests { apply(request.operations, of: request.part.id, entry) }
            case .bulk(_, let request):
                var operations: [LoggedOperation] = []
                for record in request.objects {
                    guard let bytes = bulk(record.name), let object = try? BulkObject(decoding: bytes, of: record) else {
                        faults.append("entry \(last) names bulk object \(record.name), which was never stored")
                        continue
                    }
                    operations += object.operations
                }
                apply(operations, of: request.part.id, entry)
            case .claim, .barrier: break
            }
        }
    }

    private mutating func apply(_ operations: [LoggedOperation], of request: RequestID, _ entry: LogEntry) {
        // Where one of the halves had applied it that the shard was merged of, nothing of it is left to be done.
        let before = (applied[request] ?? []).flatMap(\.ranges).united
        if before == [range] { faults.append("request \(request) was applied at position \(entry.position), and before at \(applied[request]!.map(\.position))") }
        applied[request, default: []].append((entry.position, before.rest(of: range)))
        positions[request, default: []].insert(entry.position)
        for id in operations.flatMap(\.ids) where before.contains(id.hash) {
            faults.append("request \(request) was applied to \(id) at position \(entry.position), and before at \(applied[request]!.map(\.position))")
        }
        for operation in operations {
            switch operation {
            case .upsert(let point):
                end(point.id, at: entry.position)
                versions[point.id, default: []].append(Version(from: entry.position, to: nil, point: point))
            case .delete(let ids): for id in ids { end(id, at: entry.position) }
            }
        }
    }

    private mutating func end(_ id: PointID, at position: UInt64) {
        guard let last = versions[id]?.indices.last, versions[id]![last].to == nil else { return }
        versions[id]![last].to = position
        // Replaced within its own entry: nobody ever saw it.
        if versions[id]![last].from == position { versions[id]!.removeLast() }
    }

    /// The versions that were live at some position of the range.
    func live(_ id: PointID, in range: ClosedRange<UInt64>) -> [Version] {
        (versions[id] ?? []).filter { $0.from <= range.upperBound && ($0.to ?? .max) > range.lowerBound }
    }

    /// Whether there was a position in the range at which the point did not exist.
    func mayBeAbsent(_ id: PointID, in range: ClosedRange<UInt64>) -> Bool {
        var next = range.lowerBound
        for version in live(id, in: range) {
            if version.from > next { return true }
            guard let end = version.to else { return false }
            next = end
        }
        return next <= range.upperBound
    }

    /// The version that was live at every position of the range.
    func throughout(_ id: PointID, _ range: ClosedRange<UInt64>) -> Version? {
        live(id, in: range).first { $0.from <= range.lowerBound && ($0.to ?? .max) > range.upperBound }
    }

    /// For people: when a point lived.
    func story(_ id: PointID) -> String { (versions[id] ?? []).map { "\($0.from)–\($0.to.map(String.init) ?? "")" }.joined(separator: ", ") }
}

extension LoggedOperation {
    fileprivate var ids: [PointID] {
        switch self {
        case .upsert(let point): [point.id]
        case .delete(let ids): ids
        }
    }
}

extension [HashRange] {
    /// What ascending ranges leave of a range that holds them.
    fileprivate func rest(of range: HashRange) -> [HashRange] {
        var (rest, next): ([HashRange], UInt64?) = ([], range.first)
        for part in self {
            if let first = next, first < part.first { rest.append(HashRange(first: first, last: part.first - 1)) }
            next = part.last == .max ? nil : part.last + 1
        }
        if let first = next, first <= range.last { rest.append(HashRange(first: first, last: range.last)) }
        return rest
    }
}

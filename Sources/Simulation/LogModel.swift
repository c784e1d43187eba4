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
    /// Valid entries that hold a request, by its id: more than one only if it was applied more than once.
    private(set) var applied: [RequestID: [UInt64]] = [:]
    /// The last position without a hole before it.
    private(set) var last: UInt64 = 0
    private(set) var claims = 0
    /// Whether two other shards keep its halves.
    private(set) var isSplit = false
    private(set) var epoch: UInt64 = 0
    /// Entries that count for nobody: their writer had been replaced.
    private(set) var void = 0
    /// Positions of valid entries with operations, and who wrote them.
    private(set) var writers: [UInt64: LogWriterID] = [:]
    /// Things that must not be.
    private(set) var faults: [String] = []

    /// - Parameter parent: What the shard comes from, if it is a half: it holds what that held in its range.
    init(_ entries: [UInt64: LogEntry], after parent: (model: LogModel, range: HashRange)?, bulk: (String) -> [UInt8]?) {
        if let (parent, range) = parent {
            versions = parent.versions.filter { range.contains($0.key.hash) }
            (applied, writers, last, epoch) = (parent.applied, parent.writers, parent.last, parent.epoch)
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
            default: break
            }
            guard !isOver, entry.epoch == epoch, entry.writer == holder else {
                void += 1
                continue
            }
            switch entry.content {
            case .release: holder = nil
            case .terminal: isOver = true
            case .split: (isOver, isSplit) = (true, true)
            case .data(_, let requests): for request in requests { apply(request.operations, of: request.id, entry) }
            case .bulk(_, let request):
                var operations: [LoggedOperation] = []
                for record in request.objects {
                    guard let bytes = bulk(record.name), let object = try? BulkObject(decoding: bytes, of: record) else {
                        faults.append("entry \(last) names bulk object \(record.name), which was never stored")
                        continue
                    }
                    operations += object.operations
                }
                apply(operations, of: request.id, entry)
            case .claim: break
            }
        }
    }

    private mutating func apply(_ operations: [LoggedOperation], of request: RequestID, _ entry: LogEntry) {
        applied[request, default: []].append(entry.position)
        writers[entry.position] = entry.writer
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

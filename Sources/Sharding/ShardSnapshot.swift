import Model
import Storage
import VectorIndex
import VectorMath

/// A shard as of one position, for reading without a lock while the shard goes on.
struct ShardSnapshot: Sendable {
    let position: UInt64
    let manifestVersion: UInt64
    /// Oldest first; those that cannot be read have no content.
    let segments: [ShardState.Segment]
    /// Blocks of the tail, oldest first.
    let tail: [Part]
    let pointCount: Int
    let unreadableCount: Int

    /// Everything that can be read.
    var parts: [Part] { segments.compactMap(\.part) + tail }

    // MARK: - Count and ids

    /// Live points that pass `filter`.
    func count(_ filter: Filter?, stop: StopSignal) throws(ClusterError) -> Int {
        guard let filter, !filter.isEmpty else { return parts.reduce(0) { $0 + $1.liveCount } }
        var count = 0
        for part in parts { count += try part.admitted(by: filter, stop: stop).count }
        return count
    }

    /// Ids of the live points that pass `filter`, in no order.
    func ids(passing filter: Filter, stop: StopSignal) throws(ClusterError) -> [PointID] {
        var ids: [PointID] = []
        for part in parts {
            try part.admitted(by: filter, stop: stop).visit {
                ids.append(part.rows.id($0))
                return true
            }
        }
        return ids
    }

    // MARK: - Pages

    /// The first `limit` points in the order of ids, from `start` on, that pass `filter`.
    ///
    /// - Complexity: O(tail + limit) after the filter; segments are read in the order of their ids.
    func page(from start: PointID?, limit: Int, filter: Filter?, stop: StopSignal) throws(ClusterError) -> [(rows: any Rows, row: Int)] {
        var candidates: [(id: PointID, rows: any Rows, row: Int)] = []
        for part in parts {
            let admitted = try part.admitted(by: filter, stop: stop)
            if let segment = part.rows as? SegmentRows {
                var rank = start.map(segment.firstRank) ?? 0
                var found = 0
                while rank < segment.count && found < limit {
                    if rank % 4_096 == 0 { try stop.check() }
                    let row = segment.row(rank: rank)
                    if admitted.contains(row) {
                        candidates.append((segment.id(rank: rank), segment, row))
                        found += 1
                    }
                    rank += 1
                }
            } else {
                admitted.visit { row in
                    let id = part.rows.id(row)
                    if start.map({ $0 <= id }) ?? true { candidates.append((id, part.rows, row)) }
                    return true
                }
            }
        }
        candidates.sort { $0.id < $1.id }
        return candidates.prefix(limit).map { ($0.rows, $0.row) }
    }
}

/// Hands a row out.
func storedPoint(_ rows: any Rows, _ row: Int, payload selection: PayloadSelection, withVector: Bool) throws(ClusterError) -> StoredPoint {
    var point = StoredPoint(id: rows.id(row), version: rows.version(row))
    if withVector { point.vector = rows.vector(row) }
    do throws(FormatError) {
        switch selection {
        case .none: break
        case .only(let keys): point.payload = selection.select(from: try rows.payload(row, only: PayloadSelection.members(of: keys)))
        case .all, .except: point.payload = selection.select(from: try rows.payload(row, only: nil))
        }
    } catch { throw ClusterError(.dataLoss, "payload of point \(point.id) is unreadable: \(error)") }
    return point
}

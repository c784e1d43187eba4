import Model
import Storage
import Synchronization
import VectorMath

/// The rows that pass a filter, for the last few filters asked of rows that never change.
///
/// It remembers which rows pass, never a result: deletions and scores are looked at anew by each search.
final class FilterCache: Sendable {
    /// Filters remembered. Reason: a chat or a page of results asks with the same one; a bitmap has one bit a row.
    private static let limit = 8

    private let entries = Mutex<[(filter: Filter, rows: RowBitmap)]>([])

    func rows(passing filter: Filter) -> RowBitmap? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.filter == filter }) else { return nil }
            let entry = entries.remove(at: index)
            entries.append(entry)
            return entry.rows
        }
    }

    func remember(_ rows: RowBitmap, for filter: Filter) {
        entries.withLock { entries in
            if entries.count == Self.limit { entries.removeFirst() }
            entries.append((filter, rows))
        }
    }
}

extension Part {
    /// The live rows that pass `filter`.
    ///
    /// - Complexity: O(rows / 64) for a filter that was asked lately; O(matches) where an index answers it; else O(payload) for
    ///   each row that may pass.
    /// - Throws: `dataLoss` for a payload that cannot be read; the reason of `stop`.
    func admitted(by filter: Filter?, stop: StopSignal) throws(ClusterError) -> RowBitmap {
        guard let filter, !filter.isEmpty else { return live }
        var admitted = try passing(filter, stop: stop)
        admitted.formIntersection(live)
        return admitted
    }

    private func passing(_ filter: Filter, stop: StopSignal) throws(ClusterError) -> RowBitmap {
        if let known = rows.filters.rows(passing: filter) { return known }
        let (candidates, rest) = rows.narrowed(by: filter) ?? (RowBitmap(rowCount: live.rowCount, filled: true), filter)
        var passing = candidates
        if !rest.isEmpty {
            let keys = rest.payloadKeys
            passing = RowBitmap(rowCount: live.rowCount)
            var asked = 0
            try candidates.forEach { (row) throws(ClusterError) in
                guard row < count else { return }
                if asked % 256 == 0 { try stop.check() }
                asked += 1
                if try passes(row, rest, keys: keys) { passing.insert(row) }
            }
        }
        // Of a block that still grows, later rows are missing.
        if count == live.rowCount { rows.filters.remember(passing, for: filter) }
        return passing
    }

    /// Whether one row passes.
    func passes(_ row: Int, _ filter: Filter, keys: Set<String>) throws(ClusterError) -> Bool {
        do throws(FormatError) {
            return filter.passes(id: rows.id(row), payload: keys.isEmpty ? [:] : try rows.payload(row, only: keys))
        } catch { throw ClusterError(.dataLoss, "payload of point \(rows.id(row)) is unreadable: \(error)") }
    }
}

extension Filter {
    /// Members of a payload that the filter may look at.
    var payloadKeys: Set<String> {
        var keys: Set<String> = []
        for condition in must + should + mustNot {
            switch condition {
            case .match(let key, _), .matchExcept(let key, _), .range(let key, _), .isEmpty(let key):
                keys.insert(key)
                let first = key.prefix { $0 != "." }
                keys.insert(String(first.hasSuffix("[]") ? first.dropLast(2) : first))
            case .hasID: break
            case .nested(let filter): keys.formUnion(filter.payloadKeys)
            }
        }
        return keys
    }
}

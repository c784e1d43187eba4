/// Which segments a seal merges with what is in memory: always the newest ones, without a gap, so that the new segment
/// covers one range of the log (protocol, H9).
enum SealPlan {
    struct Segment {
        var rows: Int
        var live: Int
    }

    /// - Parameters:
    ///   - segments: Oldest first.
    ///   - tail: Live points in memory.
    ///   - everything: Whether one segment shall remain, without deleted rows.
    /// - Returns: How many of the newest segments are merged; `nil` if there is nothing to do.
    static func merged(segments: [Segment], tail: Int, tailIsEmpty: Bool, everything: Bool) -> Int? {
        if everything {
            let isDone = tailIsEmpty && segments.count <= 1 && segments.allSatisfy { $0.rows == $0.live }
            return isDone ? nil : segments.count
        }
        guard !tailIsEmpty else { return nil }
        // A segment joins if it is at most twice as large as what is merged already, or half empty: each point is then
        // rewritten O(log n) times, and the number of segments stays O(log n).
        var size = tail
        var count = 0
        for segment in segments.reversed() {
            guard segment.live <= 2 * size || 2 * segment.live < segment.rows else { break }
            size += segment.live
            count += 1
        }
        return count
    }
}

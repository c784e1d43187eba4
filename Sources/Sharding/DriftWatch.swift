import Synchronization

/// How well the codes of each open shard's newest segment describe its points.
final class DriftWatch: Sendable {
    /// Of one segment, the newest that is searched by code; see ``SegmentIndex/quantizationError``.
    struct Drift: Hashable, Sendable {
        let segment: String
        /// New points are those written after this position.
        let position: UInt64
        let quantizationError: Double?
        /// Of points that no segment holds yet, described by the segment's codes; `nil` until some were measured.
        var newPointsError: Double?
        /// Points that no segment held then.
        var measuredAt = 0

        func isOfSame(_ other: Drift) -> Bool { segment == other.segment && position == other.position }

        /// How much worse codes describe new points than those that they were made for.
        var ratio: Double? {
            guard let quantizationError, let newPointsError, quantizationError > 0 else { return nil }
            return newPointsError / quantizationError
        }
    }

    /// By the number that an opening of a shard has: a shard may be opened anew before its last opening is closed.
    private let drifts = Mutex<[UInt64: Drift]>([:])

    func set(_ drift: Drift?, of opening: UInt64) { drifts.withLock { $0[opening] = drift } }
    func drift(of opening: UInt64) -> Drift? { drifts.withLock { $0[opening] } }

    var all: [Drift] { drifts.withLock { Array($0.values) } }
}

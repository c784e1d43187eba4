import Model
import VectorIndex
import VectorMath

extension ShardSnapshot {
    /// Balls that hold every live point: those of the segments' lists, of their regions or of whole segments, the finest that fit, and some around
    /// points of the tail.
    ///
    /// - Returns: `nil` if there are none: a file cannot be read, distances overflow, or the coarsest takes more than `maximumBytes`.
    /// - Complexity: O(lists · `dimension`), and for the tail some ten milliseconds.
    func outline(_ schema: CollectionSchema, maximumBytes: Int, stop: StopSignal) throws(ClusterError) -> ShardOutline? {
        guard segments.allSatisfy({ $0.content != nil || $0.liveCount == 0 }) else { return nil }
        let dimension = schema.dimension
        let indexes = segments.filter { $0.liveCount > 0 }.compactMap(\.content?.index)
        let tail = try tailBalls(schema, stop: stop)
        func byteCount(_ detail: SegmentIndex.OutlineDetail) -> Int {
            indexes.reduce(tail?.byteCount ?? 0) { $0 + ShardOutline.Balls.byteCount($1.ballCount(detail), dimension: dimension) }
        }
        guard let detail = SegmentIndex.OutlineDetail.allCases.first(where: { byteCount($0) <= maximumBytes }) else { return nil }
        var outline = ShardOutline()
        for index in indexes {
            try stop.check()
            guard let balls = index.balls(detail) else { return nil }
            outline.balls.append(balls)
        }
        if let tail {
            guard tail.radii.allSatisfy(\.isFinite), tail.greatestLength.isFinite else { return nil }
            outline.balls.append(tail)
        }
        return outline
    }

    /// Balls of the tail at most. Reason: a tail of so many points is told exactly, and 384 dimensions take 100 kB.
    private static let tailBalls = 256
    /// Comparisons of the tail's points with balls, in elements. Reason: some ten milliseconds of a kernel.
    private static let tailElements = 1 << 27

    private func tailBalls(_ schema: CollectionSchema, stop: StopSignal) throws(ClusterError) -> ShardOutline.Balls? {
        let (live, dimension) = (tail.reduce(0) { $0 + $1.liveCount }, schema.dimension)
        guard live > 0 else { return nil }
        let count = max(1, min(live, Self.tailBalls, Self.tailElements / (live * dimension)))
        let divides = schema.datatype.dividesByLength(under: schema.metric)
        func forEach(_ take: (Int, Span<Float>) -> Void) throws(ClusterError) {
            var vector = [Float](repeating: 0, count: dimension)
            var place = 0
            for part in tail where part.liveCount > 0 {
                try stop.check()
                part.live.visit { row in
                    guard row < part.count else { return false }
                    var out = vector.mutableSpan
                    part.rows.copyVector(row, to: &out)
                    if divides {
                        let factor = FullVectors.inverseNorm(of: out.span)
                        for element in out.indices { out[element] *= factor }
                    }
                    take(place, vector.span)
                    place += 1
                    return true
                }
            }
        }
        var centres: [Float] = []
        try forEach { place, vector in
            // Spread evenly over the tail.
            guard place * count / live >= centres.count / dimension else { return }
            for element in vector.indices { centres.append(vector[element]) }
        }
        do {
            return try ShardOutline.Balls(around: centres, dimension: dimension) { take in try forEach { take($1) } }
        } catch let error as ClusterError { throw error } catch { throw ClusterError(.internal, "\(error)") }
    }
}

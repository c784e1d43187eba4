import Model
import VectorIndex

extension Shard {
    /// Points that no segment holds, from which on they are measured, and measured at most. Reason: the mean error of 64 vectors is mostly known
    /// to a few per cent.
    private static let leastPoints = 64
    private static let mostPoints = 256
    /// Products of bytes beyond which fewer points are measured: a tenth of a second.
    private static let mostProducts = 1 << 32

    /// How well codes fit, as far as that is known; `nil` where no segment is searched by code.
    nonisolated var drift: DriftWatch.Drift? { newestByCode?.drift }

    private nonisolated var newestByCode: (content: OpenSegment, drift: DriftWatch.Drift)? {
        let threshold = environment.configuration.exactScanThreshold
        let (newest, position) = state.withLock { state in (state.segments.last { $0.content != nil && $0.liveCount > threshold }, state.coveredPosition) }
        guard let newest, let content = newest.content else { return nil }
        let drift = DriftWatch.Drift(segment: newest.record.name, position: position, quantizationError: content.index.quantizationError)
        // What was measured may be of a segment that serves no more.
        if let known = environment.drift.drift(of: writer.incarnation), known.isOfSame(drift) { return (content, known) }
        return (content, drift)
    }

    /// Measures in the background how well codes describe what arrived since the last seal, once that has grown by a quarter.
    func watchDrift() {
        guard isUsable, let (content, drift) = newestByCode else { return environment.drift.set(nil, of: writer.incarnation) }
        environment.drift.set(drift, of: writer.incarnation)
        let count = state.withLock { $0.tailCount }
        guard measuring == nil, count >= Self.leastPoints, 4 * count >= 5 * drift.measuredAt else { return }
        let tail = snapshot.tail
        // Its parent is this shard: `close` waits for it.
        measuring = Task {
            defer { measuring = nil }
            var measured = drift
            measured.measuredAt = count
            do throws(ClusterError) {
                measured.newPointsError = try await environment.run(on: environment.searchThreads) { () throws(ClusterError) in
                    let index = content.index
                    let most = max(Self.leastPoints, min(Self.mostPoints, Self.mostProducts / (index.listCount * index.dimension)))
                    return index.quantizationError(of: Self.sample(tail, min(most, count), of: count, dimension: index.dimension))
                }
            } catch { return }  // searches leave no room: a later write measures
            if isUsable, let now = newestByCode?.drift, now.isOfSame(drift) { environment.drift.set(measured, of: writer.incarnation) }
        }
    }

    /// Vectors of live rows, evenly spaced, row-major.
    private static func sample(_ tail: [Part], _ wanted: Int, of count: Int, dimension: Int) -> [Float] {
        var vectors: [Float] = []
        vectors.reserveCapacity(wanted * dimension)
        var seen = 0
        for part in tail {
            part.live.visit { row in
                if seen * wanted / count < (seen + 1) * wanted / count { vectors += part.rows.vector(row) }
                seen += 1
                return true
            }
        }
        return vectors
    }
}

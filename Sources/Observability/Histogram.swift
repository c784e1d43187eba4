import Synchronization

/// How often a measured value fell below each of some bounds, with sum and count: what quantiles are estimated from.
package final class Histogram: Sendable {
    /// Seconds; from an answer out of memory to a request that nobody waits for any more, at most a factor 2.5 apart.
    package static let latencyBuckets: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    struct Contents {
        /// Observations per bucket, not cumulative; the last is for values above every bound.
        var counts: [Int]
        var sum: Double = 0

        static func += (a: inout Contents, b: Contents) {
            for index in a.counts.indices { a.counts[index] += b.counts[index] }
            a.sum += b.sum
        }
    }

    let buckets: [Double]
    private let contents: Mutex<Contents>

    init(buckets: [Double]) {
        precondition(!buckets.isEmpty && zip(buckets, buckets.dropFirst()).allSatisfy { $0 < $1 }, "buckets \(buckets) do not ascend")
        self.buckets = buckets
        contents = Mutex(Contents(counts: Array(repeating: 0, count: buckets.count + 1)))
    }

    /// O(log buckets). A value that is not a number is dropped: one would spoil the sum for ever.
    package func observe(_ value: Double) {
        guard !value.isNaN else { return }
        var low = 0
        var high = buckets.count
        while low < high {
            let middle = (low + high) / 2
            if value <= buckets[middle] { high = middle } else { low = middle + 1 }
        }
        contents.withLock { contents in
            contents.counts[low] += 1
            contents.sum += value
        }
    }

    /// Seconds.
    package func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    package var count: Int { snapshot.counts.reduce(0, +) }
    var snapshot: Contents { contents.withLock { $0 } }

    /// Adds what another histogram with the same buckets holds.
    func merge(_ other: Histogram) {
        let theirs = other.snapshot
        contents.withLock { $0 += theirs }
    }
}

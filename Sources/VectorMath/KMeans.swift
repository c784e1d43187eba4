/// Divides byte vectors into clusters around means (Lloyd's algorithm), the same way for the same seed on every machine.
package struct KMeans: Sendable {
    package let dimension: Int
    /// Row-major `[count, dimension]`.
    package private(set) var centroids: [Float]
    package var count: Int { centroids.count / dimension }

    private let kernels = Kernels.best

    /// Trains on all of `vectors`.
    ///
    /// - Parameters:
    ///   - vectors: At least one.
    ///   - count: Clusters wanted; fewer come out if there are fewer vectors.
    ///   - iterations: Passes over the vectors; it stops earlier when nothing changes.
    /// - Complexity: `iterations` · n · `count` · `dimension` multiplications of bytes.
    package init(_ vectors: ByteVectors, count: Int, iterations: Int, random: inout SplitMix64) {
        precondition(count > 0 && vectors.count > 0, "\(count) clusters of \(vectors.count) vectors")
        dimension = vectors.dimension
        centroids = []
        for row in random.sample(min(count, vectors.count), below: vectors.count) { centroids += vectors.decoded(row) }
        var assigned = [UInt32](repeating: .max, count: vectors.count)
        for _ in 0..<iterations {
            let previous = assigned
            assign(vectors, into: &assigned)
            if assigned == previous { break }
            moveToMeans(of: vectors, assigned: &assigned, random: &random)
        }
    }

    package init(centroids: [Float], dimension: Int) {
        self.centroids = centroids
        self.dimension = dimension
    }

    /// The cluster of each vector: the one with the nearest centroid, the first of equals. The centroids are rounded to bytes
    /// for it.
    package func assign(_ vectors: ByteVectors, into assigned: inout [UInt32]) {
        precondition(vectors.count == assigned.count && vectors.dimension == dimension, "\(vectors.count) vectors, \(assigned.count) wanted")
        var out = assigned.mutableSpan
        ByteCentroids(centroids.span, dimension: dimension).assign(
            rows: vectors.bytes.span, scales: vectors.scales.span, into: &out, kernels: kernels)
    }

    private mutating func moveToMeans(of vectors: ByteVectors, assigned: inout [UInt32], random: inout SplitMix64) {
        var sizes = [Int](repeating: 0, count: count)
        for cluster in assigned { sizes[Int(cluster)] += 1 }
        refillEmpty(&sizes, assigned: &assigned, random: &random)
        for cluster in sizes.indices where sizes[cluster] > 0 {
            for element in cluster * dimension..<(cluster + 1) * dimension { centroids[element] = 0 }
        }
        for row in assigned.indices {
            let start = Int(assigned[row]) * dimension
            unsafe centroids.withUnsafeMutableBufferPointer { all in
                var sum = unsafe MutableSpan(_unsafeElements: all.extracting(start..<start + dimension))
                vectors.add(row, to: &sum)
            }
        }
        for cluster in sizes.indices where sizes[cluster] > 0 {
            let inverse = 1 / Float(sizes[cluster])
            for element in cluster * dimension..<(cluster + 1) * dimension { centroids[element] *= inverse }
        }
    }

    /// Gives each empty cluster a vector out of a cluster that has more than one, larger ones more likely.
    private func refillEmpty(_ sizes: inout [Int], assigned: inout [UInt32], random: inout SplitMix64) {
        for cluster in sizes.indices where sizes[cluster] == 0 {
            // A few tries suffice: a random vector lies in a large cluster with the probability of that cluster's share.
            for _ in 0..<64 {
                let row = Int(random.next() % UInt64(assigned.count))
                let donor = Int(assigned[row])
                guard sizes[donor] > 1 else { continue }
                sizes[donor] -= 1
                sizes[cluster] = 1
                assigned[row] = UInt32(cluster)
                break
            }
        }
    }
}

/// Centroids in signed bytes with one scale for all, as the assignment wants them.
package struct ByteCentroids: Sendable {
    private let dimension: Int
    private var bytes: [Int8] = []
    private var halfNorms: [Float] = []
    private let scale: Float

    /// - Parameter centroids: Row-major `[n, dimension]`, n ≥ 1.
    package init(_ centroids: Span<Float>, dimension: Int) {
        self.dimension = dimension
        var largest: Float = 0
        for index in centroids.indices { largest = max(largest, abs(centroids[index])) }
        let step = largest / 127
        let inverse = step >= .leastNormalMagnitude && step.isFinite ? 1 / step : 0
        scale = inverse > 0 ? step : 0
        bytes.reserveCapacity(centroids.count)
        for start in stride(from: 0, to: centroids.count, by: dimension) {
            var sum: Float = 0
            for element in start..<start + dimension {
                bytes.append(Int8(truncatingIfNeeded: Int32(centroids[element] * inverse + 128.5) - 128))
                sum += centroids[element] * centroids[element]
            }
            halfNorms.append(sum / 2)
        }
    }

    /// - Parameters:
    ///   - rows: `[n, dimension]`, with `scales` `[n]`.
    ///   - assigned: Output, `[n]`: the nearest centroid of each, the first of equals.
    package func assign(rows: Span<UInt8>, scales: Span<Float>, into assigned: inout MutableSpan<UInt32>, kernels: Kernels = .best) {
        kernels.nearest(
            rows: rows, scales: scales, centroids: bytes.span, scale: scale, halfNorms: halfNorms.span, dimension: dimension, into: &assigned)
    }
}

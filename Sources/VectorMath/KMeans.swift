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
        centroids = vectors.means(of: assigned, previous: centroids)
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
    private let bytes: [Int8]
    private let halfNorms: [Float]
    private let scale: Float

    /// - Parameter centroids: Row-major `[n, dimension]`, n ≥ 1.
    package init(_ centroids: Span<Float>, dimension: Int) {
        self.dimension = dimension
        var (difference, rounded) = ([Float](repeating: 0, count: centroids.count), [UInt8](repeating: 0, count: centroids.count))
        let zeros = difference
        var differenceOut = difference.mutableSpan
        var roundedOut = rounded.mutableSpan
        scale = Kernels.best.round(centroids, less: zeros.span, difference: &differenceOut, bytes: &roundedOut)
        bytes = rounded.map { Int8(bitPattern: $0 ^ 128) }
        halfNorms = stride(from: 0, to: centroids.count, by: dimension).map {
            let centroid = centroids.extracting($0..<$0 + dimension)
            return Kernels.best.dot(centroid, centroid) / 2
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

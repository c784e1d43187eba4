/// Divides vectors into clusters around means (Lloyd's algorithm), the same way for the same seed on every machine.
package struct KMeans: Sendable {
    package let dimension: Int
    /// Row-major `[count, dimension]`.
    package private(set) var centroids: [Float]
    package var count: Int { centroids.count / dimension }

    private let kernels = Kernels.best

    /// Trains on all of `vectors`.
    ///
    /// - Parameters:
    ///   - vectors: Row-major `[n, dimension]`, n ≥ 1.
    ///   - count: Clusters wanted; fewer come out if there are fewer vectors.
    ///   - iterations: Passes over the vectors; it stops earlier when nothing changes.
    /// - Complexity: O(`iterations` · n · `count` · `dimension`).
    package init(vectors: Span<Float>, dimension: Int, count: Int, iterations: Int, random: inout SplitMix64) {
        precondition(dimension > 0 && count > 0, "\(count) clusters of dimension \(dimension)")
        let vectorCount = vectors.count / dimension
        precondition(vectorCount > 0 && vectors.count == vectorCount * dimension, "\(vectors.count) elements in rows of \(dimension)")
        self.dimension = dimension
        centroids = []
        for row in random.sample(min(count, vectorCount), below: vectorCount) {
            for element in row * dimension..<(row + 1) * dimension { centroids.append(vectors[element]) }
        }
        var assigned = [UInt32](repeating: .max, count: vectorCount)
        for _ in 0..<iterations {
            let previous = assigned
            assign(vectors, into: &assigned)
            if assigned == previous { break }
            moveToMeans(of: vectors, assigned: &assigned, random: &random)
        }
    }

    /// The cluster of each vector: the one with the nearest centroid, the first of equals.
    package func assign(_ vectors: Span<Float>, into assigned: inout [UInt32]) {
        precondition(vectors.count == assigned.count * dimension, "\(vectors.count) elements, \(assigned.count) vectors")
        // |v − c|² = |v|² − 2 (v·c − |c|²/2), and |v|² is the same for all centroids.
        let halfNorms = self.halfNorms
        var products = [Float](repeating: 0, count: count)
        for row in assigned.indices {
            let vector = vectors.extracting(row * dimension..<(row + 1) * dimension)
            var out = products.mutableSpan
            kernels.dot(vector, rows: centroids.span, into: &out)
            assigned[row] = UInt32(kernels.indexOfLargestDifference(products.span, halfNorms.span))
        }
    }

    private var halfNorms: [Float] {
        (0..<count).map { index in
            let centroid = centroids.span.extracting(index * dimension..<(index + 1) * dimension)
            return kernels.dot(centroid, centroid) / 2
        }
    }

    private mutating func moveToMeans(of vectors: Span<Float>, assigned: inout [UInt32], random: inout SplitMix64) {
        var sizes = [Int](repeating: 0, count: count)
        for cluster in assigned { sizes[Int(cluster)] += 1 }
        refillEmpty(&sizes, assigned: &assigned, random: &random)
        // Sums in double precision: a mean of many floats would otherwise drift with their number.
        var sums = [Double](repeating: 0, count: centroids.count)
        for row in assigned.indices {
            let base = Int(assigned[row]) * dimension
            for element in 0..<dimension { sums[base + element] += Double(vectors[row * dimension + element]) }
        }
        for cluster in 0..<count where sizes[cluster] > 0 {
            let size = Double(sizes[cluster])
            for element in cluster * dimension..<(cluster + 1) * dimension { centroids[element] = Float(sums[element] / size) }
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

import Storage
import VectorMath

/// Divides byte vectors into clusters around means (Lloyd's algorithm), the same way for the same seed on every machine.
package struct KMeans {
    package private(set) var centroids: ByteVectors

    /// Trains on some of `vectors`.
    ///
    /// - Parameters:
    ///   - rows: Those to train on, at least one.
    ///   - count: Clusters wanted; fewer come out if there are fewer rows.
    ///   - iterations: Passes over the rows; it stops earlier when nothing changes.
    ///   - share: See ``BuildWork/forEach(_:until:make:take:)``.
    /// - Complexity: `iterations` · rows · `count` · dimension multiplications of bytes.
    package init(
        _ vectors: ByteVectors, rows: [UInt32], count: Int, iterations: Int, random: inout SplitMix64, work: BuildWork, until share: Double
    ) throws(SegmentError) {
        precondition(count > 0 && !rows.isEmpty, "\(count) clusters of \(rows.count) vectors")
        centroids = vectors.picked(random.sample(min(count, rows.count), below: rows.count).map { rows[$0] }[...])
        var assigned: [UInt32] = []
        for _ in 0..<iterations {
            let previous = assigned
            assigned = try work.assign(vectors, rows: rows, to: centroids, until: share)
            if assigned == previous { break }
            refillEmpty(&assigned, random: &random)
            centroids = try work.means(of: vectors, rows: rows, in: Groups(assigned, count: centroids.count), previous: centroids, until: share)
        }
    }

    /// Gives each empty cluster a vector out of a cluster that has more than one, larger ones more likely.
    private func refillEmpty(_ assigned: inout [UInt32], random: inout SplitMix64) {
        var sizes = [Int](repeating: 0, count: centroids.count)
        for cluster in assigned { sizes[Int(cluster)] += 1 }
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

/// The members of each group, ascending.
struct Groups: Sendable {
    /// Group g has the members `starts[g]..<starts[g + 1]` of `members`.
    private(set) var starts: [UInt32]
    private(set) var members: [UInt32]
    var count: Int { starts.count - 1 }

    /// - Parameter groups: That of each member; members of groups from `count` on are left out.
    init(_ groups: [UInt32], count: Int) {
        starts = [UInt32](repeating: 0, count: count + 1)
        for group in groups where group < count { starts[Int(group) + 1] += 1 }
        for group in 0..<count { starts[group + 1] += starts[group] }
        var next = starts
        members = [UInt32](repeating: 0, count: Int(starts[count]))
        for (member, group) in groups.enumerated() where group < count {
            members[Int(next[Int(group)])] = UInt32(member)
            next[Int(group)] += 1
        }
    }

    subscript(group: Int) -> ArraySlice<UInt32> { members[Int(starts[group])..<Int(starts[group + 1])] }
}

extension BuildWork {
    /// Multiplications of bytes in a piece: about a millisecond with AVX-512, ten with AVX2.
    static let pieceProducts = 1 << 27

    /// The nearest centroid of each vector, the first of equals.
    ///
    /// - Parameter rows: Those to assign, in their order. Default: all.
    package func assign(_ vectors: ByteVectors, rows: [UInt32]? = nil, to centroids: ByteVectors, until share: Double) throws(SegmentError) -> [UInt32] {
        let count = rows?.count ?? vectors.count
        let size = max(4, min(Self.pieceProducts / (centroids.count * vectors.dimension), 4_096))
        let byteCentroids = ByteCentroids(centroids)
        return try joined(Self.pieces(count, of: size), count: count, until: share) { piece in
            guard let rows else { return vectors.nearest(of: byteCentroids, rows: piece) }
            return vectors.picked(rows[piece]).nearest(of: byteCentroids, rows: 0..<piece.count)
        }
    }

    /// The mean of each group's vectors, summed in the order of its members; of a group without any, its `previous` one.
    ///
    /// - Parameter rows: Which vectors the groups' members are. Default: members are vectors.
    func means(
        of vectors: ByteVectors, rows: [UInt32]? = nil, in groups: Groups, previous: ByteVectors, until share: Double
    ) throws(SegmentError) -> ByteVectors {
        let dimension = vectors.dimension
        var means = ByteVectors(dimension: dimension, capacity: groups.count)
        try forEach(Self.pieces(groups.count, of: max(1, (1 << 17) / dimension)), until: share) { piece in
            var part = ByteVectors(dimension: dimension, capacity: piece.count)
            let zeros = [Float](repeating: 0, count: dimension)
            var (mean, difference) = (zeros, zeros)
            for group in piece {
                let members = groups[group]
                if members.isEmpty {
                    part.append(group, of: previous)
                    continue
                }
                for element in mean.indices { mean[element] = 0 }
                var sum = mean.mutableSpan
                for member in members { vectors.add(rows.map { Int($0[Int(member)]) } ?? Int(member), to: &sum) }
                let inverse = 1 / Float(members.count)
                for element in mean.indices { mean[element] *= inverse }
                part.append(mean.span, origin: zeros.span, difference: &difference)
            }
            return part
        } take: { means.append(contentsOf: $0) }
        return means
    }
}

import VectorMath

/// Rows in lists, lists in regions: what belongs together by distance.
///
/// Lloyd's algorithm with as many centres as lists, in which a row is compared only with the lists of its own region and of the
/// regions next to it. Regions are found by k-means first.
struct Clusters {
    /// Region r has the lists `regionStarts[r]..<regionStarts[r + 1]`.
    private(set) var regionStarts: [UInt32] = []
    /// List l has the rows `listStarts[l]..<listStarts[l + 1]` of `order`.
    private(set) var listStarts: [UInt32] = []
    /// Which vector became which row; rows of a list keep the order of the input.
    private(set) var order: [UInt32] = []
    /// The regions' and the lists' centres.
    private(set) var regions: ByteVectors
    private(set) var lists: ByteVectors

    /// Lists that a row may move to at least: those of its region and of the nearest others.
    private static let neighbours = 400
    /// Regions over the root of the number of lists: the finer they are, the fewer lists outside the right ones a search looks at.
    private static let regionRoots = 4.0

    /// - Parameter heldOut: Vectors that centres are not drawn towards.
    /// - Complexity: n · (400 · `iterations` + 4 · √(n / `listSize`)) · `dimension` multiplications of bytes, about.
    init(_ vectors: ByteVectors, heldOut: [Int] = [], parameters: IndexParameters, random: inout SplitMix64) {
        let listCount = max(1, vectors.count / parameters.listSize)
        let regionCount = max(1, min(listCount, Int(Self.regionRoots * Double(listCount).squareRoot().rounded())))
        var regionOfRow = [UInt32](repeating: 0, count: vectors.count)
        let centres = KMeans(
            Self.sample(min(vectors.count, regionCount * parameters.samplePerRegion), of: vectors, random: &random), count: regionCount,
            iterations: parameters.iterations, random: &random)
        centres.assign(vectors, into: &regionOfRow)
        var members = Self.grouped(regionOfRow, count: centres.count)

        var listCentres: [Float] = []
        for row in random.sample(min(listCount, vectors.count), below: vectors.count) { listCentres += vectors.decoded(row) }
        var listOfRow = [UInt32](repeating: 0, count: vectors.count)
        for _ in 0..<parameters.iterations {
            Self.settle(vectors, members, centres, listCentres, into: &listOfRow)
            var drawing = listOfRow
            for row in heldOut { drawing[row] = .max }
            listCentres = vectors.means(of: drawing, previous: listCentres)
        }

        // Lists go to the nearest region, and regions to the middle of their lists.
        let listVectors = ByteVectors(rounding: listCentres, dimension: vectors.dimension)
        let rowsOfList = Self.grouped(listOfRow, count: listVectors.count)
        var regionOfList = [UInt32](repeating: 0, count: listVectors.count)
        centres.assign(listVectors, into: &regionOfList)
        let regionVectors = ByteVectors(
            rounding: listVectors.means(of: regionOfList, previous: centres.centroids), dimension: vectors.dimension)
        members = Self.grouped(regionOfList, count: centres.count)

        regions = ByteVectors(dimension: vectors.dimension)
        lists = ByteVectors(dimension: vectors.dimension, capacity: listVectors.count)
        order.reserveCapacity(vectors.count)
        for (region, members) in members.enumerated() {
            let kept = members.filter { !rowsOfList[Int($0)].isEmpty }
            guard !kept.isEmpty else { continue }
            regionStarts.append(UInt32(lists.count))
            regions.append(region, of: regionVectors)
            for list in kept {
                listStarts.append(UInt32(order.count))
                lists.append(Int(list), of: listVectors)
                order += rowsOfList[Int(list)]
            }
        }
        regionStarts.append(UInt32(lists.count))
        listStarts.append(UInt32(order.count))
    }

    /// The rows that vectors became.
    func rows(of vectors: [Int]) -> [Int] {
        var rowOf = [UInt32](repeating: 0, count: order.count)
        for (row, vector) in order.enumerated() { rowOf[Int(vector)] = UInt32(row) }
        return vectors.map { Int(rowOf[$0]) }
    }

    private static func sample(_ size: Int, of vectors: ByteVectors, random: inout SplitMix64) -> ByteVectors {
        guard size < vectors.count else { return vectors }
        var sample = ByteVectors(dimension: vectors.dimension, capacity: size)
        for row in random.sample(size, below: vectors.count) { sample.append(row, of: vectors) }
        return sample
    }

    /// The members of each group, ascending.
    private static func grouped(_ groups: [UInt32], count: Int) -> [[UInt32]] {
        var members = [[UInt32]](repeating: [], count: count)
        for (member, group) in groups.enumerated() { members[Int(group)].append(UInt32(member)) }
        return members
    }

    /// Assigns each row to the nearest of the lists in its region and in the regions next to it.
    private static func settle(
        _ vectors: ByteVectors, _ members: [[UInt32]], _ regions: KMeans, _ lists: [Float], into assigned: inout [UInt32]
    ) {
        let dimension = vectors.dimension
        let listVectors = ByteVectors(rounding: lists, dimension: dimension)
        var regionOfList = [UInt32](repeating: 0, count: listVectors.count)
        regions.assign(listVectors, into: &regionOfList)
        let listsOfRegion = grouped(regionOfList, count: regions.count)
        for (region, rows) in members.enumerated() where !rows.isEmpty {
            func distance(_ other: Int) -> Float {
                Kernels.best.squaredDistance(
                    regions.centroids.span.extracting(region * dimension..<(region + 1) * dimension),
                    regions.centroids.span.extracting(other * dimension..<(other + 1) * dimension))
            }
            let nearest = (0..<regions.count).map { (distance($0), $0) }.sorted { $0 < $1 }
            var candidates: [UInt32] = []
            var centroids: [Float] = []
            for (_, other) in nearest where candidates.count < neighbours {
                candidates += listsOfRegion[other]
                for list in listsOfRegion[other] { centroids += lists[Int(list) * dimension..<(Int(list) + 1) * dimension] }
            }
            var subset = ByteVectors(dimension: dimension, capacity: rows.count)
            for row in rows { subset.append(Int(row), of: vectors) }
            var chosen = [UInt32](repeating: 0, count: rows.count)
            var out = chosen.mutableSpan
            ByteCentroids(centroids.span, dimension: dimension).assign(rows: subset.bytes.span, scales: subset.scales.span, into: &out)
            for (row, place) in zip(rows, chosen) { assigned[Int(row)] = candidates[Int(place)] }
        }
    }
}

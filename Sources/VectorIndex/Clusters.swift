import Storage
import VectorMath

/// Rows in lists, lists in regions: what belongs together by distance.
///
/// Lloyd's algorithm with as many centres as lists, in which a row is compared only with the lists of its own region and of the
/// regions next to it, and in the end with those of the regions nearest to itself. Regions are found by k-means first.
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
    /// Of each list the rows that it is the second list of, see ``Spills``; `nil` where rows are in one list.
    private(set) var spills: Groups?

    /// Lists that a row may move to at least: those of its region and of the nearest others.
    private static let neighbours = 400
    /// Regions over the root of the number of lists: the finer they are, the fewer lists outside the right ones a search looks at.
    private static let regionRoots = 2.5

    /// - Parameter heldOut: Vectors that lists' centres are not drawn towards.
    /// - Complexity: n · (400 · `iterations` + 800 + 6 · √(n / `listSize`)) · `dimension` multiplications of bytes, about; memory of 1/8 of the
    ///   vectors' and of 24 bytes a row.
    init(_ vectors: ByteVectors, heldOut: [Int], parameters: IndexParameters, random: inout SplitMix64, work: BuildWork) throws(SegmentError) {
        let listCount = max(1, vectors.count / parameters.listSize(count: vectors.count))
        let regionCount = max(1, min(listCount, Int(Self.regionRoots * Double(listCount).squareRoot().rounded())))
        let sample = random.sample(min(vectors.count, regionCount * parameters.samplePerRegion), below: vectors.count).map(UInt32.init)
        let centres = try KMeans(
            vectors, rows: sample, count: regionCount, iterations: parameters.iterations, random: &random, work: work,
            until: BuildShare.regions).centroids
        let members = Groups(try work.assign(vectors, to: centres, until: BuildShare.regionsOfRows), count: centres.count)

        var centresOfLists = vectors.picked(random.sample(min(listCount, vectors.count), below: vectors.count).map(UInt32.init)[...])
        var listOfRow = [UInt32](repeating: 0, count: vectors.count)
        for iteration in 1...parameters.iterations {
            let share = BuildShare.lists(Double(iteration) / Double(parameters.iterations))
            try Self.settle(vectors, members, centres, centresOfLists, into: &listOfRow, work: work, until: share)
            var drawing = listOfRow
            for row in heldOut { drawing[row] = .max }
            centresOfLists = try work.means(of: vectors, in: Groups(drawing, count: centresOfLists.count), previous: centresOfLists, until: share)
        }

        // Lists go to the nearest region, and regions to the middle of their lists.
        let listsOfRegion = Groups(try work.assign(centresOfLists, to: centres, until: BuildShare.passes), count: centres.count)
        let centresOfRegions = try work.means(of: centresOfLists, in: listsOfRegion, previous: centres, until: BuildShare.passes)
        // Rows go to the nearest of many lists.
        let near = NearLists(regions: centresOfRegions, lists: centresOfLists.picked(listsOfRegion.members[...]), starts: listsOfRegion.starts)
        var secondListOfRow = [UInt32](repeating: .max, count: vectors.count)
        try work.forEach(Self.pieces(members, of: max(4, BuildWork.pieceProducts / (4_096 * vectors.dimension))), until: BuildShare.clusters) { piece in
            var scratch = NearLists.Scratch()
            return (rows: piece.rows, lists: piece.rows.map { row in
                near.find(Int(row), of: vectors, &scratch)
                return near.chosen(Int(row), of: vectors, &scratch)
            })
        } take: { (part: (rows: ArraySlice<UInt32>, lists: [(first: UInt32, second: UInt32)])) in
            for (row, list) in zip(part.rows, part.lists) { (listOfRow[Int(row)], secondListOfRow[Int(row)]) = list }
        }
        let rowsOfList = Groups(listOfRow, count: near.lists.count)
        var kept = [UInt32](repeating: .max, count: near.lists.count)

        regions = ByteVectors(dimension: vectors.dimension)
        lists = ByteVectors(dimension: vectors.dimension, capacity: near.lists.count)
        order.reserveCapacity(vectors.count)
        for region in 0..<near.regions.count {
            let filled = (Int(near.starts[region])..<Int(near.starts[region + 1])).filter { !rowsOfList[$0].isEmpty }
            guard !filled.isEmpty else { continue }
            regionStarts.append(UInt32(lists.count))
            regions.append(region, of: near.regions)
            for list in filled {
                listStarts.append(UInt32(order.count))
                kept[list] = UInt32(lists.count)
                lists.append(list, of: near.lists)
                order += rowsOfList[list]
            }
        }
        regionStarts.append(UInt32(lists.count))
        listStarts.append(UInt32(order.count))
        var pay = parameters.spills
        if pay == nil { pay = try Spills.pay(vectors, near, first: listOfRow, second: secondListOfRow, queries: heldOut, work) }
        guard pay == true, lists.count > 1, vectors.count < Spills.mostRows else { return }
        spills = Groups(order.map { row in
            let second = secondListOfRow[Int(row)]
            return second == .max ? second : kept[Int(second)]
        }, count: lists.count)
    }

    /// The list that holds a row: the last that begins at or before it. O(log lists).
    static func list(of row: Int, _ starts: [UInt32]) -> Int {
        var (low, high) = (0, starts.count - 2)
        while low < high {
            let middle = (low + high + 1) / 2
            if Int(starts[middle]) <= row { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// The rows that vectors became.
    func rows(of vectors: [Int]) -> [Int] {
        var rowOf = [UInt32](repeating: 0, count: order.count)
        for (row, vector) in order.enumerated() { rowOf[Int(vector)] = UInt32(row) }
        return vectors.map { Int(rowOf[$0]) }
    }

    /// Rows of one region, so that the lists near to them stay in the cache, not too many.
    private static func pieces(_ members: Groups, of size: Int) -> [(region: Int, rows: ArraySlice<UInt32>)] {
        (0..<members.count).flatMap { region in
            let rows = members[region]
            return BuildWork.pieces(rows.count, of: size).map { (region: region, rows: rows[rows.startIndex + $0.lowerBound..<rows.startIndex + $0.upperBound]) }
        }
    }

    /// Assigns each row to the nearest of the lists in its region and in the regions next to it.
    private static func settle(
        _ vectors: ByteVectors, _ members: Groups, _ regions: ByteVectors, _ lists: ByteVectors, into assigned: inout [UInt32], work: BuildWork,
        until share: Double
    ) throws(SegmentError) {
        let listsOfRegion = Groups(try work.assign(lists, to: regions, until: share), count: regions.count)
        let byteLists = ByteCentroids(lists)
        var centres: [Float] = []
        for region in 0..<regions.count { centres += regions.decoded(region) }
        let (dimension, regionCentres) = (vectors.dimension, centres)
        let size = max(4, 2 * BuildWork.pieceProducts / (neighbours * dimension))
        try work.forEach(pieces(members, of: size), until: share) { piece in
            var distances = [Float](repeating: 0, count: listsOfRegion.count)
            var out = distances.mutableSpan
            Kernels.best.squaredDistance(
                regionCentres.span.extracting(piece.region * dimension..<(piece.region + 1) * dimension), rows: regionCentres.span, into: &out)
            var candidates: [UInt32] = []
            for region in distances.indices.sorted(by: { (distances[$0], $0) < (distances[$1], $1) }) where candidates.count < neighbours {
                candidates += listsOfRegion[region]
            }
            let nearest = vectors.picked(piece.rows).nearest(of: byteLists.picked(candidates), rows: 0..<piece.rows.count)
            return (rows: piece.rows, lists: nearest.map { candidates[Int($0)] })
        } take: { (part: (rows: ArraySlice<UInt32>, lists: [UInt32])) in
            for (row, list) in zip(part.rows, part.lists) { assigned[Int(row)] = list }
        }
    }
}

import Model
import VectorMath

extension SegmentIndex {
    /// How fine the balls are that cover a segment's rows.
    package enum OutlineDetail: CaseIterable, Sendable {
        case lists, regions, whole
    }

    package func ballCount(_ detail: OutlineDetail) -> Int {
        switch detail {
        case .lists: listCount
        case .regions: regions.count
        case .whole: 1
        }
    }

    /// Balls that hold all rows, deleted ones too; `nil` where distances overflow.
    ///
    /// - Complexity: O(lists · `dimension`)
    package func balls(_ detail: OutlineDetail) -> ShardOutline.Balls? {
        let (byteLists, radiiOfLists) = (lists.byteVectors(0..<listCount), unsafe Array(radii))
        let centres: ByteVectors, radii: [Float]
        switch detail {
        case .lists: (centres, radii) = (byteLists, radiiOfLists)
        case .regions:
            centres = regions.byteVectors
            radii = radiiAround(centres, byteLists, radiiOfLists) { lists.children(of: $0) }
        case .whole:
            centres = ByteVectors(dimension: dimension, bytes: [UInt8](repeating: 128, count: dimension), scales: [0])
            radii = radiiAround(centres, byteLists, radiiOfLists) { _ in 0..<listCount }
        }
        guard radii.allSatisfy(\.isFinite), lengths.greatest.isFinite else { return nil }
        return ShardOutline.Balls(
            mean: mean, bytes: centres.bytes, scales: centres.scales, radii: radii, leastLength: lengths.least, greatestLength: lengths.greatest)
    }

    /// Radii of larger balls that hold the lists' balls.
    private func radiiAround(_ centres: ByteVectors, _ lists: ByteVectors, _ radii: [Float], members: (Int) -> Range<Int>) -> [Float] {
        let (mean, dimension) = (mean, dimension)
        var (outer, inner) = (BallCentre(dimension: dimension), BallCentre(dimension: dimension))
        func set(_ centre: inout BallCentre, _ vectors: ByteVectors, _ row: Int) {
            let (mean, bytes) = (mean, vectors.bytes)
            centre.set(mean.span, bytes.span.extracting(row * dimension..<(row + 1) * dimension), scale: vectors.scales[row])
        }
        return (0..<centres.count).map { ball in
            set(&outer, centres, ball)
            return members(ball).reduce(0) { radius, list in
                set(&inner, lists, list)
                return max(radius, BallCentre.roundedUp(outer.distance(to: inner) + Double(radii[list])))
            }
        }
    }
}

import Model

extension ShardOutline.Balls {
    /// Balls around some vectors, each vector in that of the nearest of these.
    ///
    /// - Parameters:
    ///   - centres: `[1…, dimension]`, row-major, finite.
    ///   - forEach: Calls what it is given with each vector, `[dimension]`, one after the other.
    /// - Complexity: O(vectors · centres · `dimension`) of the kernels' steps.
    package init(around centres: [Float], dimension: Int, forEach: (_ take: (Span<Float>) -> Void) throws -> Void) rethrows {
        let rounded = ByteVectors(rounding: centres, dimension: dimension)
        let mean = [Float](repeating: 0, count: dimension)
        var decoded: [Float] = []
        var balls: [BallCentre] = []
        for ball in 0..<rounded.count {
            decoded += rounded.decoded(ball)
            balls.append(BallCentre(dimension: dimension))
            balls[ball].set(mean.span, rounded.bytes.span.extracting(ball * dimension..<(ball + 1) * dimension), scale: rounded.scales[ball])
        }
        var distances = [Float](repeating: 0, count: rounded.count)
        var radii = [Float](repeating: 0, count: rounded.count)
        var (least, greatest) = (Float.infinity, 0 as Float)
        try forEach { vector in
            var out = distances.mutableSpan
            Kernels.best.squaredDistance(vector, rows: decoded.span, into: &out)
            var nearest = 0
            for ball in distances.indices where distances[ball] < distances[nearest] { nearest = ball }
            radii[nearest] = max(radii[nearest], BallCentre.roundedUp(balls[nearest].distance(to: vector)))
            let length = BallCentre.length(of: vector)
            (least, greatest) = (min(least, BallCentre.roundedDown(length)), max(greatest, BallCentre.roundedUp(length)))
        }
        self.init(mean: mean, bytes: rounded.bytes, scales: rounded.scales, radii: radii, leastLength: least.isFinite ? least : 0, greatestLength: greatest)
    }
}

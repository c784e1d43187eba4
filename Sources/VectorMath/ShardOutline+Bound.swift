import Foundation
import Model

extension ShardOutline {
    /// The best score that a vector in any of the balls can have, computed by any kernel in single precision; ``Metric/worstScore`` without balls.
    ///
    /// Euclidean distance: d ≥ |q − c| − r. Inner product and cosine: the least of q·c + |q|·r, of |q| times the greatest length, and of what the
    /// angles allow. A vector x with a ≤ |x| ≤ b and |x − c| ≤ r stands at an angle θ to c with cos θ ≥ (|x|² + |c|² − r²) / (2 |x| |c|), which is
    /// least at |x| = √(|c|² − r²), or at the end of a…b next to it; so its angle to q is at least that between q and c, less θ.
    ///
    /// - Parameter query: `[dimension]`, finite.
    /// - Complexity: some three multiplications an element of the centres, in double precision.
    package func bestScore(for query: [Float], under metric: Metric) -> Float {
        var best = metric.worstScore
        for balls in balls {
            let score = metric == .euclid ? balls.leastDistance(to: query) : balls.greatestProduct(with: query)
            if metric.isBetter(score, than: best) { best = score }
        }
        return best
    }
}

extension ShardOutline.Balls {
    /// Rounding of kernels in single precision, which add so many products in some order, and of what they add.
    private var unit: Double { Double(mean.count + 16) * 0x1p-24 }
    /// More than products that underflow add up to.
    private static let underflow = 1e-15

    fileprivate func leastDistance(to query: [Float]) -> Float {
        var least = Double.infinity
        forEachCentre { ball, centre in least = min(least, centre.distance(to: query.span) - Double(radii[ball])) }
        guard least < .infinity else { return count == 0 ? .infinity : 0 }
        return max(0, Float(least * (1 - unit) - Self.underflow).nextDown)
    }

    fileprivate func greatestProduct(with query: [Float]) -> Float {
        let length = BallCentre.length(of: query.span)
        let (shortest, longest) = (Double(leastLength), Double(greatestLength))
        // The kernels' sums may overflow into anything.
        guard length * longest < Double(Float.greatestFiniteMagnitude) / 4 else { return .infinity }
        var greatest = -Double.infinity
        forEachCentre { ball, centre in
            let radius = Double(radii[ball])
            var (product, squares) = (0.0, 0.0)
            for element in query.indices {
                product += Double(query[element]) * centre.elements[element]
                squares += centre.elements[element] * centre.elements[element]
            }
            var bound = min(product + length * radius, length * longest)
            let distance = squares.squareRoot()
            if shortest > 0, distance > 0, length > 0 {
                let tangent = squares - radius * radius
                let worst = tangent > 0 ? min(max(tangent.squareRoot(), shortest), longest) : shortest
                let half = max(-1, min(1, (worst + tangent / worst) / (2 * distance)))
                let angle = max(-1, min(1, product / (length * distance)))
                let cosine = angle >= half ? 1 : angle * half + ((1 - angle * angle) * (1 - half * half)).squareRoot()
                bound = min(bound, length * cosine * (cosine > 0 ? longest : shortest))
            }
            greatest = max(greatest, bound.isNaN ? .infinity : bound)
        }
        guard count > 0 else { return -.infinity }
        return Float(greatest + unit * length * longest + Self.underflow).nextUp
    }

    private func forEachCentre(_ body: (Int, BallCentre) -> Void) {
        var centre = BallCentre(dimension: mean.count)
        for ball in 0..<count {
            centre.set(mean.span, bytes.span.extracting(ball * mean.count..<(ball + 1) * mean.count), scale: scales[ball])
            body(ball, centre)
        }
    }
}

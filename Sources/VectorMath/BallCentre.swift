import Model

/// The centre of a ball of a ``ShardOutline``, in double precision: whoever makes a radius and whoever relies on it mean the same point, to the bit.
package struct BallCentre: Sendable {
    /// `[dimension]`
    package private(set) var elements: [Double]

    package init(dimension: Int) { elements = [Double](repeating: 0, count: dimension) }

    /// Takes mean + (bytes − 128) · scale.
    package mutating func set(_ mean: Span<Float>, _ bytes: Span<UInt8>, scale: Float) {
        precondition(mean.count == elements.count && bytes.count == elements.count, "\(bytes.count) bytes, mean of \(mean.count), dimension \(elements.count)")
        for element in elements.indices { elements[element] = Double(mean[element]) + Double(Int(bytes[element]) - 128) * Double(scale) }
    }

    package func distance(to vector: Span<Float>) -> Double {
        precondition(vector.count == elements.count, "\(vector.count) elements, dimension \(elements.count)")
        var squares = 0.0
        for element in elements.indices {
            let difference = Double(vector[element]) - elements[element]
            squares += difference * difference
        }
        return squares.squareRoot()
    }

    package func distance(to other: BallCentre) -> Double {
        var squares = 0.0
        for element in elements.indices {
            let difference = other.elements[element] - elements[element]
            squares += difference * difference
        }
        return squares.squareRoot()
    }

    package static func length(of vector: Span<Float>) -> Double {
        var squares = 0.0
        for element in vector.indices { squares += Double(vector[element]) * Double(vector[element]) }
        return squares.squareRoot()
    }

    /// Relative error of what is summed up here, with room to spare: 65,536 elements' rounding in double precision is below 1e-11.
    private static let margin = 1e-9

    /// A float that is not below the true value; infinite where none is.
    package static func roundedUp(_ value: Double) -> Float { Float(value * (1 + margin)).nextUp }
    /// A float that is not above it, nor below 0.
    package static func roundedDown(_ value: Double) -> Float { max(0, Float(value * (1 - margin)).nextDown) }
}

/// What the elements of a collection's vectors are stored as. Searches compare with what is stored, and that is what clients get back.
package enum VectorDatatype: String, Hashable, Sendable, CaseIterable {
    case float32, float16
    /// Whole numbers 0…255, or −128…127. With the metric cosine the numbers stay as they are; vectors are compared as if of unit length.
    case uint8, int8

    package var byteCount: Int {
        switch self {
        case .float32: 4
        case .float16: 2
        case .uint8, .int8: 1
        }
    }

    /// The least and the greatest element.
    package var range: ClosedRange<Float> {
        switch self {
        case .float32: -.greatestFiniteMagnitude ... .greatestFiniteMagnitude
        case .float16: -65_504...65_504
        case .uint8: 0...255
        case .int8: -128...127
        }
    }

    package var isInteger: Bool { self == .uint8 || self == .int8 }
    /// Whether vectors are stored as they came and a score is divided by their length.
    package func dividesByLength(under metric: Metric) -> Bool { isInteger && metric == .cosine }

    /// The vector as it is stored: float16 is rounded to the nearest, of two to the even one; the others stay as they are.
    ///
    /// - Throws: `invalidArgument` naming the first element that this type does not hold.
    package func stored(_ vector: [Float]) throws(ClusterError) -> [Float] {
        if self == .float32, vector.allSatisfy(\.isFinite) { return vector }
        var stored = vector
        let (range, isInteger) = (range, isInteger)
        for (index, element) in vector.enumerated() {
            let rounded = self == .float16 ? Float(Float16(element)) : isInteger ? element.rounded() : element
            guard range.contains(rounded), !isInteger || rounded == element else {
                throw ClusterError(.invalidArgument, "element \(index) of the vector is \(element), \(rawValue) holds \(rangeWords)")
            }
            stored[index] = rounded
        }
        return stored
    }

    private var rangeWords: String {
        switch self {
        case .float32: "finite numbers"
        case .float16: "numbers -65504…65504"
        case .uint8, .int8: "whole numbers \(Int(range.lowerBound))…\(Int(range.upperBound))"
        }
    }
}

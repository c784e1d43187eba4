/// Vectors with one byte an element and one scale a vector: element e stands for (byte − 128) · scale.
///
/// The scale is a vector's largest magnitude / 127 (scalar quantization with a range per vector, as in Aguerrebere et al.,
/// "Similarity search in the blink of an eye with compressed indices", VLDB 2023).
package struct ByteVectors: Sendable {
    package let dimension: Int
    /// Row-major `[count, dimension]`.
    package private(set) var bytes: [UInt8]
    package private(set) var scales: [Float]
    package var count: Int { scales.count }

    package init(dimension: Int, capacity: Int = 0) {
        self.dimension = dimension
        bytes = []
        scales = []
        bytes.reserveCapacity(capacity * dimension)
        scales.reserveCapacity(capacity)
    }

    /// Rounds all of `vectors`, row-major `[n, dimension]`.
    package init(rounding vectors: [Float], dimension: Int) {
        self.init(dimension: dimension, capacity: vectors.count / dimension)
        let zeros = [Float](repeating: 0, count: dimension)
        for start in stride(from: 0, to: vectors.count, by: dimension) {
            append(vectors.span.extracting(start..<start + dimension), origin: zeros.span)
        }
    }

    /// Adds `vector` − `origin`, rounded.
    package mutating func append(_ vector: Span<Float>, origin: Span<Float>) {
        precondition(vector.count == dimension, "\(vector.count) elements, dimension \(dimension)")
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: dimension))
        var difference = [Float](repeating: 0, count: dimension)
        var differenceOut = difference.mutableSpan
        var all = bytes.mutableSpan
        var out = all._mutatingExtracting(start...)
        scales.append(Kernels.best.round(vector, less: origin, difference: &differenceOut, bytes: &out))
    }

    /// Adds a vector of another set.
    package mutating func append(_ row: Int, of other: ByteVectors) {
        bytes.append(contentsOf: other.bytes[row * dimension..<(row + 1) * dimension])
        scales.append(other.scales[row])
    }

    /// Adds what the bytes of a vector stand for to `sum`, `[dimension]`.
    package func add(_ row: Int, to sum: inout MutableSpan<Float>) {
        let (scale, start) = (scales[row], row * dimension)
        unsafe bytes.withUnsafeBufferPointer { bytes in
            for element in 0..<dimension { sum[element] += unsafe Float(Int32(bytes[start + element]) - 128) * scale }
        }
    }

    /// The mean of each group's vectors, `[groups, dimension]`; of a group without any, its `previous` one.
    ///
    /// - Parameter groups: Of each vector, below the number of groups, which is that of `previous`; vectors of other groups are left out.
    package func means(of groups: [UInt32], previous: [Float]) -> [Float] {
        var sums = [Float](repeating: 0, count: previous.count)
        var sizes = [Int](repeating: 0, count: previous.count / dimension)
        for (row, group) in groups.enumerated() where Int(group) < sizes.count {
            sizes[Int(group)] += 1
            let start = Int(group) * dimension
            unsafe sums.withUnsafeMutableBufferPointer { all in
                var sum = unsafe MutableSpan(_unsafeElements: all.extracting(start..<start + dimension))
                add(row, to: &sum)
            }
        }
        for (group, size) in sizes.enumerated() {
            let inverse = 1 / Float(size)
            for element in group * dimension..<(group + 1) * dimension {
                sums[element] = size == 0 ? previous[element] : sums[element] * inverse
            }
        }
        return sums
    }

    /// What the bytes of a vector stand for.
    package func decoded(_ row: Int) -> [Float] {
        var vector = [Float](repeating: 0, count: dimension)
        var out = vector.mutableSpan
        add(row, to: &out)
        return vector
    }
}

/// A query in signed bytes: element e stands for bytes[e] · scale.
package struct ByteQuery: Sendable {
    package private(set) var bytes: [Int8] = []
    package private(set) var scale: Float = 0
    private var unsigned: [UInt8] = []

    package init() {}

    /// Takes `query` − `origin`.
    ///
    /// - Parameter difference: Output: query − origin.
    package mutating func set(_ query: Span<Float>, less origin: Span<Float>, difference: inout [Float], kernels: Kernels) {
        if bytes.count != query.count {
            bytes = [Int8](repeating: 0, count: query.count)
            unsigned = [UInt8](repeating: 0, count: query.count)
        }
        var differenceOut = difference.mutableSpan
        var out = unsigned.mutableSpan
        let step = kernels.round(query, less: origin, difference: &differenceOut, bytes: &out)
        scale = step
        for element in bytes.indices { bytes[element] = Int8(bitPattern: unsigned[element] ^ 128) }
    }
}

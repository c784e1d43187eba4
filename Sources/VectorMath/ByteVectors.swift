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

    /// - Parameters:
    ///   - bytes: Row-major `[n, dimension]`.
    ///   - scales: `[n]`
    package init(dimension: Int, bytes: [UInt8], scales: [Float]) {
        precondition(bytes.count == scales.count * dimension, "\(bytes.count) bytes for \(scales.count) vectors of \(dimension)")
        self.dimension = dimension
        self.bytes = bytes
        self.scales = scales
    }

    /// Rounds all of `vectors`, row-major `[n, dimension]`.
    package init(rounding vectors: [Float], dimension: Int) {
        self.init(dimension: dimension, capacity: vectors.count / dimension)
        let zeros = [Float](repeating: 0, count: dimension)
        var difference = zeros
        for start in stride(from: 0, to: vectors.count, by: dimension) {
            append(vectors.span.extracting(start..<start + dimension), origin: zeros.span, difference: &difference)
        }
    }

    /// Adds `vector` − `origin`, rounded.
    ///
    /// - Parameter difference: Scratch, `[dimension]`.
    package mutating func append(_ vector: Span<Float>, origin: Span<Float>, difference: inout [Float]) {
        precondition(vector.count == dimension, "\(vector.count) elements, dimension \(dimension)")
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: dimension))
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

    /// Adds the vectors of another set.
    package mutating func append(contentsOf other: ByteVectors) {
        bytes.append(contentsOf: other.bytes)
        scales.append(contentsOf: other.scales)
    }

    /// The vectors of some rows, in their order.
    package func picked(_ rows: ArraySlice<UInt32>) -> ByteVectors {
        var picked = ByteVectors(dimension: dimension, capacity: rows.count)
        for row in rows { picked.append(Int(row), of: self) }
        return picked
    }

    /// The nearest centroid of each of some rows, see ``Kernels/nearest(rows:scales:centroids:into:)``.
    package func nearest(of centroids: ByteCentroids, rows: Range<Int>) -> [UInt32] {
        var nearest = [UInt32](repeating: 0, count: rows.count)
        var out = nearest.mutableSpan
        Kernels.best.nearest(
            rows: bytes.span.extracting(rows.lowerBound * dimension..<rows.upperBound * dimension), scales: scales.span.extracting(rows),
            centroids: centroids, into: &out)
        return nearest
    }

    /// Brings vector `order[i]` to place i, without a second copy of the vectors.
    ///
    /// - Parameter order: Each row once.
    package mutating func permute(_ order: [UInt32]) {
        precondition(order.count == count, "\(order.count) places for \(count) vectors")
        var moved = RowBitmap(rowCount: count)
        let dimension = dimension
        var saved = [UInt8](repeating: 0, count: dimension)
        for start in 0..<count where !moved.contains(start) {
            // One cycle: each place takes the vector that belongs there, the last one the vector saved at the start.
            saved.replaceSubrange(0..<dimension, with: bytes[start * dimension..<(start + 1) * dimension])
            let scale = scales[start]
            var place = start
            while true {
                moved.insert(place)
                let source = Int(order[place])
                if source == start { break }
                copy(source, to: place)
                place = source
            }
            bytes.replaceSubrange(place * dimension..<(place + 1) * dimension, with: saved)
            scales[place] = scale
        }
    }

    private mutating func copy(_ source: Int, to place: Int) {
        let dimension = dimension
        unsafe bytes.withUnsafeMutableBufferPointer {
            unsafe ($0.baseAddress! + place * dimension).update(from: $0.baseAddress! + source * dimension, count: dimension)
        }
        scales[place] = scales[source]
    }

    /// Adds what the bytes of a vector stand for, times `factor`, to `sum`.
    ///
    /// - Parameter elements: Those that `sum` holds. Default: all.
    package func add(_ row: Int, _ elements: Range<Int>? = nil, times factor: Float = 1, to sum: inout MutableSpan<Float>) {
        let elements = elements ?? 0..<dimension
        precondition(elements.upperBound <= dimension && sum.count == elements.count, "elements \(elements) of \(dimension) to \(sum.count)")
        let start = row * dimension
        Kernels.best.add(
            bytes.span.extracting(start + elements.lowerBound..<start + elements.upperBound), times: scales[row] * factor, to: &sum)
    }

    /// |x|²/2 of some vectors.
    package func halfNorms(_ rows: Range<Int>) -> [Float] {
        rows.map { row in
            let vector = decoded(row)
            return Kernels.best.dot(vector.span, vector.span) / 2
        }
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

    /// Takes one of some vectors.
    package mutating func set(_ row: Int, of vectors: ByteVectors) {
        if bytes.count != vectors.dimension {
            bytes = [Int8](repeating: 0, count: vectors.dimension)
            unsigned = [UInt8](repeating: 0, count: vectors.dimension)
        }
        scale = vectors.scales[row]
        let first = row * vectors.dimension
        for element in bytes.indices { bytes[element] = Int8(bitPattern: vectors.bytes[first + element] ^ 128) }
    }
}

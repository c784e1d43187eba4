import CVectorKernels

/// Centroids as the assignment of byte vectors wants them: signed bytes with a scale each.
package struct ByteCentroids: Sendable {
    package let dimension: Int
    /// `[count, dimension]`; the others `[count]`.
    private var bytes: [Int8] = []
    private var scales: [Float] = []
    private var halfNorms: [Float] = []
    private var offsets: [Int32] = []
    package var count: Int { scales.count }

    package init(_ vectors: ByteVectors) {
        dimension = vectors.dimension
        scales = vectors.scales
        bytes = vectors.bytes.map { Int8(bitPattern: $0 ^ 128) }
        halfNorms = vectors.halfNorms(0..<vectors.count)
        offsets.reserveCapacity(count)
        for centroid in 0..<vectors.count {
            offsets.append(128 * bytes[centroid * dimension..<(centroid + 1) * dimension].reduce(0) { $0 + Int32($1) })
        }
    }

    private init(dimension: Int) { self.dimension = dimension }

    /// Some of the centroids, in the order given.
    package func picked(_ chosen: [UInt32]) -> ByteCentroids {
        var picked = ByteCentroids(dimension: dimension)
        picked.bytes.reserveCapacity(chosen.count * dimension)
        for centroid in chosen {
            let start = Int(centroid) * dimension
            picked.bytes.append(contentsOf: bytes[start..<start + dimension])
        }
        picked.scales = chosen.map { scales[Int($0)] }
        picked.halfNorms = chosen.map { halfNorms[Int($0)] }
        picked.offsets = chosen.map { offsets[Int($0)] }
        return picked
    }

    func withCentroids(_ body: (UnsafePointer<vk_centroids>) -> Void) {
        unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe scales.withUnsafeBufferPointer { scales in
                unsafe halfNorms.withUnsafeBufferPointer { halfNorms in
                    unsafe offsets.withUnsafeBufferPointer { offsets in
                        var value = unsafe vk_centroids(
                            bytes: bytes.baseAddress, scales: scales.baseAddress, half_norms: halfNorms.baseAddress, offsets: offsets.baseAddress,
                            count: scales.count)
                        unsafe body(&value)
                    }
                }
            }
        }
    }
}

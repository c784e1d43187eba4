import Storage
import VectorMath

/// The top of the index: few enough that every search compares its query with all of them.
@safe final class Regions: Sendable {
    let count: Int
    nonisolated(unsafe) private let bytePointer: UnsafeBufferPointer<UInt8>
    nonisolated(unsafe) private let scalePointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let biasPointer: UnsafeBufferPointer<Float>

    /// The pointers stay valid as long as the caller keeps `file`.
    init(_ file: SegmentFile, count: Int, dimension: Int) throws(SegmentError) {
        self.count = count
        unsafe bytePointer = try unsafe file.elements(of: IndexSection.regions + IndexSection.bytes, as: UInt8.self, count: count * dimension)
        unsafe scalePointer = try unsafe file.scales(of: IndexSection.regions, count: count)
        unsafe biasPointer = try unsafe file.biases(of: IndexSection.regions, count: count)
    }

    var byteVectors: ByteVectors { unsafe ByteVectors(dimension: bytePointer.count / count, bytes: Array(bytePointer), scales: Array(scalePointer)) }

    var memoryByteCount: Int { unsafe bytePointer.count + 8 * count }

    /// Sets `keys` to a ``RankKey`` with each region's similarity, see ``Tier``.
    func score(_ keys: inout [UInt64], query: ByteQuery, weight: Float, kernels: Kernels) {
        if keys.count != count { keys = [UInt64](repeating: 0, count: count) }
        for region in 0..<count { keys[region] = RankKey.make(Int32(0), UInt32(region)) }
        let (bytes, scales, biases) = unsafe (Span(_unsafeElements: bytePointer), Span(_unsafeElements: scalePointer), Span(_unsafeElements: biasPointer))
        var out = keys.mutableSpan
        kernels.score(query, weight: weight, rows: bytes, scales: scales, biases: biases, keys: &out, count: count)
    }
}

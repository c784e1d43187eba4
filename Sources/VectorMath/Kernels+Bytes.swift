import CVectorKernels

/// Vectors of bytes: element e stands for (byte − 128) · scale, see ``ByteVectors``.
extension Kernels {
    /// Rounds `vector` − `origin` to bytes.
    ///
    /// - Parameters:
    ///   - difference: Output, `vector` − `origin`.
    ///   - bytes: Output: difference / scale + 128, to the nearest, 1…255; 128 where the scale is 0.
    /// - Returns: The scale: the largest magnitude / 127, or 0 where that is no normal number.
    package func round(_ vector: Span<Float>, less origin: Span<Float>, difference: inout MutableSpan<Float>, bytes: inout MutableSpan<UInt8>) -> Float {
        let dimension = vector.count
        precondition(
            origin.count == dimension && difference.count == dimension && bytes.count == dimension,
            "\(dimension), \(origin.count), \(difference.count), \(bytes.count) elements")
        return unsafe vector.withUnsafeBufferPointer { vector in
            unsafe origin.withUnsafeBufferPointer { origin in
                unsafe difference.withUnsafeMutableBufferPointer { difference in
                    unsafe bytes.withUnsafeMutableBufferPointer { bytes in
                        unsafe table.pointee.to_bytes(vector.baseAddress, origin.baseAddress, dimension, difference.baseAddress, bytes.baseAddress)
                    }
                }
            }
        }
    }

    /// sum[e] += (bytes[e] − 128) · `factor`.
    package func add(_ bytes: Span<UInt8>, times factor: Float, to sum: inout MutableSpan<Float>) {
        precondition(bytes.count == sum.count, "\(bytes.count) bytes to \(sum.count) sums")
        unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe sum.withUnsafeMutableBufferPointer { unsafe table.pointee.add_bytes(bytes.baseAddress, bytes.count, factor, $0.baseAddress) }
        }
    }

    /// Scores the rows of keys by their bytes: query · row − `weight` · bias; NaN counts as −∞.
    ///
    /// - Parameters:
    ///   - rows: `[n, dimension]`, with `scales` `[n]` and `biases` `[n]`.
    ///   - keys: In: ``RankKey`` of rows below n, with any score; this is checked. Out: the same rows with their scores as floats.
    ///   - count: The first so many keys.
    package func score(
        _ query: ByteQuery, weight: Float, rows: Span<UInt8>, scales: Span<Float>, biases: Span<Float>, keys: inout MutableSpan<UInt64>, count: Int
    ) {
        let dimension = query.bytes.count
        precondition(rows.count == scales.count * dimension && biases.count == scales.count, "\(rows.count) bytes of \(scales.count) rows of \(dimension)")
        precondition(count <= keys.count, "\(count) of \(keys.count) keys")
        let last = unsafe keys.withUnsafeBufferPointer { unsafe vk_last_row($0.baseAddress, count) }
        precondition(count == 0 || Int(last) < scales.count, "row \(last) of \(scales.count)")
        unsafe query.bytes.span.withUnsafeBufferPointer { bytes in
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe scales.withUnsafeBufferPointer { scales in
                    unsafe biases.withUnsafeBufferPointer { biases in
                        unsafe keys.withUnsafeMutableBufferPointer { keys in
                            var arguments = unsafe vk_bytes(
                                query: bytes.baseAddress, query_scale: query.scale, weight: weight, rows: rows.baseAddress, scales: scales.baseAddress,
                                biases: biases.baseAddress, dimension: dimension)
                            unsafe table.pointee.score_bytes(&arguments, keys.baseAddress, count)
                        }
                    }
                }
            }
        }
    }

    /// For each byte vector the nearest of the centroids, the first of equals: the one with the greatest inner product less
    /// half its squared norm.
    ///
    /// - Parameters:
    ///   - rows: `[n, centroids.dimension]`, with `scales` `[n]`.
    ///   - centroids: One at least.
    ///   - out: Output, `[n]`.
    /// - Complexity: n · c · `dimension` multiplications of bytes.
    package func nearest(rows: Span<UInt8>, scales: Span<Float>, centroids: ByteCentroids, into out: inout MutableSpan<UInt32>) {
        let dimension = centroids.dimension
        precondition(rows.count == scales.count * dimension && out.count >= scales.count, "\(rows.count) bytes, \(scales.count) rows of \(dimension)")
        precondition(centroids.count > 0, "no centroids")
        unsafe rows.withUnsafeBufferPointer { rows in
            unsafe scales.withUnsafeBufferPointer { scales in
                unsafe out.withUnsafeMutableBufferPointer { out in
                    unsafe centroids.withCentroids {
                        unsafe table.pointee.nearest(rows.baseAddress, scales.baseAddress, scales.count, $0, dimension, out.baseAddress)
                    }
                }
            }
        }
    }
}

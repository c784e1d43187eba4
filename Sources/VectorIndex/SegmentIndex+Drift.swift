import VectorMath

/// How well codes describe vectors: those of the segment, and others.
extension SegmentIndex {
    /// Mean squared distance of the vectors from what their codes describe, over the mean squared length of the vectors less their mean: 0 where
    /// codes are exact, about 1 where they say nothing. `nil` where the vectors are all equal, or too large to be squared.
    ///
    /// In a segment of 1,000 rows and more it is measured on rows that shaped no list, so that other vectors like them have the same.
    package var quantizationError: Double? { share(of: Double(squaredError)) }

    /// The same of other vectors, if they were coded as this segment's rows are: in the list with the nearest centre.
    ///
    /// - Parameter vectors: Row-major `[n, dimension]`, as this segment stores its own.
    /// - Returns: `nil` also for no vectors.
    /// - Complexity: n · lists · `dimension` multiplications of bytes.
    package func quantizationError(of vectors: [Float]) -> Double? {
        precondition(vectors.count % dimension == 0, "\(vectors.count) elements in rows of \(dimension)")
        guard !vectors.isEmpty else { return nil }
        var others = ByteVectors(dimension: dimension, capacity: vectors.count / dimension)
        let mean = mean
        let source = VectorSource(count: vectors.count / dimension) { row, out in
            for element in out.indices { out[element] = vectors[row * out.count + element] }
        }.compared(as: datatype, under: metric)
        var (vector, difference) = (mean, mean)
        source.forEach(0..<source.count, buffer: &vector) { others.append($0, origin: mean.span, difference: &difference) }
        let quantizer = rows.quantizer
        var codes = [UInt8](repeating: 0, count: subspaces)
        var sum = 0.0
        for residual in residuals(of: others) {
            quantizer.encode(residual.span, into: &codes)
            sum += quantizer.squaredError(of: codes, for: residual)
        }
        return share(of: sum / Double(others.count))
    }

    /// Each vector less the nearest list's centre.
    private func residuals(of vectors: ByteVectors) -> [[Float]] {
        var nearest = [(distance: Float, residual: [Float])](repeating: (.infinity, []), count: vectors.count)
        for piece in BuildWork.pieces(listCount, of: Self.pieceLists) {
            let centres = lists.byteVectors(piece)
            for (row, list) in vectors.nearest(of: ByteCentroids(centres), rows: 0..<vectors.count).enumerated() {
                var residual = vectors.decoded(row)
                var out = residual.mutableSpan
                centres.add(Int(list), times: -1, to: &out)
                let distance = kernels.dot(residual.span, residual.span)
                if distance < nearest[row].distance || nearest[row].residual.isEmpty { nearest[row] = (distance, residual) }
            }
        }
        return nearest.map(\.residual)
    }

    /// Lists that are compared at once: some megabytes.
    private static let pieceLists = 4_096

    private func share(of squaredError: Double) -> Double? {
        let share = squaredError / (Double(norm) * Double(norm))
        return share.isFinite ? share : nil
    }
}

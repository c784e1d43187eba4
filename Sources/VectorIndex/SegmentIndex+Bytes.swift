import Model
import VectorMath

/// Of an exact search: which rows' full vectors have to be scored.
enum ExactRows {
    /// Those in `scratch.chosen`, ascending.
    case chosen
    /// All that are admitted.
    case all
    /// The caller stopped the search.
    case stopped
}

/// An exact search that reads few full vectors.
extension SegmentIndex {
    /// Rows between two looks at `shouldStop`, in bytes of them: tens of microseconds.
    private static let stretchByteCount = 1 << 18
    /// Bytes of full vectors below which bounds cost more than they save: these stay in a core's cache.
    package static let leastByteCount = 2 << 20
    /// Rows of which it is looked how many the bounds leave. Measured in full segments or parts of them, aimed at 10 hits: 4 to 36 % where bounds pay, 6 to 83 % of
    /// the half of the rows that is farthest, 85 to 100 % of the tenth, where they do not.
    private static let judgedRows = 128
    /// Dimensions below which a row's bounds cost about what its full vector does. Measured as exact searches over scans of all full vectors, in full segments
    /// or half of one: 1.2 with 50 dimensions, 1.6 with 128, 7 with 384; where all rows are alike 0.5 with 50.
    private static let leastDimension = 128
    /// Share of the rows from which on it is cheaper to score all: those chosen are read here and there, and the others' bytes for nothing. Where few are
    /// admitted, their bytes are read here and there, too.
    private static let (mostChosen, mostChosenOfFew) = (0.8, 0.6)

    /// Finds the rows that may be among the `limit` best. A row's bytes bound its similarity from both sides, so that the others surely are not.
    ///
    /// - Complexity: O(admitted rows · `dimension`), at the speed of memory, a quarter of what the full vectors take.
    func rowsToScore(
        _ query: Span<Float>, limit: Int, admits: RowBitmap?, of total: Int, scratch: inout SearchScratch, shouldStop: () -> Bool
    ) -> ExactRows {
        guard datatype == .float32, dimension >= Self.leastDimension, limit < total / 4 else { return .all }
        let prepared = prepare(query, scratch: &scratch)
        guard let bounds = ByteBounds(self, query, scratch.query, scratch.byteQuery) else { return .all }
        let stretch = max(64, Self.stretchByteCount / dimension / 64 * 64)
        var floor = -Float.infinity
        let most = Self.areFew(total, of: count) ? Self.mostChosenOfFew : Self.mostChosen
        let judgedAt = max(Self.judgedRows, min(12 * limit, total / 16))
        var (kept, seen, cutAt, isJudged) = (0, 0, max(1_024, 4 * limit), false)
        scratch.rowKeys.removeAll(keepingCapacity: true)
        for start in stride(from: 0, to: count, by: stretch) {
            if shouldStop() { return .stopped }
            append(start..<min(start + stretch, count), admits, to: &scratch.rowKeys)
            seen += scratch.rowKeys.count - kept
            rows.score(&scratch.rowKeys, kept..<scratch.rowKeys.count, query: scratch.byteQuery, weight: prepared.weight, kernels: kernels)
            keep(from: kept, atLeast: floor, bounds, in: &scratch.rowKeys)
            let isEnough = !isJudged && seen >= judgedAt
            if scratch.rowKeys.count >= cutAt || isEnough {
                floor = max(floor, self.floor(limit, bounds, &scratch))
                keep(from: 0, atLeast: floor, bounds, in: &scratch.rowKeys)
                cutAt = max(cutAt, 2 * scratch.rowKeys.count)
            }
            kept = scratch.rowKeys.count
            // Rows that are all about as far from the query.
            if isEnough, Double(kept) > most * Double(seen) { return .all }
            isJudged = isJudged || isEnough
        }
        floor = max(floor, self.floor(limit, bounds, &scratch))
        keep(from: 0, atLeast: floor, bounds, in: &scratch.rowKeys)
        guard Double(scratch.rowKeys.count) <= most * Double(total) else { return .all }
        scratch.chosen.removeAll(keepingCapacity: true)
        for key in scratch.rowKeys { scratch.chosen.append(RankKey.row(key)) }
        return .chosen
    }

    /// Adds keys, without scores, of the admitted ones of some rows.
    private func append(_ range: Range<Int>, _ admits: RowBitmap?, to keys: inout [UInt64]) {
        func key(_ row: Int) -> UInt64 { RankKey.make(Int32(0), UInt32(row)) }
        if let admits {
            admits.forEach(in: range) { keys.append(key($0)) }
        } else {
            for row in range { keys.append(key(row)) }
        }
    }

    /// A similarity that at least `limit` of the rows in `scratch.rowKeys` reach; −∞ if there are fewer.
    private func floor(_ limit: Int, _ bounds: ByteBounds, _ scratch: inout SearchScratch) -> Float {
        guard limit <= scratch.rowKeys.count else { return -.infinity }
        scratch.bestKeys.removeAll(keepingCapacity: true)
        scratch.bestKeys.append(contentsOf: scratch.rowKeys)
        keepLargest(limit, ofNext: scratch.bestKeys.count, from: 0, in: &scratch.bestKeys)
        var floor = Float.infinity
        for index in 0..<limit {
            let key = scratch.bestKeys[index]
            floor = min(floor, RankKey.floatScore(key) - bounds.error(of: Int(RankKey.row(key)), at: RankKey.floatScore(key), rows))
        }
        return floor
    }

    /// Leaves of the keys from `first` on those of rows that may reach a similarity of `floor`, in their order.
    private func keep(from first: Int, atLeast floor: Float, _ bounds: ByteBounds, in keys: inout [UInt64]) {
        guard floor > -.infinity else { return }
        var all = keys.mutableSpan
        var end = first
        for index in first..<all.count {
            let key = all[index]
            let similarity = RankKey.floatScore(key)
            all[end] = key
            end += similarity + bounds.error(of: Int(RankKey.row(key)), at: similarity, rows) < floor ? 0 : 1
        }
        keys.removeLast(keys.count - end)
    }
}

/// How far the similarity that bytes give may be from that of the full vectors, at most.
///
/// With x a row less the mean, and q the query, less the mean too but for inner products, q̂ and x̂ what their bytes stand for, and e = x − x̂, |e| ≤ h = scale/2 · √dimension: for inner products
/// |q·x − q̂·x̂| ≤ |q|·h + |q − q̂|·|x̂|; for distances, whose similarity by bytes is q̂·x̂ − |x̂|²/2, the difference from q·x − |x|²/2 is (q − x̂)·e + (q − q̂)·x̂ − |e|²/2.
/// To that comes how far sums in single precision, those of the hits' scores included, and vectors' lengths under the metric cosine may be off.
private struct ByteBounds {
    private let metric: Metric
    /// √dimension / 2, and a little.
    private let halfRoot: Float
    private let norm: Float
    private let queryError: Float
    private let squaredByteNorm: Float
    /// What no row's length, less the mean, exceeds.
    private let length: Float
    private let slack: Float

    /// - Parameters:
    ///   - query: As it came.
    ///   - difference: The query less the origin.
    /// - Returns: `nil` where numbers are so large that sums may overflow.
    init?(_ index: SegmentIndex, _ query: Span<Float>, _ difference: [Float], _ bytes: ByteQuery) {
        metric = index.metric
        var (squares, errors, byteSquares, mean) = (0.0, 0.0, 0.0, 0.0)
        for element in difference.indices {
            let exact = Double(query[element]) - Double(index.origin[element])
            let rounded = Double(bytes.bytes[element]) * Double(bytes.scale)
            squares += exact * exact
            errors += (exact - rounded) * (exact - rounded)
            byteSquares += rounded * rounded
            mean += Double(index.mean[element]) * Double(index.mean[element])
        }
        let reach = squares.squareRoot() + Double(index.lengths.greatest) + mean.squareRoot()
        guard reach < 1e15 else { return nil }
        norm = Float(squares.squareRoot())
        queryError = Float(errors.squareRoot())
        squaredByteNorm = Float(byteSquares)
        length = index.lengths.greatest + Float(mean.squareRoot())
        halfRoot = 0.5005 * Float(index.dimension).squareRoot()
        // Sums of n products are off by n · 2⁻²⁴ of the product of lengths at most; here for four of them.
        let rounding = Double(index.dimension + 8) * 0x1p-22 * reach * reach
        let (least, greatest) = (Double(index.lengths.least), Double(index.lengths.greatest))
        slack = Float(rounding + (metric == .cosine ? (greatest * greatest - least * least) / 2 : 0))
    }

    /// - Parameter similarity: What the bytes give.
    @inline(__always)
    func error(of row: Int, at similarity: Float, _ rows: Tier) -> Float {
        // Where a scale is too small to be one, all bytes are 0.
        let half = halfRoot * (rows.scale(row) + 0x1p-118)
        if metric == .dot { return (norm * half + queryError * (length + half)) * 1.001 + slack }
        let distance = max(0, squaredByteNorm - 2 * similarity).squareRoot() + queryError
        return (distance * half + queryError * (2 * rows.bias(row)).squareRoot() + half * half) * 1.001 + slack
    }
}

import Model
import Storage
import VectorMath

/// One level of the index: children (lists, or rows) below parents (regions, or lists).
///
/// The similarity of a query q to a child x is q·x − w·b, greater is nearer. For cosine and Euclidean distance a row's b is |x|²/2 and
/// w = 1, so that it orders by distance, which for unit vectors is the order by cosine too; a row described by codes
/// has the b of what the codes describe, so the error of a similarity grows with the distance between query and row and not with the
/// query's length. For inner products w = |q| and a row's b is 0.
///
/// Lists (and regions) are ranked by where their best rows are expected rather than their centres: by distance with b = |x|²/4, since
/// rows scatter around the centre also towards the query; by inner product with b = −3 · spread / √dimension.
///
/// A child is held twice in memory: in 4-bit codes of its difference to the parent, which are scanned, and in bytes, which
/// score the candidates that the codes chose.
@safe final class Tier: Sendable {
    let count: Int
    let dimension: Int
    let subspaces: Int
    private let bounds: [UInt32]
    nonisolated(unsafe) private let startPointer: UnsafeBufferPointer<UInt32>
    nonisolated(unsafe) private let bytePointer: UnsafeBufferPointer<UInt8>
    nonisolated(unsafe) private let scalePointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let biasPointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let codebookPointer: UnsafeBufferPointer<Float>
    nonisolated(unsafe) private let codePointer: UnsafeBufferPointer<UInt8>
    nonisolated(unsafe) private let codeBiasPointer: UnsafeBufferPointer<UInt8>
    /// Of each parent, where its children of other parents begin in `spillPointer`; nothing if there are none.
    nonisolated(unsafe) private let spillStartPointer: UnsafeBufferPointer<UInt32>
    nonisolated(unsafe) private let spillPointer: UnsafeBufferPointer<UInt32>
    /// What a byte of bias means: lowest + unit · byte.
    private let biasRange: (lowest: Float, unit: Float)

    /// The pointers stay valid as long as the caller keeps `file`.
    init(_ name: String, of file: SegmentFile, count: Int, parents: Int, dimension: Int, subspaces: Int) throws(SegmentError) {
        self.count = count
        self.dimension = dimension
        self.subspaces = subspaces
        bounds = ProductQuantizer.bounds(dimension: dimension, subspaces: subspaces)
        let starts = try unsafe file.elements(of: name + IndexSection.starts, as: UInt32.self, count: parents + 1)
        let isAscending = (0..<parents).allSatisfy { unsafe starts[$0] <= starts[$0 + 1] }
        guard isAscending, unsafe starts[0] == 0, unsafe starts[parents] == UInt32(count) else {
            throw .malformedSection(path: file.path, section: name + IndexSection.starts, reason: "does not divide \(count) rows")
        }
        unsafe startPointer = unsafe starts
        unsafe bytePointer = try unsafe file.elements(of: name + IndexSection.bytes, as: UInt8.self, count: count * dimension)
        unsafe scalePointer = try unsafe file.scales(of: name, count: count)
        unsafe biasPointer = try unsafe file.biases(of: name, count: count)
        unsafe codebookPointer = try unsafe file.elements(of: name + IndexSection.codebooks, as: Float.self, count: dimension * 16)
        (unsafe spillStartPointer, unsafe spillPointer) = try unsafe Self.spills(name, of: file, count: count, parents: parents)
        let places = unsafe count + spillPointer.count
        unsafe codePointer = try unsafe file.elements(of: name + IndexSection.codes, as: UInt8.self, count: places * subspaces / 2)
        unsafe codeBiasPointer = try unsafe file.elements(of: name + IndexSection.codeBiases, as: UInt8.self, count: places)
        let range = try unsafe file.elements(of: name + IndexSection.codeRange, as: Float.self, count: 2)
        biasRange = unsafe (range[0], range[1])
        guard biasRange.lowest.isFinite, biasRange.unit.isFinite, biasRange.unit >= 0 else {
            throw .malformedSection(path: file.path, section: name + IndexSection.codeRange, reason: "lowest \(biasRange.lowest), unit \(biasRange.unit)")
        }
    }

    private static func spills(
        _ name: String, of file: SegmentFile, count: Int, parents: Int
    ) throws(SegmentError) -> (UnsafeBufferPointer<UInt32>, UnsafeBufferPointer<UInt32>) {
        let section = name + IndexSection.spills
        guard file.contains(section) else { return unsafe (UnsafeBufferPointer(start: nil, count: 0), UnsafeBufferPointer(start: nil, count: 0)) }
        let spills = try unsafe file.elements(of: section, as: UInt32.self)
        let starts = try unsafe file.elements(of: name + IndexSection.spillStarts, as: UInt32.self, count: parents + 1)
        let isAscending = (0..<parents).allSatisfy { unsafe starts[$0] <= starts[$0 + 1] }
        guard isAscending, unsafe starts[0] == 0, unsafe Int(starts[parents]) == spills.count, unsafe spills.count <= count, count < Spills.mostRows, unsafe spills.allSatisfy({ $0 < count }) else {
            throw unsafe .malformedSection(path: file.path, section: section, reason: "\(spills.count) that are not of \(count) rows, or are not divided")
        }
        return unsafe (starts, spills)
    }

    /// b of a list for ranking, over |x|². Measured as rows to scan for recall@10 0.95: 0 → 2,526, 0.2 → 2,498, 0.3 → 2,474, 0.5 → 2,798 on
    /// `ann-minilm-384` with 1,000 lists; 12,719, 10,633, 10,074, 10,309 on `ann-glove-50` with 1,800.
    static let rankingBias: Float = 0.25

    /// What makes the b by which a list is ranked the b of its centre taken as a row.
    static func rowBias(_ metric: Metric) -> Float { metric == .dot ? 0 : 0.5 / rankingBias }

    /// Children of other parents that a parent has besides its own, see ``Spills``.
    func spills(of parent: Int) -> Range<Int> {
        unsafe spillStartPointer.isEmpty ? 0..<0 : unsafe Int(spillStartPointer[parent])..<Int(spillStartPointer[parent + 1])
    }
    func spilled(_ place: Int) -> Int { unsafe Int(spillPointer[place]) }
    var spillCount: Int { unsafe spillPointer.count }
    /// How often a scan offers a child at most.
    var copies: Int { hasTwins ? 2 : 1 }
    /// Whether a scan may offer a child twice.
    var hasTwins: Bool { unsafe !spillPointer.isEmpty }

    func children(of parent: Int) -> Range<Int> { unsafe Int(startPointer[parent])..<Int(startPointer[parent + 1]) }

    /// Bytes of codes.
    var codeByteCount: Int { unsafe codePointer.count + codeBiasPointer.count }
    /// Bytes of all that a search reads.
    var memoryByteCount: Int {
        unsafe codeByteCount + bytePointer.count + 4 * (scalePointer.count + biasPointer.count + codebookPointer.count + startPointer.count + spillStartPointer.count + spillPointer.count)
    }

    // MARK: - By code

    /// What a query's similarity to children is added up from.
    struct Tables: Sendable {
        fileprivate var bytes: [UInt8] = []
        /// What one unit of a score is worth.
        fileprivate var step: Float = 1
        /// Similarity of a child whose score is 0.
        fileprivate var zero: Float = 0
        fileprivate var biasWeight: Int32 = 0
        /// Similarity of the parent whose children's scores start at 0.
        fileprivate var reference: Float = 0

        /// The similarity that a score by code stands for.
        func similarity(_ score: Int32) -> Float { zero + step * Float(score) }

        /// The mean of the similarities that scores stand for whose mean this is.
        func similarity(mean score: Double) -> Float { Float(Double(zero) + Double(step) * score) }

        /// The least ``RankKey`` by code of this similarity; the least of all where similarities have overflowed.
        func key(_ similarity: Float) -> UInt64 {
            let score = (similarity - zero) / step
            return score.isNaN ? 0 : RankKey.make(Tier.clamped(score, to: 2e9), .max)
        }
    }

    /// Prepares for a query.
    ///
    /// - Parameters:
    ///   - weight: w, see above.
    ///   - reference: About the similarity of the best parent.
    ///   - floats: Scratch.
    func fill(_ tables: inout Tables, for query: [Float], weight: Float, reference: Float, floats: inout [Float], kernels: Kernels) {
        SearchScratch.grow(&floats, to: subspaces * 18, filler: 0)
        SearchScratch.grow(&tables.bytes, to: subspaces * 16, filler: 0)
        let bounds = bounds
        var floatsOut = floats.mutableSpan
        var bytesOut = tables.bytes.mutableSpan
        // So that the greatest bias, 255 · unit, stays below 2^30 in the kernel's multiplication.
        let leastStep = abs(weight) * biasRange.unit / 1_000
        let (base, step) = unsafe kernels.fillTables(
            query: query.span, centroids: span(over: codebookPointer), bounds: bounds.span, leastStep: leastStep.isFinite ? leastStep : 1,
            floats: &floatsOut, bytes: &bytesOut)
        tables.step = step
        tables.biasWeight = Self.clamped(weight * biasRange.unit / step * Kernels.biasUnit, to: 1_000 * Kernels.biasUnit)
        tables.reference = reference
        tables.zero = reference + base - weight * biasRange.lowest
    }

    /// Children of one parent that are scanned between two looks at whether to stop, at most, in whole blocks: all rows may be in one list.
    private static let longestSpan = 8_192

    /// Adds the children of a parent that has the given similarity.
    ///
    /// - Parameter own: Whether also those that are not of other parents.
    @inline(__always)
    func add(_ parent: Int, own: Bool = true, similarity: Float, _ tables: Tables, to spans: inout [RowSpan]) {
        let base = Self.clamped((similarity - tables.reference) / tables.step, to: 1e9)
        let (children, spills) = (children(of: parent), spills(of: parent))
        if own { add(children, at: children.lowerBound + spills.lowerBound, base: base, to: &spans) }
        let first = firstSpill
        add(first + spills.lowerBound..<first + spills.upperBound, at: children.upperBound + spills.lowerBound, base: base, to: &spans)
    }

    @inline(__always)
    private func add(_ rows: Range<Int>, at place: Int, base: Int32, to spans: inout [RowSpan]) {
        var start = rows.lowerBound
        while start < rows.upperBound {
            let end = min(start + Self.longestSpan, rows.upperBound)
            spans.append(RowSpan(start..<end, at: place + start - rows.lowerBound, base: base))
            start = end
        }
    }

    /// What the first of all spills is called in a scan: after all that a bitmap of children speaks of.
    private var firstSpill: Int { (count + 63) / 64 * 64 }

    /// Calls spills what they are, and leaves out those that are not admitted.
    ///
    /// - Returns: How many are left.
    private func resolve(_ keys: inout MutableSpan<UInt64>, _ found: Int, _ admits: RowBitmap?) -> Int {
        let first = UInt32(firstSpill)
        var kept = 0
        for index in 0..<found {
            var key = keys[index]
            let row = RankKey.row(key)
            if row >= first {
                let child = unsafe spillPointer[Int(row - first)]
                if let admits, !admits.contains(Int(child)) { continue }
                key = RankKey.make(RankKey.score(key), child)
            }
            keys[kept] = key
            kept += 1
        }
        return kept
    }

    /// To the nearest integer within ±`limit`; 0 for what is no number.
    @inline(__always)
    fileprivate static func clamped(_ value: Float, to limit: Float) -> Int32 {
        value.isNaN ? 0 : Int32(max(-limit, min(limit, value + (value < 0 ? -0.5 : 0.5))))
    }

    /// Offers the children of `spans` to the pool, scored by their codes.
    ///
    /// - Parameter kernels: The instruction set to use.
    /// - Returns: `false` if the caller stopped it.
    func scan(
        _ spans: [RowSpan], _ tables: Tables, admits: RowBitmap?, pool: inout CandidatePool, kernels: Kernels, shouldStop: () -> Bool
    ) -> Bool {
        let admitted = admits?.words ?? []
        var next = 0
        while next < spans.count {
            if shouldStop() { return false }
            let begin = next
            var rows = 0
            while next < spans.count && rows < pool.stretch {
                rows += spans[next].count
                next += 1
            }
            pool.scan(rows) { keys, floor in
                let found = unsafe kernels.scan(
                    codes: span(over: codePointer), biases: span(over: codeBiasPointer), biasWeight: tables.biasWeight,
                    tables: tables.bytes.span.extracting(0..<subspaces * 16), spans: spans.span.extracting(begin..<next),
                    admitted: admitted.span, floor: floor, keys: &keys)
                return hasTwins ? resolve(&keys, found, admits) : found
            }
        }
        return true
    }

    // MARK: - By byte

    /// Replaces the scores of some keys by the similarities that the children's bytes give.
    func score(_ keys: inout [UInt64], _ range: Range<Int>, query: ByteQuery, weight: Float, kernels: Kernels) {
        var all = keys.mutableSpan
        var out = all._mutatingExtracting(range)
        unsafe kernels.score(
            query, weight: weight, rows: span(over: bytePointer), scales: span(over: scalePointer), biases: span(over: biasPointer), keys: &out, count: range.count)
    }

    var quantizer: ProductQuantizer { unsafe ProductQuantizer(bounds: bounds, centroids: Array(codebookPointer)) }

    /// Some children in bytes.
    func byteVectors(_ children: Range<Int>) -> ByteVectors {
        unsafe ByteVectors(
            dimension: dimension, bytes: Array(bytePointer[children.lowerBound * dimension..<children.upperBound * dimension]),
            scales: Array(scalePointer[children]))
    }

    func scale(_ row: Int) -> Float { unsafe scalePointer[row] }
    func bias(_ child: Int) -> Float { unsafe biasPointer[child] }

    @_lifetime(borrow self)
    private func span<Element>(over elements: UnsafeBufferPointer<Element>) -> Span<Element> {
        let span = unsafe Span(_unsafeElements: elements)
        return unsafe _overrideLifetime(span, borrowing: self)
    }
}

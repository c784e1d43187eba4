import Storage
import VectorMath

/// Describes a vector by one of 16 centroids for each part of it: 4 bits a part.
///
/// - SeeAlso: Jégou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011; André, Kermarrec, Le
///   Scouarnec, "Cache locality is not enough", VLDB 2015, for 4-bit codes looked up in registers.
struct ProductQuantizer: Sendable {
    let dimension: Int
    /// `[subspaces + 1]`: subspace s has the elements `bounds[s]..<bounds[s + 1]`, possibly none.
    let bounds: [UInt32]
    /// `[dimension, 16]`: row i holds element i of the 16 centroids of its subspace.
    private(set) var centroids: [Float]

    var subspaces: Int { bounds.count - 1 }
    private let kernels = Kernels.best

    /// Where subspaces begin and end: widths differ by at most one.
    static func bounds(dimension: Int, subspaces: Int) -> [UInt32] {
        (0...subspaces).map { UInt32($0 * dimension / subspaces) }
    }

    /// Trains groups of subspaces, each by itself.
    ///
    /// - Parameters:
    ///   - sample: Gives some elements of the vectors to train on, row-major `[n, elements]`, n ≥ 1.
    ///   - share: See ``BuildWork/forEach(_:until:make:take:)``.
    /// - Complexity: O(`iterations` · n · 16 · `dimension`); a piece's memory is that of a group's elements.
    init(
        dimension: Int, subspaces: Int, iterations: Int, random: inout SplitMix64, work: BuildWork, until share: Double,
        sample: @escaping @Sendable (_ elements: Range<Int>) -> [Float]
    ) throws(SegmentError) {
        let bounds = Self.bounds(dimension: dimension, subspaces: subspaces)
        let groups = stride(from: 0, to: subspaces, by: Kernels.groupSubspaces).map { (bounds: bounds[$0...$0 + Kernels.groupSubspaces], seed: random.next()) }
        self.init(
            bounds: bounds,
            centroids: try work.joined(groups, count: dimension * 16, until: share) { group in
                let first = group.bounds[group.bounds.startIndex]
                return ProductQuantizer(
                    sample(Int(first)..<Int(group.bounds[group.bounds.endIndex - 1])), bounds: group.bounds.map { $0 - first }, iterations: iterations,
                    seed: group.seed).centroids
            })
    }

    /// - Parameter centroids: See ``centroids``.
    init(bounds: [UInt32], centroids: [Float]) {
        self.bounds = bounds
        self.centroids = centroids
        dimension = centroids.count / 16
    }

    /// Trains some subspaces at once by Lloyd's algorithm.
    ///
    /// - Parameter vectors: Row-major `[n, bounds.last]`.
    private init(_ vectors: [Float], bounds: [UInt32], iterations: Int, seed: UInt64) {
        let dimension = Int(bounds[bounds.count - 1])
        self.init(bounds: bounds, centroids: [Float](repeating: 0, count: dimension * 16))
        guard dimension > 0 else { return }
        var random = SplitMix64(seed: seed)
        placeCentroids(vectors.span, random: &random)
        var codes = [UInt8](repeating: 0, count: subspaces)
        for _ in 0..<iterations {
            var sums = [Float](repeating: 0, count: dimension * 16)
            var sizes = [Float](repeating: 0, count: subspaces * 16)
            for start in stride(from: 0, to: vectors.count, by: dimension) {
                encode(vectors.span.extracting(start..<start + dimension), into: &codes)
                for subspace in 0..<subspaces {
                    let code = Int(codes[subspace])
                    sizes[subspace * 16 + code] += 1
                    for element in Int(bounds[subspace])..<Int(bounds[subspace + 1]) { sums[element * 16 + code] += vectors[start + element] }
                }
            }
            for subspace in 0..<subspaces {
                for code in 0..<16 where sizes[subspace * 16 + code] > 0 {
                    for element in Int(bounds[subspace])..<Int(bounds[subspace + 1]) {
                        centroids[element * 16 + code] = sums[element * 16 + code] / sizes[subspace * 16 + code]
                    }
                }
            }
        }
    }

    /// Starts from vectors of the sample that are spread over each subspace: every further centroid is the candidate
    /// farthest from the ones placed so far, out of a few drawn at random.
    private mutating func placeCentroids(_ vectors: Span<Float>, random: inout SplitMix64) {
        let count = vectors.count / dimension
        func draw() -> Int { Int(random.next() % UInt64(count)) }
        for subspace in 0..<subspaces {
            let elements = Int(bounds[subspace])..<Int(bounds[subspace + 1])
            for code in 0..<16 {
                var chosen = draw()
                var farthest: Float = -1
                for _ in 0..<(code == 0 ? 1 : 3) {
                    let candidate = draw()
                    var nearest = Float.infinity
                    for placed in 0..<code {
                        var distance: Float = 0
                        for element in elements {
                            let difference = vectors[candidate * dimension + element] - centroids[element * 16 + placed]
                            distance += difference * difference
                        }
                        nearest = min(nearest, distance)
                    }
                    if nearest > farthest { (farthest, chosen) = (nearest, candidate) }
                }
                for element in elements { centroids[element * 16 + code] = vectors[chosen * dimension + element] }
            }
        }
    }

    /// - Parameter codes: Output, `[subspaces]`.
    func encode(_ vector: Span<Float>, into codes: inout [UInt8]) {
        var out = codes.mutableSpan
        kernels.encode(vector, centroids: centroids.span, bounds: bounds.span, into: &out)
    }

    /// Adds the vector that the codes describe.
    func add(_ codes: [UInt8], to vector: inout [Float]) {
        for subspace in 0..<subspaces {
            let code = Int(codes[subspace])
            for element in Int(bounds[subspace])..<Int(bounds[subspace + 1]) { vector[element] += centroids[element * 16 + code] }
        }
    }
}

extension ProductQuantizer {
    /// |`vector` − what its codes describe|², in double precision: added up in the same order everywhere.
    func squaredError(of codes: [UInt8], for vector: [Float]) -> Double {
        var sum = 0.0
        for subspace in 0..<subspaces {
            let code = Int(codes[subspace])
            for element in Int(bounds[subspace])..<Int(bounds[subspace + 1]) {
                let difference = Double(vector[element]) - Double(centroids[element * 16 + code])
                sum += difference * difference
            }
        }
        return sum
    }
}

/// Collects the codes of up to 16 rows in the layout that ``Kernels/scan(codes:biases:biasWeight:tables:spans:admitted:floor:keys:)`` reads.
struct CodeBlock {
    /// `[subspaces / 8, 64]`
    private var bytes: [UInt8]
    private(set) var count = 0

    init(subspaces: Int) { bytes = [UInt8](repeating: 0, count: subspaces * 8) }

    var isFull: Bool { count == Kernels.blockRows }

    /// Adds a row.
    mutating func add(_ codes: [UInt8]) {
        for subspace in codes.indices {
            bytes[subspace / 8 * 64 + count * 4 + subspace % 4] |= subspace % 8 < 4 ? codes[subspace] : codes[subspace] << 4
        }
        count += 1
    }

    /// Appends its rows' codes, `[subspaces / 8, 4 · rows]`, and forgets them.
    mutating func write(to blocks: inout [UInt8]) {
        for start in stride(from: 0, to: bytes.count, by: 64) { blocks += bytes[start..<start + 4 * count] }
        for index in bytes.indices { bytes[index] = 0 }
        count = 0
    }
}

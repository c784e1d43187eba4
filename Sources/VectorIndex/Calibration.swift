import Storage

/// What a search of a segment has to spend to reach a recall, measured when the segment was built.
///
/// A search scans the lists whose best rows are expected (the similarity that lists are ranked by, see ``Tier``) at most `margin` below the k-th
/// best row that it found by code. So it goes far where many lists are about equally near, and stops early where few are: what one
/// margin finds is nearly the same for queries like the base and unlike it, which a number of lists is not. Likewise regions are looked into that are at
/// most `regionMargin` below the best one, and the rows that codes choose are those at most `codeMargin` below the k-th best by code, however many they are.
///
/// Margins are similarities; for inner products and Euclidean distance they are multiplied by the query's length (less the mean), with which similarities grow.
struct Calibration: Sendable {
    struct Step: Sendable {
        var margin: Float
        /// What the margin shrinks by whenever twice as many lists have been scanned, from 16 on: the farther down, the less is to be found in a list of the same similarity.
        var slope: Float
        /// Lists that a query scans at most: some queries have nearly all lists within the margin, and little to gain in them.
        var mostLists: Float
        var codeMargin: Float
        /// How far the k-th best by code is above the k-th best by bytes in 99 of 100 queries at most: the best by code are those that codes flatter.
        var flattery: Float
        /// Rows that codes choose in nine of ten queries at most.
        var candidates: Float
        /// Lists are ranked whose region is at most so far below the best region.
        var regionMargin: Float
        /// Recall that was measured.
        var recall: Float

        fileprivate static let width = 8

        /// The margin after so many lists.
        func margin(after lists: Int) -> Float { margin - slope * Self.doublings(of: lists) }

        /// How often the lists that every search scans were doubled when that many were scanned, whole times.
        static func doublings(of lists: Int) -> Float {
            let times = lists / SegmentIndex.firstLists
            return times < 2 ? 0 : Float(Int.bitWidth - 1 - times.leadingZeroBitCount)
        }
    }

    /// What was measured for one number of hits.
    struct Level: Sendable {
        var limit: Float
        /// By recall, ascending.
        var steps: [Step]

        /// The step for a recall, between those measured; the first or last beyond them.
        func step(_ recall: Float) -> Step {
            guard let next = steps.firstIndex(where: { $0.recall >= recall }), next > 0 else { return recall <= steps[0].recall ? steps[0] : steps.last! }
            let (low, high) = (steps[next - 1], steps[next])
            return low.mixed(with: high, (recall - low.recall) / (high.recall - low.recall))
        }
    }

    /// By limit, ascending; at least one.
    var levels: [Level]

    static let stepCount = 10

    init(levels: [Level]) { self.levels = levels }

    /// - Returns: `nil` if the file has none.
    init?(_ file: SegmentFile) throws(SegmentError) {
        let section = IndexSection.calibration
        guard file.contains(section) else { return nil }
        let numbers = try unsafe Array(file.elements(of: section, as: Float.self))
        guard !numbers.isEmpty else { return nil }
        let width = 1 + Step.width * Self.stepCount
        guard numbers.count % width == 0, numbers.allSatisfy({ $0.isFinite }) else {
            throw .malformedSection(path: file.path, section: section, reason: "\(numbers.count) numbers, or some that are none")
        }
        levels = stride(from: 0, to: numbers.count, by: width).map { start in
            Level(limit: numbers[start], steps: (0..<Self.stepCount).map { step in
                let first = start + 1 + Step.width * step
                return Step(
                    margin: numbers[first], slope: numbers[first + 1], mostLists: numbers[first + 2], codeMargin: numbers[first + 3], flattery: numbers[first + 4],
                    candidates: numbers[first + 5], regionMargin: numbers[first + 6], recall: numbers[first + 7])
            })
        }
        let isSane = levels.allSatisfy { level in
            level.limit >= 1 && level.steps.allSatisfy { (0...1e9).contains($0.candidates) && $0.regionMargin >= 0 && $0.slope >= 0 && (0...1e9).contains($0.mostLists) && (0...1).contains($0.recall) }
                && zip(level.steps, level.steps.dropFirst()).allSatisfy { $0.recall <= $1.recall }
        }
        guard isSane, zip(levels, levels.dropFirst()).allSatisfy({ $0.limit < $1.limit }) else {
            throw .malformedSection(path: file.path, section: section, reason: "limits or recalls do not ascend, or are out of range")
        }
    }

    var numbers: [Float] {
        levels.flatMap { level in [level.limit] + level.steps.flatMap { [$0.margin, $0.slope, $0.mostLists, $0.codeMargin, $0.flattery, $0.candidates, $0.regionMargin, $0.recall] } }
    }

    /// What a search has to spend.
    ///
    /// - Parameters:
    ///   - limit: Hits wanted, which candidates are chosen for.
    ///   - depth: Rank of the last hit among all rows, were there no filter: it decides how far lists are scanned.
    func step(recall: Float, limit: Int, depth: Double) -> Step {
        var step = between(Float(depth), recall)
        let chosen = between(Float(limit), recall)
        (step.codeMargin, step.flattery, step.candidates) = (chosen.codeMargin, chosen.flattery, chosen.candidates)
        return step
    }

    /// Between two levels by the logarithm of the limit; beyond them as between the outermost, up to a tenfold.
    private func between(_ limit: Float, _ recall: Float) -> Step {
        guard levels.count > 1 else { return levels[0].step(recall) }
        let limit = min(max(limit, levels[0].limit), 10 * levels.last!.limit)
        let next = levels.indices.dropFirst().first { levels[$0].limit >= limit } ?? levels.count - 1
        let (low, high) = (levels[next - 1], levels[next])
        return low.step(recall).mixed(with: high.step(recall), (octaves(limit) - octaves(low.limit)) / (octaves(high.limit) - octaves(low.limit)))
    }

}

extension Calibration.Step {
    /// A share of the way to another step: counts by their ratio, the rest by the difference.
    fileprivate func mixed(with other: Self, _ share: Float) -> Self {
        func ratio(_ a: Float, _ b: Float) -> Float { fromOctaves(octaves(max(a, 1)) + share * (octaves(max(b, 1)) - octaves(max(a, 1)))) }
        return Self(
            margin: margin + share * (other.margin - margin), slope: max(0, slope + share * (other.slope - slope)), mostLists: ratio(mostLists, other.mostLists),
            codeMargin: max(0, codeMargin + share * (other.codeMargin - codeMargin)),
            flattery: max(0, flattery + share * (other.flattery - flattery)), candidates: ratio(candidates, other.candidates),
            regionMargin: max(0, regionMargin + share * (other.regionMargin - regionMargin)),
            recall: min(1, recall + share * (other.recall - recall)))
    }
}

/// About the logarithm to base 2 of a number of at least 1, linear between powers of 2: of the same bits on every machine, as a library's need not be.
private func octaves(_ number: Float) -> Float {
    let bits = number.bitPattern
    return Float(Int32(bits >> 23) - 127) + Float(bitPattern: bits & 0x7f_ffff | 0x3f80_0000) - 1
}

/// The number that has so many octaves.
private func fromOctaves(_ octaves: Float) -> Float {
    let whole = octaves.rounded(.down)
    return Float(bitPattern: UInt32(max(-126, min(127, whole)) + 127) << 23) * (1 + octaves - whole)
}

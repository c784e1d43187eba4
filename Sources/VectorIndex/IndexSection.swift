import Model

/// The names of an index's sections in a segment file, and what they hold.
///
/// All numbers are little-endian; n rows in L lists in R regions, d dimensions, M subspaces. Every vector is stored less the
/// mean of all, except in `index.vectors`.
///
/// | section | content |
/// | --- | --- |
/// | `index.header` | UInt32 each: format version, metric (0 cosine, 1 dot, 2 euclid), datatype (0 float32, 1 float16, 2 uint8, 3 int8), d, n, L, R, M |
/// | `index.mean` | Float `[d]`: the mean of the vectors |
/// | `index.norm` | Float `[1]`: root of the mean squared length of the vectors less the mean |
/// | `regions.bytes`, `.scales`, `.biases` | the regions' centres: UInt8 `[R, d]`, Float `[R]`, Float `[R]` |
/// | `lists.…` | the tier of the lists' centres, whose parents are regions |
/// | `rows.…` | the tier of the vectors, whose parents are lists |
/// | `rows.spill.starts`, `rows.spills` | only where rows are in a second list too: UInt32 `[L + 1]`, UInt32 `[S]`: list l has the rows from element i up to element i + 1 of the latter besides its own, see ``Spills`` |
/// | `lists.radii` | Float `[L]`: no row of a list is farther from its centre, as `lists.bytes` says it; infinite where distances overflow |
/// | `index.lengths` | Float `[2]`: no vector is shorter than the first or longer than the second, as it is compared |
/// | `rows.error` | Float `[1]`: mean squared distance of rows from what their codes describe, see ``SegmentIndex/quantizationError`` |
/// | `index.calibration` | Float `[levels, 1 + 8 · steps]`: limit, then margin, its slope, lists at most, margin by code, flattery, candidates, margin of regions, recall of each step, see ``Calibration``; empty in small segments |
/// | `index.vectors` | `[n, d]` of the datatype: the vectors as they came |
/// | `index.inverse.norms` | Float `[n]`: 1 / their lengths; only for integers and cosine |
///
/// A tier of c children (`lists`: L, `rows`: n) of p parents:
///
/// | section | content |
/// | --- | --- |
/// | `.starts` | UInt32 `[p + 1]`: parent i has the children from element i up to element i + 1 |
/// | `.bytes`, `.scales` | UInt8 `[c, d]`, Float `[c]`: element e of a child is (byte − 128) · scale |
/// | `.biases` | Float `[c]`: b, see ``Tier`` |
/// | `.codebooks` | Float `[d, 16]`: row i holds element i of the 16 centroids of its subspace |
/// | `.codes` | M/2 bytes a child: codes of (child − parent), laid out for the scan kernel |
/// | `.code.biases` | UInt8 `[c]`: b of what the codes describe, less the parent's b: lowest + unit · byte |
/// | `.code.range` | Float `[2]`: lowest, unit |
///
/// Means, scales and inverse norms are finite, these, radii, lengths, the norm and the error not negative, biases numbers; a file in which they are not is refused. Whatever else a file
/// says, its search stays within it.
///
/// With spills a list's own rows' codes are followed by those of its spills, in blocks of their own, and so are the biases of codes: `rows.codes` and `rows.code.biases` have n + S rows.
///
/// Subspace s has the elements ⌊s·d/M⌋ up to ⌊(s+1)·d/M⌋. Codes stand in blocks of 16 children of one parent, and
/// one of the w that are left; a block is `[M/8, 4 · w]` bytes: byte 4·j + t of group g holds subspace 8·g + t of its child j in the low nibble and subspace
/// 8·g + 4 + t in the high nibble.
enum IndexSection {
    static let header = "index.header"
    static let mean = "index.mean"
    static let norm = "index.norm"
    static let lengths = "index.lengths"
    static let calibration = "index.calibration"
    static let vectors = "index.vectors"
    static let inverseNorms = "index.inverse.norms"
    static let regions = "regions"
    static let lists = "lists"
    static let rows = "rows"

    static let starts = ".starts"
    static let bytes = ".bytes"
    static let scales = ".scales"
    static let biases = ".biases"
    static let radii = ".radii"
    static let spills = ".spills"
    static let spillStarts = ".spill.starts"
    static let codebooks = ".codebooks"
    static let codes = ".codes"
    static let codeBiases = ".code.biases"
    static let codeRange = ".code.range"
    static let error = ".error"

    static let formatVersion: UInt32 = 8
}

extension Metric {
    var sectionCode: UInt32 {
        switch self {
        case .cosine: 0
        case .dot: 1
        case .euclid: 2
        }
    }

    init?(sectionCode: UInt32) {
        switch sectionCode {
        case 0: self = .cosine
        case 1: self = .dot
        case 2: self = .euclid
        default: return nil
        }
    }
}

extension VectorDatatype {
    private static let inOrder: [VectorDatatype] = [.float32, .float16, .uint8, .int8]
    var sectionCode: UInt32 { UInt32(Self.inOrder.firstIndex(of: self)!) }

    init?(sectionCode: UInt32) {
        guard sectionCode < Self.inOrder.count else { return nil }
        self = Self.inOrder[Int(sectionCode)]
    }
}

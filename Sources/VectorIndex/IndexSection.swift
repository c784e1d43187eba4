/// The names of an index's sections in a segment file, and what the first of them holds.
///
/// All numbers are little-endian; n rows, d dimensions, L lists, M subspaces.
///
/// | section | content |
/// | --- | --- |
/// | `index.header` | UInt32 each: format version 1, metric (0 cosine, 1 dot, 2 euclid), d, n, L, M |
/// | `index.lists` | UInt32 `[L + 1]`: list i is the rows from element i up to element i + 1 |
/// | `index.centroids` | Float `[L, d]`: the lists' means |
/// | `index.spreads` | Float `[L]`: root of the mean squared distance of a list's rows to its mean |
/// | `index.codebooks` | Float `[d, 16]`: row i holds element i of the 16 centroids of its subspace |
/// | `index.codes` | `[⌈n/32⌉, M/4, 64]` bytes: codes of (row − mean of its list), laid out for the scan kernel |
/// | `index.vectors` | Float `[n, d]`: the vectors |
///
/// Subspace s has the elements ⌊s·d/M⌋ up to ⌊(s+1)·d/M⌋. Lists are not aligned to blocks, so codes take M/2 bytes a row.
enum IndexSection {
    static let header = "index.header"
    static let lists = "index.lists"
    static let centroids = "index.centroids"
    static let spreads = "index.spreads"
    static let codebooks = "index.codebooks"
    static let codes = "index.codes"
    static let vectors = "index.vectors"

    static let formatVersion: UInt32 = 1
}

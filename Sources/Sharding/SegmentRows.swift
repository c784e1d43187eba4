import Model
import Storage
import VectorIndex
import VectorMath

/// The points of a mapped segment: ids, versions and payloads; vectors and codes are in the same file's ``VectorIndex``.
///
/// Rows are in the order that the index gave them. Ids are stored in their own order, so that one is found by bisection and
/// nothing is built when a segment is opened; the place of an id in that order is its rank.
///
/// | section | element | |
/// | --- | --- | --- |
/// | `points` | 2 × UInt64 | number of rows whose id is an integer, of those whose id is a UUID |
/// | `ids` | UInt64 | the integers, then the UUIDs as high and low half, each ascending |
/// | `rows` | UInt32 | row of each rank |
/// | `ranks` | UInt32 | rank of each row |
/// | `versions` | UInt64 | position in the log of each row |
/// | `content` | UInt64 | ``Hit/contentHash`` of each row |
/// | `payload.ends` | UInt64 | where each row's payload ends in the next section |
/// | `payloads` | bytes | JSON, row after row |
/// | `filter.…` | | see ``PayloadIndex`` |
@safe final class SegmentRows: Rows {
    let file: SegmentFile
    let index: SegmentIndex
    let count: Int
    let filters = FilterCache()
    private let payloadIndex: PayloadIndex?
    private let integerCount: Int
    private nonisolated(unsafe) let ids: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let rowOfRank: UnsafeBufferPointer<UInt32>
    private nonisolated(unsafe) let rankOfRow: UnsafeBufferPointer<UInt32>
    private nonisolated(unsafe) let versions: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let contentHashes: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let payloadEnds: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let payloads: UnsafeRawBufferPointer

    /// - Parameter index: Over the same file: it has the vectors.
    init(file: SegmentFile, index: SegmentIndex) throws(SegmentError) {
        let counts = try unsafe file.elements(of: "points", as: UInt64.self, count: 2)
        let integers = unsafe counts[0]
        let uuids = unsafe counts[1]
        guard integers < 1 << 32, uuids < 1 << 32, integers + uuids > 0 else {
            throw .malformedSection(path: file.path, section: "points", reason: "\(integers) and \(uuids) rows")
        }
        self.file = file
        self.index = index
        integerCount = Int(integers)
        count = Int(integers + uuids)
        unsafe ids = try unsafe file.elements(of: "ids", as: UInt64.self, count: Int(integers + 2 * uuids))
        unsafe rowOfRank = try unsafe file.elements(of: "rows", as: UInt32.self, count: count)
        unsafe rankOfRow = try unsafe file.elements(of: "ranks", as: UInt32.self, count: count)
        unsafe versions = try unsafe file.elements(of: "versions", as: UInt64.self, count: count)
        unsafe contentHashes = try unsafe file.elements(of: "content", as: UInt64.self, count: count)
        unsafe payloadEnds = try unsafe file.elements(of: "payload.ends", as: UInt64.self, count: count)
        unsafe payloads = try unsafe file.bytes(of: "payloads")
        payloadIndex = try PayloadIndex(file, rowCount: count)
        for rank in 0..<count {
            let row = unsafe Int(rowOfRank[rank])
            guard row < count, unsafe Int(rankOfRow[row]) == rank else {
                throw .malformedSection(path: file.path, section: "rows", reason: "rank \(rank) has row \(row)")
            }
        }
        var previous: UInt64 = 0
        for row in 0..<count {
            let end = unsafe payloadEnds[row]
            guard end >= previous else { throw .malformedSection(path: file.path, section: "payload.ends", reason: "offsets fall") }
            previous = end
        }
        let byteCount = unsafe payloads.count
        guard previous == UInt64(byteCount) else {
            throw .malformedSection(path: file.path, section: "payload.ends", reason: "last is \(previous), payloads have \(byteCount) bytes")
        }
    }

    func id(_ row: Int) -> PointID { id(rank: unsafe Int(rankOfRow[row])) }
    /// The `rank`-th id in ascending order.
    func id(rank: Int) -> PointID {
        if rank < integerCount { return .integer(unsafe ids[rank]) }
        let place = integerCount + 2 * (rank - integerCount)
        return .uuid(high: unsafe ids[place], low: unsafe ids[place + 1])
    }
    func row(rank: Int) -> Int { unsafe Int(rowOfRank[rank]) }
    /// Bytes of ids, their order, versions and hashes.
    var memoryByteCount: Int { unsafe ids.count * 8 + count * (2 * 4 + 2 * 8) }

    func version(_ row: Int) -> UInt64 { unsafe versions[row] }
    func contentHash(_ row: Int) -> UInt64 { unsafe contentHashes[row] }

    func payload(_ row: Int, only keys: Set<String>?) throws(FormatError) -> Payload {
        try unsafe PayloadDecoder.decode(mappedPayload(row), only: keys)
    }
    func payloadBytes(_ row: Int) -> [UInt8] { unsafe Array(mappedPayload(row)) }
    func vector(_ row: Int) -> [Float] { index.vector(row) }
    func copyVector(_ row: Int, to out: inout MutableSpan<Float>) { index.copyVector(row, to: &out) }
    func fetchVectors() { index.fetchVectors() }

    func narrowed(by filter: Filter) -> (candidates: RowBitmap, rest: Filter)? { payloadIndex?.narrowed(by: filter, row: row(of:)) }

    private func mappedPayload(_ row: Int) -> UnsafeBufferPointer<UInt8> {
        let start = row == 0 ? 0 : unsafe Int(payloadEnds[row - 1])
        return unsafe UnsafeRawBufferPointer(rebasing: payloads[start..<Int(payloadEnds[row])]).assumingMemoryBound(to: UInt8.self)
    }

    /// The row of `id`, live or not. O(log rows).
    func row(of id: PointID) -> Int? {
        let rank = firstRank(from: id)
        return rank < count && self.id(rank: rank) == id ? row(rank: rank) : nil
    }

    /// The first rank whose id is not below `id`. O(log rows).
    func firstRank(from id: PointID) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self.id(rank: middle) < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

import Model
import Storage
import VectorIndex
import VectorMath

/// Points of the log that no segment holds yet, in memory.
///
/// Owned by ``ShardState``. Readers get its ``parts``, which stay valid without a lock while the tail grows.
struct Tail {
    private let schema: CollectionSchema
    private var blocks: [Block] = []
    /// Where the live rows lie.
    private var places: [PointID: Place] = [:]
    var liveCount: Int { places.count }

    private struct Block {
        let rows: TailBlock
        var count = 0
        var live: RowBitmap
    }
    private struct Place {
        let block: Int32
        let row: Int32
    }

    init(schema: CollectionSchema) { self.schema = schema }

    var isEmpty: Bool { blocks.isEmpty }
    /// Rows, live or not, and the bytes of log that they came from.
    private(set) var count = 0
    private(set) var byteCount = 0

    /// The rows at this moment.
    var parts: [Part] {
        blocks.map { Part(rows: $0.rows, count: $0.count, live: $0.live) }
    }

    mutating func append(_ point: LoggedPoint, version: UInt64) {
        if blocks.last.map({ $0.count == $0.rows.capacity }) ?? true {
            // Blocks grow, so that an almost empty shard is small and a full one has few of them.
            let capacity = min(1_024, 16 << (2 * min(blocks.count, 3)))
            blocks.append(Block(rows: TailBlock(schema: schema, capacity: capacity), live: RowBitmap(rowCount: capacity)))
        }
        let last = blocks.count - 1
        let row = blocks[last].count
        blocks[last].rows.append(point, version: version)
        blocks[last].count += 1
        blocks[last].live.insert(row)
        places[point.id] = Place(block: Int32(last), row: Int32(row))
        count += 1
        byteCount += point.byteCount
    }

    /// Marks the point's row as superseded; false if there is no live one.
    mutating func remove(_ id: PointID) -> Bool {
        guard let place = places.removeValue(forKey: id) else { return false }
        blocks[Int(place.block)].live.remove(Int(place.row))
        return true
    }

    /// The point's live row.
    func find(_ id: PointID) -> (rows: any Rows, row: Int)? {
        places[id].map { (blocks[Int($0.block)].rows, Int($0.row)) }
    }
}

/// Rows of a tail in one piece of memory.
///
/// Appended to by the tail's owner alone; a row is never written again, and readers only touch rows that were there when
/// they got their ``Part`` under the owner's lock. That makes it safe to share without a lock of its own.
@safe final class TailBlock: Rows, @unchecked Sendable {
    private struct Row {
        var id: PointID
        var version: UInt64
        var contentHash: UInt64
        var payload: [UInt8]
    }

    let capacity: Int
    let filters = FilterCache()
    private let dimension: Int
    private let metric: Metric
    private var filled = 0
    /// Row-major `[capacity, dimension]`, as they are stored.
    private let vectors: UnsafeMutablePointer<Float>
    /// `[capacity]`: what scores are multiplied by, if the datatype wants that.
    private let inverseNorms: UnsafeMutablePointer<Float>?
    private let rows: UnsafeMutablePointer<Row>

    init(schema: CollectionSchema, capacity: Int) {
        dimension = schema.dimension
        metric = schema.metric
        self.capacity = capacity
        unsafe vectors = .allocate(capacity: capacity * dimension)
        unsafe rows = .allocate(capacity: capacity)
        unsafe inverseNorms = schema.datatype.dividesByLength(under: metric) ? .allocate(capacity: capacity) : nil
    }

    deinit {
        unsafe vectors.deallocate()
        unsafe rows.deinitialize(count: filled)
        unsafe rows.deallocate()
        unsafe inverseNorms?.deallocate()
    }

    func append(_ point: LoggedPoint, version: UInt64) {
        precondition(filled < capacity, "block of \(capacity) rows is full")
        precondition(point.vector.count == dimension, "vector of \(point.vector.count) elements in a block of \(dimension)")
        unsafe point.vector.withUnsafeBufferPointer { unsafe (vectors + filled * dimension).initialize(from: $0.baseAddress!, count: dimension) }
        if let inverseNorms = unsafe inverseNorms { unsafe (inverseNorms + filled).initialize(to: FullVectors.inverseNorm(of: point.vector.span)) }
        unsafe (rows + filled).initialize(to: Row(id: point.id, version: version, contentHash: point.contentHash, payload: point.payload))
        filled += 1
    }

    func id(_ row: Int) -> PointID { unsafe rows[row].id }
    func version(_ row: Int) -> UInt64 { unsafe rows[row].version }
    func contentHash(_ row: Int) -> UInt64 { unsafe rows[row].contentHash }
    func payload(_ row: Int, only keys: Set<String>?) throws(FormatError) -> Payload { try PayloadDecoder.decode(unsafe rows[row].payload, only: keys) }
    func payloadBytes(_ row: Int) -> [UInt8] { unsafe rows[row].payload }

    func vector(_ row: Int) -> [Float] {
        unsafe Array(UnsafeBufferPointer(start: vectors + row * dimension, count: dimension))
    }

    func copyVector(_ row: Int, to out: inout MutableSpan<Float>) {
        precondition(out.count == dimension, "room for \(out.count) elements of \(dimension)")
        unsafe out.withUnsafeMutableBufferPointer { unsafe $0.baseAddress!.update(from: vectors + row * dimension, count: dimension) }
    }

    /// The scores of some rows, as a segment gives them.
    func scores(_ query: [Float], _ scored: Range<Int>) -> [Float] {
        var scores = [Float](repeating: 0, count: scored.count)
        var out = scores.mutableSpan
        let vectors = unsafe UnsafeBufferPointer(start: vectors + scored.lowerBound * dimension, count: scored.count * dimension).span
        switch metric {
        case .cosine, .dot: Kernels.best.dot(query.span, rows: vectors, into: &out)
        case .euclid: Kernels.best.squaredDistance(query.span, rows: vectors, into: &out)
        }
        for place in scores.indices {
            if let inverseNorms = unsafe inverseNorms { scores[place] *= unsafe inverseNorms[scored.lowerBound + place] }
            if metric == .euclid { scores[place] = scores[place].squareRoot() }
            if scores[place].isNaN { scores[place] = metric.worstScore }
        }
        return scores
    }
}

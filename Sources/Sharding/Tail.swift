import Model
import Storage

/// Points of the log that no segment holds yet, in memory.
///
/// Owned by ``ShardState``. Readers get a ``View``: rows below its count never change, so it stays valid without a lock while
/// the tail grows.
struct Tail {
    private(set) var view: View
    /// The row of each id's newest version here, live or not.
    private var rows: [PointID: Int] = [:]
    private(set) var byteCount = 0

    init(dimension: Int) { view = View(dimension: dimension) }

    var isEmpty: Bool { view.count == 0 }
    var liveCount: Int { view.liveCount }

    mutating func append(_ point: LoggedPoint, version: UInt64) {
        if view.blocks.last?.isFull ?? true { view.addBlock() }
        view.blocks[view.blocks.count - 1].append(point, version: version)
        rows[point.id] = view.count
        view.live.append(true)
        view.liveCount += 1
        byteCount += point.byteCount
    }

    /// The live row of `id`.
    func row(of id: PointID) -> Int? {
        guard let row = rows[id], view.live[row] else { return nil }
        return row
    }

    mutating func remove(row: Int) {
        guard view.live[row] else { return }
        view.live[row] = false
        view.liveCount -= 1
    }

    /// The rows at one moment.
    struct View: Sendable {
        let dimension: Int
        fileprivate(set) var blocks: [TailBlock] = []
        /// First row of each block.
        private var starts: [Int] = []
        fileprivate(set) var live = Bitmap(count: 0)
        fileprivate(set) var liveCount = 0

        fileprivate init(dimension: Int) { self.dimension = dimension }

        var count: Int { live.count }

        /// Blocks grow, so that an almost empty shard is small and a full one has few blocks.
        fileprivate mutating func addBlock() {
            starts.append(count)
            blocks.append(TailBlock(dimension: dimension, capacity: min(1_024, 16 << (2 * min(blocks.count, 3)))))
        }

        /// The blocks with the rows that belong to this view.
        func forEachBlock(_ body: (TailBlock, Range<Int>) -> Bool) {
            for (block, start) in zip(blocks, starts) {
                let end = min(start + block.capacity, count)
                guard start < end, body(block, start..<end) else { return }
            }
        }

        func block(of row: Int) -> (block: TailBlock, offset: Int) {
            var low = 0
            var high = starts.count - 1
            while low < high {
                let middle = (low + high + 1) / 2
                if starts[middle] <= row { low = middle } else { high = middle - 1 }
            }
            return (blocks[low], row - starts[low])
        }
    }
}

/// Rows of a tail in one piece of memory.
///
/// Appended to by the tail's owner alone; a row is never written again, and readers only touch rows that were there when
/// they got their view under the owner's lock. That makes it safe to share without a lock of its own.
@safe final class TailBlock: @unchecked Sendable {
    struct Row {
        var id: PointID
        var version: UInt64
        var contentHash: UInt64
        var payload: [UInt8]
    }

    let dimension: Int
    let capacity: Int
    private var filled = 0
    /// Row-major `[capacity, dimension]`.
    private let vectors: UnsafeMutablePointer<Float>
    private let rows: UnsafeMutablePointer<Row>

    init(dimension: Int, capacity: Int) {
        self.dimension = dimension
        self.capacity = capacity
        unsafe vectors = .allocate(capacity: capacity * dimension)
        unsafe rows = .allocate(capacity: capacity)
    }

    deinit {
        unsafe vectors.deallocate()
        unsafe rows.deinitialize(count: filled)
        unsafe rows.deallocate()
    }

    var isFull: Bool { filled == capacity }

    func append(_ point: LoggedPoint, version: UInt64) {
        precondition(!isFull && point.vector.count == dimension, "vector of \(point.vector.count) elements in a block of \(dimension)")
        unsafe point.vector.withUnsafeBufferPointer { unsafe (vectors + filled * dimension).initialize(from: $0.baseAddress!, count: dimension) }
        unsafe (rows + filled).initialize(to: Row(id: point.id, version: version, contentHash: point.contentHash, payload: point.payload))
        filled += 1
    }

    subscript(offset: Int) -> Row { unsafe rows[offset] }

    func vector(_ offset: Int) -> [Float] {
        unsafe Array(UnsafeBufferPointer(start: vectors + offset * dimension, count: dimension))
    }

    /// The first `count` vectors, row-major.
    func withVectors<Result>(count: Int, _ body: (UnsafeBufferPointer<Float>) -> Result) -> Result {
        unsafe body(UnsafeBufferPointer(start: vectors, count: count * dimension))
    }
}

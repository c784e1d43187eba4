import VectorMath

/// Collects candidates and keeps the best of them.
///
/// It fills up to several times what it keeps and is then cut by a selection in linear time, which costs less per candidate
/// than a heap; the cut sets the bound that further candidates have to pass.
struct CandidatePool {
    let keep: Int
    /// The first `count` are the candidates, as ``RankKey``.
    private(set) var storage: [UInt64]
    private(set) var count = 0
    /// Keys up to it are refused.
    private var bound: UInt64 = 0

    init(keep: Int, storage: [UInt64]) {
        self.keep = keep
        self.storage = storage
        SearchScratch.grow(&self.storage, to: 4 * keep, filler: 0)
    }

    /// The largest sum of table entries that cannot pass the bound; −1 if any can.
    func floor(base: Float, step: Float) -> Int32 {
        guard bound > 0 else { return -1 }
        // One less than computed, since rounding may go either way.
        let sum = ((RankKey.similarity(bound) - base) / step).rounded(.down) - 1
        return sum.isNaN ? -1 : Int32(max(-1, min(sum, 65_535)))
    }

    @inline(__always)
    mutating func offer(_ similarity: Float, _ row: UInt32) {
        let key = RankKey.make(similarity, row)
        guard key > bound else { return }
        if count == storage.count { storage.append(key) } else { storage[count] = key }
        count += 1
    }

    mutating func shrinkIfFull() {
        if count >= 3 * keep { finish() }
    }

    /// Leaves only the best `keep`.
    mutating func finish() {
        guard count > keep else { return }
        let (taken, kept) = (count, keep)
        var keys = storage.mutableSpan
        Kernels.keepLargest(kept, ofFirst: taken, in: &keys)
        count = keep
        bound = storage[0..<keep].min()!
    }
}

/// Keys in descending order, as far as they are asked for.
struct KeyQueue {
    /// A heap, the largest first; the array's memory is used again.
    private(set) var keys: [UInt64]

    init(_ keys: [UInt64]) {
        self.keys = keys
        for index in stride(from: keys.count / 2 - 1, through: 0, by: -1) { siftDown(from: index) }
    }

    mutating func popLargest() -> UInt64? {
        guard let largest = keys.first else { return nil }
        let last = keys.removeLast()
        if !keys.isEmpty {
            keys[0] = last
            siftDown(from: 0)
        }
        return largest
    }

    private mutating func siftDown(from start: Int) {
        var parent = start
        let moved = keys[start]
        while true {
            var child = 2 * parent + 1
            guard child < keys.count else { break }
            if child + 1 < keys.count && keys[child + 1] > keys[child] { child += 1 }
            guard keys[child] > moved else { break }
            keys[parent] = keys[child]
            parent = child
        }
        keys[parent] = moved
    }
}

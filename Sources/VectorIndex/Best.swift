import Model

/// The best rows so far, in the order of their final scores.
///
/// A heap with the last of the kept at its top: a row that does not make it costs one comparison. Its memory is borrowed and becomes the hits, so that a
/// search allocates nothing where those of the one before are not in use any more.
package struct Best {
    /// Which of two rows with equal scores ranks first: a strict total order.
    package typealias Order = (Int, Int) -> Bool

    private let limit: Int
    private let metric: Metric
    private var heap: [RowHit] = []
    /// What a kernel's score has to reach to matter, once there are enough.
    private var bound: Float?

    /// - Parameter storage: Memory that ``finish(_:into:)`` gives back; what is in it does not matter.
    package init(limit: Int, metric: Metric, storage: inout [RowHit]) {
        self.limit = limit
        self.metric = metric
        swap(&heap, &storage)
        heap.removeAll(keepingCapacity: true)
        heap.reserveCapacity(min(limit, 4_096))
    }

    /// - Parameter value: The kernel's score: for the Euclidean metric the square of the final one.
    @inline(__always)
    package mutating func offer(_ row: Int, _ value: Float, _ precedes: Order) {
        if let bound, metric.higherIsBetter ? value < bound : value > bound { return }
        insert(row, metric == .euclid ? value.squareRoot() : value, precedes)
    }

    private mutating func insert(_ row: Int, _ score: Float, _ precedes: Order) {
        // Finite vectors can still overflow into a score that is no number: it ranks last.
        let hit = RowHit(row: row, score: score.isNaN ? metric.worstScore : score)
        if heap.count < limit {
            heap.append(hit)
            siftUp(precedes)
        } else if limit > 0, isBefore(hit, heap[0], precedes) {
            heap[0] = hit
            siftDown(below: limit, precedes)
        }
        // Different squares may have the same root, and then rows decide: the bound is a little above the worst one's square.
        if heap.count == limit { bound = heap.first.map { metric == .euclid ? $0.score * $0.score * 1.000_001 : $0.score } }
    }

    /// Sets `hits` to what was kept, best first, and keeps nothing. O(k log k).
    package mutating func finish(_ precedes: Order, into hits: inout [RowHit]) {
        var end = heap.count
        while end > 1 {
            end -= 1
            heap.swapAt(0, end)
            siftDown(below: end, precedes)
        }
        swap(&heap, &hits)
        heap = []
    }

    private func isBefore(_ a: RowHit, _ b: RowHit, _ precedes: Order) -> Bool {
        a.score == b.score ? precedes(a.row, b.row) : metric.isBetter(a.score, than: b.score)
    }

    private mutating func siftUp(_ precedes: Order) {
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isBefore(heap[parent], heap[child], precedes) else { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func siftDown(below end: Int, _ precedes: Order) {
        var parent = 0
        while true {
            var last = parent
            let left = 2 * parent + 1
            if left < end, isBefore(heap[last], heap[left], precedes) { last = left }
            if left + 1 < end, isBefore(heap[last], heap[left + 1], precedes) { last = left + 1 }
            guard last != parent else { return }
            heap.swapAt(parent, last)
            parent = last
        }
    }
}

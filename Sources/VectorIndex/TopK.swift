/// Keeps the first `capacity` of the elements offered, in an order given by the caller.
///
/// A heap with the last of the kept at its top: an element that does not make it costs one comparison. It stands in the module that uses it: the general code
/// that another module would call allocates at every exchange.
package struct TopK<Element> {
    package let capacity: Int
    private let precedes: (Element, Element) -> Bool
    private var heap: [Element] = []

    /// - Parameter precedes: A strict total order; better elements precede.
    package init(capacity: Int, precedes: @escaping (Element, Element) -> Bool) {
        precondition(capacity >= 0, "capacity \(capacity)")
        self.capacity = capacity
        self.precedes = precedes
        heap.reserveCapacity(min(capacity, 4_096))
    }

    package var count: Int { heap.count }
    package var isFull: Bool { heap.count == capacity }
    /// The last of the kept: once full, an element has to precede it to be kept.
    package var last: Element? { heap.first }

    package mutating func offer(_ element: Element) {
        if heap.count < capacity {
            heap.append(element)
            siftUp()
        } else if capacity > 0, precedes(element, heap[0]) {
            heap[0] = element
            siftDown()
        }
    }

    /// What was kept, first first.
    package func sorted() -> [Element] { heap.sorted(by: precedes) }

    mutating func siftUp() {
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(heap[parent], heap[child]) else { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    mutating func siftDown() {
        var parent = 0
        while true {
            var last = parent
            let left = 2 * parent + 1
            if left < heap.count, precedes(heap[last], heap[left]) { last = left }
            if left + 1 < heap.count, precedes(heap[last], heap[left + 1]) { last = left + 1 }
            guard last != parent else { return }
            heap.swapAt(parent, last)
            parent = last
        }
    }
}

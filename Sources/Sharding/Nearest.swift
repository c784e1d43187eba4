import Model

/// The best hits offered so far, in the total order of ``Hit``: a binary heap with the worst on top.
struct Nearest {
    private let limit: Int
    private let metric: Metric
    private let threshold: Float?
    private var heap: [Hit] = []

    init(limit: Int, metric: Metric, threshold: Float?) {
        self.limit = limit
        self.metric = metric
        self.threshold = threshold
    }

    /// Whether a hit of this score could get in; cheap, so that most rows need no id.
    func admits(_ score: Float) -> Bool {
        if let threshold, metric.isBetter(threshold, than: score) { return false }
        guard heap.count == limit else { return limit > 0 }
        return !metric.isBetter(heap[0].score, than: score)
    }

    mutating func offer(_ hit: Hit) {
        guard admits(hit.score) else { return }
        if heap.count < limit {
            heap.append(hit)
            var child = heap.count - 1
            while child > 0, ranksBefore(heap[(child - 1) / 2], heap[child]) {
                heap.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
        } else if ranksBefore(hit, heap[0]) {
            heap[0] = hit
            sink()
        }
    }

    var sorted: [Hit] { heap.sorted { ranksBefore($0, $1) } }

    private mutating func sink() {
        var parent = 0
        while true {
            var worst = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && ranksBefore(heap[worst], heap[child]) { worst = child }
            guard worst != parent else { return }
            heap.swapAt(parent, worst)
            parent = worst
        }
    }

    private func ranksBefore(_ a: Hit, _ b: Hit) -> Bool { Hit.ranksBefore(a, b, under: metric) }
}

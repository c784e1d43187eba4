import Model

/// Puts one page together from shards that each hand out their points in the order of ids: says what to fetch, takes what came.
///
/// Each shard is asked for about its share of the page, and again when its points are used up before the page is full, so
/// what is fetched and not used stays below one share a shard.
struct ScrollMerge {
    struct Part: Hashable, Sendable {
        /// The shard's in the plan.
        var place: Int
        var from: PointID?
        var limit: Int
    }
    enum Step: Equatable {
        case fetch([Part])
        case finished
    }
    private struct Lane {
        var points: [StoredPoint] = []
        var used = 0
        /// Where the shard's next page begins; `nil` before the first page of a scroll from the start.
        var from: PointID?
        var isAtEnd = false
    }

    private(set) var page: [StoredPoint] = []
    /// Where the next page begins, once finished.
    private(set) var following: PointID?
    private(set) var failures: [Int: ClusterError] = [:]
    private var lanes: [Lane]
    private let limit: Int
    private let share: Int

    init(shardCount: Int, from: PointID?, limit: Int) {
        lanes = Array(repeating: Lane(from: from), count: shardCount)
        self.limit = limit
        // Hashing spreads ids evenly but not exactly: a quarter more makes a second round rare. One more is for `following`.
        let even = (limit + shardCount) / shardCount
        share = min(limit + 1, even + even / 4 + 4)
    }

    mutating func next() -> Step {
        while following == nil {
            let empty = lanes.indices.filter { lanes[$0].used == lanes[$0].points.count && !lanes[$0].isAtEnd }
            guard empty.isEmpty else { return .fetch(empty.map { Part(place: $0, from: lanes[$0].from, limit: share) }) }
            let filled = lanes.indices.filter { lanes[$0].used < lanes[$0].points.count }
            guard let least = filled.min(by: { head($0).id < head($1).id }) else { return .finished }
            if page.count == limit {
                following = head(least).id
            } else {
                page.append(head(least))
                lanes[least].used += 1
            }
        }
        return .finished
    }

    /// - Parameter points: The first `part.limit` points of the shard from `part.from` on.
    mutating func take(_ points: Result<[StoredPoint], ClusterError>, for part: Part) {
        switch points {
        case .success(let points):
            lanes[part.place].points = points
            lanes[part.place].used = 0
            if points.count == part.limit, let successor = points.last?.id.successor {
                lanes[part.place].from = successor
            } else {
                lanes[part.place].isAtEnd = true
            }
        case .failure(let error):
            failures[part.place] = error
            lanes[part.place].isAtEnd = true
        }
    }

    private func head(_ lane: Int) -> StoredPoint { lanes[lane].points[lanes[lane].used] }
}

extension PointID {
    /// The next id in the total order; `nil` after the last.
    var successor: PointID? {
        switch self {
        case .integer(.max): .uuid(high: 0, low: 0)
        case .integer(let value): .integer(value + 1)
        case .uuid(.max, .max): nil
        case .uuid(let high, .max): .uuid(high: high + 1, low: 0)
        case .uuid(let high, let low): .uuid(high: high, low: low + 1)
        }
    }
}

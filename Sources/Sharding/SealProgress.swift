import Model
import Synchronization

/// How far the seals of a node are.
final class SealProgress: Sendable {
    private let shares = Mutex<[ShardID: Double]>([:])

    /// - Parameter share: Of the segment's work that is done, 0…1; `nil`: the shard seals no more.
    func set(_ share: Double?, of shard: ShardID) { shares.withLock { $0[shard] = share } }

    /// The share of a shard's seal; `nil` if none runs.
    func share(of shard: ShardID) -> Double? { shares.withLock { $0[shard] } }

    var all: [Double] { shares.withLock { Array($0.values) } }
}

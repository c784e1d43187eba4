import Model
import Synchronization

/// What shards told of the space that their points take up, for the time when they do not answer. Bounded in bytes; nothing is kept longer than
/// ``CoordinatorConfiguration/outlineLifetime`` after it was last known to be current, so that what was erased is not remembered.
final class OutlineCache: Sendable {
    private struct Entry {
        var reply: OutlineReply?
        /// The highest position that the shard is known to have.
        var position: UInt64
        var askedAt: ContinuousClock.Instant
        var confirmedAt: ContinuousClock.Instant
        /// Counts questions, and writes of which it is not known whether they took effect: an answer to an older question is not kept.
        var turn: UInt64
        var byteCount: Int { 256 + (reply?.outline?.byteCount ?? 0) }
    }
    private struct Entries {
        private(set) var all: [ShardID: Entry] = [:]
        private(set) var byteCount = 0

        subscript(shard: ShardID) -> Entry? {
            get { all[shard] }
            set {
                byteCount += (newValue?.byteCount ?? 0) - (all[shard]?.byteCount ?? 0)
                all[shard] = newValue
            }
        }

        mutating func keep(where isKept: (ShardID, Entry) -> Bool) {
            all = all.filter { isKept($0.key, $0.value) }
            byteCount = all.values.reduce(0) { $0 + $1.byteCount }
        }

        /// Rare and simple, as in ``PlanCache``: a full cache is emptied of its older half.
        mutating func trim(to limit: Int) {
            guard byteCount > limit else { return }
            let middle = all.values.map(\.confirmedAt).sorted()[all.count / 2]
            keep { $1.confirmedAt > middle }
        }
    }
    private let entries = Mutex(Entries())
    private let running = Mutex<[ShardID: Task<Void, Never>]>([:])
    private let limit: Int
    private let interval: Duration
    private let lifetime: Duration

    /// - Parameters:
    ///   - limit: In bytes; 0 keeps none.
    ///   - interval: Between two questions to one shard, at least.
    init(limit: Int, interval: Duration, lifetime: Duration) {
        self.limit = limit
        self.interval = interval
        self.lifetime = lifetime
    }

    /// Outlines behind which nothing newer is known, and the bytes of all.
    var total: (current: Int, bytes: Int) {
        entries.withLock { ($0.all.values.count { $0.reply?.outline != nil && $0.reply?.position == $0.position }, $0.byteCount) }
    }

    // MARK: - What is known

    /// A shard answered a search.
    ///
    /// - Returns: The turn in which it is to be asked for its outline, if this caller is to do that.
    func note(_ reply: SearchReply, of shard: ShardID, now: ContinuousClock.Instant) -> UInt64? {
        guard limit > 0 else { return nil }
        return entries.withLock { entries in
            guard var entry = entries[shard] else {
                entries[shard] = Entry(position: reply.position, askedAt: now, confirmedAt: now, turn: 0)
                entries.trim(to: limit)
                return 0
            }
            defer { entries[shard] = entry }
            entry.position = max(entry.position, reply.position)
            if let known = entry.reply, known.position == entry.position, known.position == reply.position, known.manifestVersion == reply.manifestVersion {
                entry.confirmedAt = now
                return nil
            }
            guard entry.askedAt.duration(to: now) >= interval else { return nil }
            entry.askedAt = now
            entry.turn += 1
            return entry.turn
        }
    }

    /// A write ended.
    ///
    /// - Parameter position: Of its entry in the log; `nil` if it may or may not have taken effect.
    func note(write position: UInt64?, of shard: ShardID) {
        guard limit > 0 else { return }
        entries.withLock { entries in
            guard var entry = entries[shard] else { return }
            if let position {
                entry.position = max(entry.position, position)
            } else {
                entry.reply = nil
                entry.turn += 1
            }
            entries[shard] = entry
        }
    }

    func keep(_ reply: OutlineReply, of shard: ShardID, turn: UInt64) {
        entries.withLock { entries in
            guard var entry = entries[shard], entry.turn == turn else { return }
            entry.reply = reply
            entry.position = max(entry.position, reply.position)
            entry.confirmedAt = entry.askedAt
            entries[shard] = entry
            entries.trim(to: limit)
        }
    }

    /// A shard's outline; it holds all points if nothing newer is known.
    func outline(of shard: ShardID, now: ContinuousClock.Instant) -> (reply: OutlineReply, isCurrent: Bool)? {
        entries.withLock { entries in
            guard let entry = entries[shard], let reply = entry.reply, reply.outline != nil, entry.confirmedAt.duration(to: now) < lifetime else { return nil }
            return (reply, reply.position == entry.position)
        }
    }

    func removeOld(now: ContinuousClock.Instant) {
        entries.withLock { $0.keep { $1.confirmedAt.duration(to: now) < lifetime } }
    }

    func remove(_ incarnation: Incarnation) { entries.withLock { $0.keep { shard, _ in shard.incarnation != incarnation } } }

    // MARK: - Questions on their way

    func run(_ shard: ShardID, _ body: @escaping @Sendable () async -> Void) {
        running.withLock { running in
            guard running[shard] == nil else { return }
            running[shard] = Task {
                await body()
                self.running.withLock { $0[shard] = nil }
            }
        }
    }

    func settle() async { for task in running.withLock({ Array($0.values) }) { await task.value } }
}

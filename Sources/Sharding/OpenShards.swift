import Model
import Synchronization

/// The shards that a node has open: each opened once, however many ask, and closed when it is the one idle for longest
/// and there are too many.
final class OpenShards: Sendable {
    /// Shards opened at once that nobody waits for. Reason: those that somebody waits for come first.
    private static let warmingLimit = 2

    /// While an attempt to open a shard takes longer, and so long after one that failed, one call tries and the others are refused at once. Reason: what a
    /// long log takes to read.
    private static let patience: Duration = .seconds(2)

    private let limit: Int
    private let clock: DeadlineClock
    private let open: @Sendable (ShardID) async throws(ClusterError) -> Shard
    private let state = Mutex(State())

    private struct State {
        var slots: [ShardID: Slot] = [:]
        /// Counts uses, for their order.
        var clock: UInt64 = 0
        var isClosed = false
        /// Shards being opened anew.
        var refreshing: [ShardID: Task<Void, Never>] = [:]
        /// How many are being opened for nobody who waits.
        var warming = 0
        /// Shards that the store did not let be opened when they were last tried.
        var leftovers: [ShardID: Leftover] = [:]
        /// Shards on their way out.
        var closing: [UInt64: Task<Void, Never>] = [:]
    }
    private struct Slot {
        let opening: Task<Result<Shard, ClusterError>, Never>
        /// Tells this opening from others of the same shard.
        let number: UInt64
        /// What stands in for it while it is under way; `nil` once it is done.
        var leftover: Leftover?
        var users = 0
        var lastUse: UInt64
        let beganAt: ContinuousClock.Instant
        let openedAt = ContinuousClock.now
        var idleSince = ContinuousClock.now
    }
    private struct Leftover {
        /// An opening that cannot be written to, nor tell what is current; good for reads that may be old.
        var shard: Shard?
        /// Since when it has not been open.
        let since: ContinuousClock.Instant
        /// When the last attempt to open it anew failed.
        var failedAt: ContinuousClock.Instant?
    }

    init(limit: Int, clock: DeadlineClock, open: @escaping @Sendable (ShardID) async throws(ClusterError) -> Shard) {
        self.limit = limit
        self.clock = clock
        self.open = open
    }

    var count: Int { state.withLock { $0.slots.count } }
    var ids: [ShardID] { state.withLock { Array($0.slots.keys) } }

    /// Calls `body` with the shard, opened if need be; it is not closed meanwhile.
    ///
    /// - Parameters:
    ///   - repeats: Whether `body` may run again, with the shard opened anew, after it found that this opening is of no use any more.
    ///   - mayBeOld: Whether an opening will do that cannot tell what is current, while a new one is under way.
    /// - Throws: What `body` or the opening throws; `unavailable` at once while the store has not let others open it for long.
    func with<Value: Sendable>(
        _ id: ShardID, repeats: Bool, mayBeOld: Bool = false, _ body: (Shard) async throws(ClusterError) -> Value
    ) async throws(ClusterError) -> Value {
        // A shard that lost its log is opened anew by the next call: twice at most here, as it was usable a moment ago.
        for attempt in 0..<3 {
            guard let (slot, isFirst) = enter(id) else { throw ClusterError(.unavailable, "the node is shutting down") }
            defer { leave(id, slot.number) }
            if let leftover = slot.leftover {
                if mayBeOld, let shard = leftover.shard { return try await body(shard) }
                let now = clock.now()
                let time = leftover.since.duration(to: now)
                let isAway = slot.beganAt.duration(to: now) > Self.patience || leftover.failedAt.map { $0.duration(to: now) < Self.patience } ?? false
                if !isFirst, isAway { throw ClusterError(.unavailable, "shard \(id) could not be opened for \(time): the store does not answer") }
            }
            switch await slot.opening.value {
            case .failure(let error): throw error
            case .success(let shard):
                if shard.isUsable || attempt == 2 {
                    do throws(ClusterError) { return try await body(shard) } catch {
                        guard repeats, attempt < 2, !shard.isUsable, error.code != .cancelled, !Task.isCancelled else { throw error }
                    }
                }
                leaveBehind(shard, id, slot.number)
            }
        }
        throw ClusterError(.unavailable, "shard \(id) cannot be kept open")
    }

    /// - Returns: The shard's slot, and whether this call made it; `nil` once all are closed.
    private func enter(_ id: ShardID) -> (slot: Slot, isFirst: Bool)? {
        state.withLock { state in
            guard !state.isClosed else { return nil }
            state.clock += 1
            let isFirst = state.slots[id] == nil
            if isFirst {
                if state.slots.count >= limit { evict(&state) }
                let number = state.clock
                let leftover = state.leftovers.removeValue(forKey: id)
                // Its parent is this object: all who ask wait for it, and `close` does.
                let task = Task {
                    let result: Result<Shard, ClusterError>
                    do throws(ClusterError) { result = .success(try await open(id, reaching: leftover?.shard?.state.withLock { $0.cursor.position } ?? 0)) } catch { result = .failure(error) }
                    ended(result, id, number)
                    return result
                }
                state.slots[id] = Slot(opening: task, number: number, leftover: leftover, lastUse: number, beganAt: clock.now())
            }
            state.slots[id]!.users += 1
            state.slots[id]!.lastUse = state.clock
            return (state.slots[id]!, isFirst)
        }
    }

    /// - Throws: `unavailable` if the store shows less of the log than an earlier opening saw committed (protocol, H10): what it does not list, or says is
    ///   not there, may be back in a moment.
    private func open(_ id: ShardID, reaching seen: UInt64) async throws(ClusterError) -> Shard {
        let shard = try await open(id)
        let position = shard.state.withLock { $0.cursor.position }
        guard position < seen else { return shard }
        await shard.close()
        throw ClusterError(.unavailable, "shard \(id): the store shows its log up to position \(position), though this node saw \(seen) committed")
    }

    /// An opening came about, or did not: then the next call tries again.
    private func ended(_ result: Result<Shard, ClusterError>, _ id: ShardID, _ number: UInt64) {
        state.withLock { state in
            guard var slot = state.slots[id], slot.number == number else { return }
            let leftover = slot.leftover
            slot.leftover = nil
            state.slots[id] = slot
            if case .failure(let error) = result {
                state.slots[id] = nil
                if error.code == .unavailable {
                    let now = clock.now()
                    state.leftovers[id] = Leftover(shard: leftover?.shard, since: leftover?.since ?? now, failedAt: now)
                    return
                }
            }
            discard(leftover, &state)
        }
    }

    /// An opening is of no use any more but for reads that may be old: the next call opens the shard anew.
    private func leaveBehind(_ shard: Shard, _ id: ShardID, _ number: UInt64) {
        state.withLock { state in
            guard state.slots[id]?.number == number else { return }
            state.slots[id] = nil
            state.leftovers[id] = Leftover(shard: shard, since: clock.now())
        }
    }

    private func discard(_ leftover: Leftover?, _ state: inout State) {
        guard let shard = leftover?.shard else { return }
        finish(Task { .success(shard) }, &state)
    }

    private func discard(_ slot: Slot, _ state: inout State) {
        finish(slot.opening, &state)
        discard(slot.leftover, &state)
    }

    private func leave(_ id: ShardID, _ number: UInt64) {
        state.withLock { state in
            guard state.slots[id]?.number == number else { return }
            state.slots[id]!.users -= 1
            state.slots[id]!.idleSince = .now
        }
    }

    /// Lets go of the shard idle for longest; if all are in use, there is one too many for a while.
    private func evict(_ state: inout State) {
        guard let (id, slot) = state.slots.filter({ $0.value.users == 0 }).min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
        state.slots[id] = nil
        discard(slot, &state)
    }

    /// Lets go of segments that may have been deleted from the store: closes the shards that nobody used for so long, and opens those anew that
    /// are in use and another node's.
    func letGo(after time: Duration) async {
        let (now, clockNow) = (ContinuousClock.now, clock.now())
        let old = state.withLock { state in
            for (id, slot) in state.slots where slot.users == 0 && slot.idleSince.duration(to: now) >= time {
                state.slots[id] = nil
                discard(slot, &state)
            }
            for (id, leftover) in state.leftovers where leftover.since.duration(to: clockNow) >= time {
                state.leftovers[id] = nil
                discard(leftover, &state)
            }
            return state.slots.filter { $0.value.openedAt.duration(to: now) >= time }
        }
        for (id, slot) in old {
            if case .success(let shard) = await slot.opening.value, !shard.state.withLock({ $0.cursor.isOwner }) { refresh(id) }
        }
    }

    /// Closes the open shards that `condition` holds for; their next use opens them again.
    ///
    /// - Returns: How many there were.
    func close(where condition: (Shard) -> Bool) async -> Int {
        var count = 0
        for (id, slot) in state.withLock({ $0.slots }) {
            guard case .success(let shard) = await slot.opening.value, condition(shard) else { continue }
            state.withLock { state in
                guard let now = state.slots[id], now.number == slot.number else { return }
                state.slots[id] = nil
                discard(now, &state)
            }
            count += 1
        }
        return count
    }

    /// Calls `body` if the shard is open and usable; this counts as use.
    ///
    /// - Returns: Whether it is open, or being opened.
    func withOpen(_ id: ShardID, _ body: (Shard) async throws(ClusterError) -> Void) async throws(ClusterError) -> Bool {
        let opening = state.withLock { state in
            state.slots[id]?.idleSince = .now
            return state.slots[id]?.opening
        }
        guard let opening else { return false }
        if case .success(let shard) = await opening.value, shard.isUsable { try await body(shard) }
        return true
    }

    /// Opens a shard that is in use elsewhere, so that whoever comes need not wait; not if others would have to be closed, or several are being
    /// opened so already.
    func warm(_ id: ShardID) {
        state.withLock { state in
            guard !state.isClosed, state.slots[id] == nil, state.slots.count < limit, state.warming < Self.warmingLimit else { return }
            state.warming += 1
            // What it opens belongs to this object, and `close` waits for that.
            Task { [weak self] in
                try? await self?.with(id, repeats: false) { _ throws(ClusterError) in }
                self?.state.withLock { $0.warming -= 1 }
            }
        }
    }

    /// Opens the shard anew beside the opening in use, which serves until then.
    func refresh(_ id: ShardID) {
        state.withLock { state in
            guard !state.isClosed, state.slots[id] != nil, state.refreshing[id] == nil else { return }
            // Its parent is this object: `close` waits for it.
            state.refreshing[id] = Task { [weak self, open] in
                let opened: Result<Shard, ClusterError>
                do throws(ClusterError) { opened = .success(try await open(id)) } catch { opened = .failure(error) }
                await self?.replace(id, by: opened)
            }
        }
    }

    private func replace(_ id: ShardID, by opened: Result<Shard, ClusterError>) async {
        var isOwner = false
        if let old = state.withLock({ $0.slots[id]?.opening }), case .success(let shard) = await old.value {
            isOwner = shard.state.withLock { $0.cursor.isOwner }  // since the refresh began
        }
        let isKept = state.withLock { state in
            state.refreshing[id] = nil
            guard case .success = opened, !isOwner, !state.isClosed, let old = state.slots[id] else { return false }
            state.clock += 1
            state.slots[id] = Slot(opening: Task { opened }, number: state.clock, lastUse: old.lastUse, beganAt: clock.now())
            discard(old, &state)
            return true
        }
        if !isKept, case .success(let shard) = opened { await shard.close() }
    }

    func forget(_ id: ShardID) {
        state.withLock { state in
            if let slot = state.slots.removeValue(forKey: id) { discard(slot, &state) }
            discard(state.leftovers.removeValue(forKey: id), &state)
        }
    }

    private func finish(_ opening: Task<Result<Shard, ClusterError>, Never>, _ state: inout State) {
        state.clock += 1
        let number = state.clock
        // Its parent is this object: `close` waits for it.
        state.closing[number] = Task { [weak self] in
            if case .success(let shard) = await opening.value { await shard.close() }
            self?.state.withLock { $0.closing[number] = nil }
        }
    }

    func close() async {
        let waiting = state.withLock { state in
            state.isClosed = true
            for slot in state.slots.values { discard(slot, &state) }
            for leftover in state.leftovers.values { discard(leftover, &state) }
            (state.slots, state.leftovers) = ([:], [:])
            return Array(state.closing.values) + Array(state.refreshing.values)
        }
        for task in waiting { await task.value }
    }
}

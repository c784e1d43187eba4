import Model
import Placement
import Synchronization

/// Tells the other replicas of a shard what its owner committed, so that they have it when they are asked.
///
/// Nothing depends on a message: a replica that misses one reads the store when it has to know. So what cannot be sent is dropped, and an
/// idle shard sends nothing.
package final class Followers: Sendable {
    /// Bytes that may wait for one replica of one shard. Reason: two of the largest entries; beyond, reading the store is cheaper.
    private static let limit = 16 << 20
    /// Time for one message. Reason: a replica that takes longer is not worth holding memory for.
    private static let timeout: Duration = .seconds(2)

    private let node: NodeID
    private let members: Members?
    private let clock: DeadlineClock
    private let state = Mutex(State())

    private struct Link: Hashable {
        let shard: ShardID
        let node: NodeID
    }
    private struct Queue {
        var entries: [[UInt8]] = []
        var byteCount = 0
        var manifestVersion: UInt64 = 0
    }
    private struct State {
        /// Those that are being sent to; an entry waits in its queue.
        var queues: [Link: Queue] = [:]
        var isClosed = false
    }

    /// - Parameters:
    ///   - node: The one that these are the followers of.
    ///   - members: `nil` for a node without others; the node's own service is not called.
    package init(of node: NodeID, members: Members? = nil, clock: DeadlineClock = .continuous) {
        self.node = node
        self.members = members
        self.clock = clock
    }

    /// Another node of the cluster, if it is one.
    func service(of node: NodeID) -> (any ShardService)? { members?.view.services[node] }

    /// The nodes that keep a shard, as of one version of the members.
    struct Replicas: Sendable {
        let version: UInt64
        let nodes: [NodeID]
    }

    /// Version of the members; ``replicas(of:shardCount:)`` changes with it only.
    var version: UInt64 { members?.view.version ?? 0 }

    /// To be kept, as it takes the placement of the whole collection.
    func replicas(of shard: ShardID, shardCount: Int) -> Replicas {
        guard let view = members?.view else { return Replicas(version: 0, nodes: [node]) }
        return Replicas(version: view.version, nodes: view.replicas(of: shard, firstCount: shardCount))
    }

    /// Sends an entry, or `nil` if only the manifest is new, to a shard's other replicas; returns at once.
    func publish(_ entry: [UInt8]?, manifestVersion: UInt64, of shard: ShardID, to replicas: [NodeID]) {
        guard let services = members?.view.services else { return }
        for replica in replicas where replica != node {
            guard let service = services[replica] else { continue }
            let link = Link(shard: shard, node: replica)
            let isNew = state.withLock { state in
                guard !state.isClosed else { return false }
                let isNew = state.queues[link] == nil
                var queue = state.queues[link] ?? Queue()
                if let entry {
                    queue.entries.append(entry)
                    queue.byteCount += entry.count
                }
                if queue.byteCount > Self.limit { (queue.entries, queue.byteCount) = ([], 0) }
                queue.manifestVersion = max(queue.manifestVersion, manifestVersion)
                state.queues[link] = queue
                return isNew
            }
            // It ends when the queue is empty; `close` empties it.
            if isNew { Task { await send(link, to: service) } }
        }
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            for link in state.queues.keys { state.queues[link] = Queue() }
        }
    }

    private func send(_ link: Link, to service: any ShardService) async {
        while let request = next(link) {
            let context = CallContext(requestID: .random(), tenant: link.shard.tenant, deadline: clock.now() + Self.timeout)
            try? await service.follow(request, context: context)
        }
    }

    private func next(_ link: Link) -> FollowRequest? {
        state.withLock { state in
            guard let queue = state.queues[link], !queue.entries.isEmpty || queue.manifestVersion > 0 else {
                state.queues[link] = nil
                return nil
            }
            state.queues[link] = Queue()
            return FollowRequest(shard: link.shard, entries: queue.entries, manifestVersion: queue.manifestVersion)
        }
    }
}

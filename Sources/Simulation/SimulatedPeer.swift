import Model
import Sharding

/// A shard node behind a network that is slow, loses, repeats, reorders, and is cut now and then in one direction or both.
final class SimulatedPeer: ShardService, @unchecked Sendable {  // one thread
    private let caller: Machine
    private let callee: Machine
    private let world: World
    private var scheduler: Scheduler { world.scheduler }

    init(from caller: Machine, to callee: Machine, in world: World) {
        self.caller = caller
        self.callee = callee
        self.world = world
    }

    /// Where the answer arrives: once, or never.
    private final class Mailbox<Reply: Sendable>: @unchecked Sendable {  // one thread
        private var continuation: UnsafeContinuation<Result<Reply, ClusterError>, Never>?
        private var result: Result<Reply, ClusterError>?
        func wait() async -> Result<Reply, ClusterError> {
            if let result { return result }
            return await withUnsafeContinuation { unsafe continuation = $0 }
        }
        func put(_ new: Result<Reply, ClusterError>) {
            guard result == nil else { return }
            result = new
            unsafe continuation?.resume(returning: new)
        }
    }

    private func call<Reply: Sendable>(
        lossCode: ClusterError.Code = .unavailable, _ context: CallContext,
        _ body: @escaping @Sendable (ShardNode, CallContext) async throws(ClusterError) -> Reply
    ) async throws(ClusterError) -> Reply {
        let mailbox = Mailbox<Reply>()
        // What travels is the time that is left.
        let left = context.deadline.map { caller.clock.now().duration(to: $0) }
        let transport = Task {
            guard await self.arrives(from: caller, to: callee) else { return await self.lose(mailbox, .unavailable) }
            guard let node = world.node(callee) else {
                await scheduler.pass(.milliseconds(1))
                return mailbox.put(.failure(ClusterError(.unavailable, "connection to \(callee.name) refused")))
            }
            var context = context
            context.deadline = left.map { callee.clock.now() + $0 }
            let received = context
            if scheduler.chance(world.plan.duplication) {
                let delay = scheduler.duration(.zero, .seconds(5))
                let (callee, world, scheduler) = (self.callee, self.world, self.scheduler)
                Task.detached {
                    await scheduler.pass(delay)
                    if let node = world.node(callee) { _ = try? await body(node, received) }
                }
            }
            let result: Result<Reply, ClusterError>
            do throws(ClusterError) { result = .success(try await body(node, received)) } catch { result = .failure(error) }
            // What was killed says nothing any more; its connection breaks.
            guard world.node(callee) === node else { return mailbox.put(.failure(ClusterError(lossCode, "connection to \(callee.name) broke"))) }
            guard await self.arrives(from: callee, to: caller) else { return await self.lose(mailbox, lossCode) }
            mailbox.put(result)
        }
        let result = await withTaskCancellationHandler {
            await mailbox.wait()
        } onCancel: {
            mailbox.put(.failure(ClusterError(.cancelled, "the caller went away")))
            if scheduler.chance(0.5) { transport.cancel() }
        }
        return try result.get()
    }

    private func arrives(from: Machine, to: Machine) async -> Bool {
        await from.running()
        await scheduler.pass(scheduler.duration(.microseconds(100), world.plan.latency))
        if scheduler.chance(world.plan.loss) || from.cutFrom.contains(to.name) { return false }
        await to.running()
        return true
    }

    /// A message that is lost breaks the connection at some time, or is never heard of.
    private func lose<Reply>(_ mailbox: Mailbox<Reply>, _ code: ClusterError.Code) async {
        guard scheduler.chance(0.5) else { return }
        await scheduler.pass(scheduler.duration(.milliseconds(10), .seconds(2)))
        mailbox.put(.failure(ClusterError(code, "connection to \(callee.name) broke")))
    }

    func append(_ request: AppendRequest, context: CallContext) async throws(ClusterError) -> AppendReply {
        try await call(lossCode: .aborted, context) { node, context throws(ClusterError) in try await node.append(request, context: context) }
    }
    func search(_ request: SearchRequest, context: CallContext) async throws(ClusterError) -> SearchReply {
        if world.silent[context.requestID] == request.shard { throw ClusterError(.unavailable, "silent") }
        return try await call(context) { node, context throws(ClusterError) in try await node.search(request, context: context) }
    }
    func explain(_ request: ExplainRequest, context: CallContext) async throws(ClusterError) -> ExplainReply {
        try await call(context) { node, context throws(ClusterError) in try await node.explain(request, context: context) }
    }
    func fetch(_ request: FetchRequest, context: CallContext) async throws(ClusterError) -> FetchReply {
        try await call(context) { node, context throws(ClusterError) in try await node.fetch(request, context: context) }
    }
    func count(_ request: CountRequest, context: CallContext) async throws(ClusterError) -> CountReply {
        try await call(context) { node, context throws(ClusterError) in try await node.count(request, context: context) }
    }
    func status(_ request: StatusRequest, context: CallContext) async throws(ClusterError) -> StatusReply {
        try await call(context) { node, context throws(ClusterError) in try await node.status(request, context: context) }
    }
    func outline(_ request: OutlineRequest, context: CallContext) async throws(ClusterError) -> OutlineReply {
        try await call(context) { node, context throws(ClusterError) in try await node.outline(request, context: context) }
    }
    func seal(_ request: SealRequest, context: CallContext) async throws(ClusterError) -> SealReply {
        try await call(context) { node, context throws(ClusterError) in try await node.seal(request, context: context) }
    }
    func drop(_ request: DropRequest, context: CallContext) async throws(ClusterError) {
        try await call(context) { node, context throws(ClusterError) in try await node.drop(request, context: context) }
    }
    func follow(_ request: FollowRequest, context: CallContext) async throws(ClusterError) {
        try await call(context) { node, context throws(ClusterError) in try await node.follow(request, context: context) }
    }
}

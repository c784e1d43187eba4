import Coordination
import Embedding
import Foundation
import Gateway
import Generation
import Ingestion
import Logging
import Model
import NIOCore
import NIOPosix
import Observability
import OutboundHTTP
import Placement
import S3Store
import ServiceLifecycle
import Sharding
import Storage
import TLS
import Transport

/// Wires the parts that a node needs, runs them, and stops them in the order in which nothing accepted is dropped.
struct NodeProcess {
    let configuration: Configuration
    let logger: Logger
    private let metrics = Metrics()
    private let group = MultiThreadedEventLoopGroup.singleton
    private let name: String
    let tls: TLSSetup

    /// - Parameter isNode: Whether other nodes call this process.
    /// - Throws: ``ConfigurationError`` for certificates that are unfit.
    init(name: String, configuration: Configuration, isNode: Bool = true) throws {
        tls = try TLSSetup(configuration, node: isNode ? name : nil)
        self.name = name
        self.configuration = configuration
        var log = LogConfiguration()
        log.level = configuration.logLevel
        log.bootstrap(node: name)
        logger = Logger(label: "covey")
        metrics.collectProcess()
        tls.report(metrics, logger)
    }

    func runShard(_ node: Configuration.Node) async throws {
        let (pool, store) = (peers, try await store())
        let members = try await members(store, own: NodeID(node.name), pool)
        let shards = try shardNode(NodeID(node.name), store: store, members: members)
        let watch = membersWatch(members, store, pool) { [logger] in
            let count = await shards.handOver()
            if count > 0 { logger.info("other members keep shards that were open here", metadata: ["closed": "\(count)"]) }
        }
        let server = try NodeServer(configuration: serverConfiguration(node), shard: shards, group: group, metrics: metrics, logger: logger)
        try await run([try await serving(server, at: node) { await shards.close() }, copySweeper(shards, store), watch, Ending { shards.stopBuilding() }])
        await pool.close()
    }

    func runGenerator(_ node: Configuration.Node) async throws {
        let server = try NodeServer(configuration: serverConfiguration(node), answer: try generator(embedder: try embedder()), group: group, metrics: metrics, logger: logger)
        try await run([try await serving(server, at: node)])
    }

    func runCoordinator(_ node: Configuration.Node) async throws {
        guard !configuration.nodes(role: .shard).isEmpty else { throw ConfigurationError("nodes names no shard: a coordinator has nobody to ask") }
        guard let generator = configuration.nodes(role: .generator).first else {
            throw ConfigurationError("nodes names no generator: nobody could answer questions")
        }
        let (pool, store) = (peers, try await store())
        let members = try await members(store, pool)
        let (gateway, sweepers) = try self.gateway(
            members: members, generator: RemoteGenerator(peer: try pool.peer(generator.name, at: generator.address)), embedder: try embedder(), store: store)
        // The coordinator's own node port answers health checks.
        let server = try NodeServer(configuration: serverConfiguration(node), group: group, metrics: metrics, logger: logger)
        try await run([try await serving(server, at: node), serving(gateway)] + sweepers + [membersWatch(members, store, pool), storeTrial(store)])
        await pool.close()
    }

    func runAll() async throws {
        let embedder = try embedder()
        let store = try await store()
        let shards = try shardNode(NodeID(name), store: store)
        // Alone, whatever the store's record says.
        let members = try Members(ClusterRecord(version: 0, replicas: 1, members: [ClusterMember(node: NodeID(name))])) { _ in shards }
        let (gateway, sweepers) = try self.gateway(members: members, generator: try generator(embedder: embedder), embedder: embedder, store: store)
        try await run([serving(gateway)] + sweepers + [copySweeper(shards, store), storeTrial(store), Ending { shards.stopBuilding() }])
        await shards.close()
    }

    // MARK: parts

    private func store() async throws -> any ObjectStore {
        try await storeSettings.open()
    }
    private var storeSettings: StoreSettings { StoreSettings(configuration: configuration, node: name, environment: ProcessInfo.processInfo.environment) }

    private func shardNode(_ node: NodeID, store: any ObjectStore, members: Members? = nil) throws -> ShardNode {
        var shard = ShardConfiguration()
        shard.sealPoints = configuration.number("shard.seal_points")
        shard.splitPoints = configuration.number("shard.split_points")
        shard.exactScanThreshold = configuration.number("shard.exact_points")
        shard.searchThreads = cores(unless: configuration.number("shard.workers"))
        shard.commitInterval = .milliseconds(configuration.commitInterval)
        shard.lease = .milliseconds(configuration.number("shard.lease_ms"))
        shard.quarantineFolder = storeSettings.quarantineFolder
        try shard.validate()
        let followers = Followers(of: node, members: members)
        return ShardNode(
            node: node, store: store, configuration: shard, followers: followers, clock: .onLoops, executor: LoopExecutor.shared, metrics: metrics, logger: logger)
    }

    private func auditLog() throws -> AuditLog? {
        let path = configuration.text("audit.log")
        guard !path.isEmpty else { return nil }
        do { return try AuditLog(path: path, node: name) } catch { throw ConfigurationError("audit.log \(path) cannot be written: \(error.localizedDescription)") }
    }

    private var erasureDeadline: Duration { .seconds(configuration.number("erasure.deadline_seconds")) }

    /// What a shard's rewriting superseded is let go of within 5/16 of the deadline, whether this node heard of it or not: with the 9/16 that the
    /// rewriting may take to begin, an eighth is left for the rewriting itself.
    private func copySweeper(_ shards: ShardNode, _ store: any ObjectStore) -> some Service {
        Sweep(interval: erasureDeadline / 16) {
            await shards.letGo(after: erasureDeadline / 8)
            (store as? S3ObjectStore)?.removeIdleCopies(for: erasureDeadline / 16)
        }
    }

    private func storeTrial(_ store: any ObjectStore) -> some Service {
        StoreTrial(store: store as? S3ObjectStore, path: configuration.text("store.path"), logger: logger)
    }

    private func embedder() throws -> any Embedder {
        let url = configuration.text("embedding.url")
        if url.isEmpty {
            var path = configuration.text("embedding.model_path")
            if path.isEmpty { path = "\(cacheFolder)/models/all-MiniLM-L6-v2" }
            do throws(ClusterError) {
                return try MiniLMEmbedder(directory: path, workers: cores(unless: configuration.number("embedding.workers")))
            } catch {
                throw ConfigurationError("embedding.model_path \(path): \(error.message); `cluster/fetch-model` fetches the default model")
            }
        }
        return try ModelSettings(configuration: configuration).embedder(url: url)
    }

    private func generator(embedder: any Embedder) throws -> Generator {
        var generation = GenerationConfiguration()
        generation.promptTokens = configuration.number("generation.prompt_tokens")
        generation.answerTokens = configuration.number("generation.answer_tokens")
        try generation.validate()
        return Generator(model: try ModelSettings(configuration: configuration).languageModel(), embedder: embedder, configuration: generation, logger: logger)
    }

    private func gateway(members: Members, generator: any AnswerService, embedder: any Embedder, store: any ObjectStore) throws -> (Gateway, [any Service]) {
        var coordination = CoordinatorConfiguration()
        coordination.erasureDeadline = erasureDeadline
        coordination.readTimeout = .milliseconds(configuration.number("coordinator.deadline_ms"))
        let splitPoints = configuration.number("shard.split_points")
        coordination.mergePoints = min(configuration.number("shard.merge_points"), splitPoints > 0 ? splitPoints / 2 : .max)
        coordination.outlineBytes = configuration.number("coordinator.outline_kib") << 10
        coordination.outlinesBytes = configuration.number("coordinator.outlines_mib") << 20
        coordination.maximumWrites = max(1, configuration.number("gateway.concurrent_requests") / 2)
        let coordinator = try Coordinator(store: store, members: members, configuration: coordination, logger: logger, metrics: metrics, clock: .onLoops)
        let address = try configuration.address("gateway.address")
        var gateway = GatewayConfiguration()
        gateway.host = address.host
        gateway.port = address.port
        gateway.tls = tls.gateway
        gateway.maximumBodyBytes = configuration.number("gateway.body_mib") << 20
        gateway.maximumUpsertBytes = configuration.number("gateway.upsert_mib") << 20
        gateway.maximumConcurrentRequests = configuration.number("gateway.concurrent_requests")
        gateway.drainTimeout = drainTime
        gateway.maximumConnections = configuration.number("gateway.connections")
        gateway.maximumConnectionsPerAddress = configuration.number("gateway.address_connections")
        let (rate, burst) = (configuration.number("gateway.address_requests_per_second"), configuration.number("gateway.address_burst"))
        if rate > 0 { gateway.requestsPerAddress = AddressLimits.Rate(perSecond: Double(rate), burst: burst > 0 ? burst : nil) }
        let wrongKeys = configuration.number("gateway.address_wrong_keys")
        if wrongKeys > 0 {
            let seconds = Double(configuration.number("gateway.wrong_keys_seconds"))
            gateway.wrongKeysPerAddress = AddressLimits.Rate(perSecond: Double(wrongKeys) / seconds, burst: wrongKeys)
        }
        gateway.trustedProxies = try configuration.trustedProxies()
        gateway.idleTimeout = .seconds(configuration.number("gateway.idle_seconds"))
        gateway.bodyTimeout = .seconds(configuration.number("connections.body_seconds"))
        gateway.arrivalTimeout = .seconds(configuration.number("connections.arrival_seconds"))
        gateway.stallTimeout = .seconds(configuration.number("connections.stall_seconds"))
        let tenants = try TenantSetup(configuration)
        let audit = try auditLog()
        let sweepers = [
            Sweep(interval: min(.seconds(300), erasureDeadline / 16)) { await sweep(coordinator, tenants.directory.tenants) },
            Sweep(interval: .seconds(configuration.number("tenants.reload_seconds"))) { [metrics, logger] in tenants.reload(audit, metrics, logger) },
        ]
        return (
            try Gateway(
                coordinator: coordinator, ingestor: Ingestor(embedder: embedder), embedder: embedder, generator: generator, store: store,
                tenants: tenants.directory, audit: audit, configuration: gateway, metrics: metrics, logger: logger), sweepers
        )
    }

    /// Erases what collections left behind that ended, and what was deleted or overwritten: it costs one listing, and one for each tenant. Merges
    /// shards that became small.
    private func sweep(_ coordinator: Coordinator, _ tenants: [TenantID]) async {
        coordinator.forgetOldOutlines()
        for tenant in tenants where !Task.isCancelled {
            do {
                let left = try await coordinator.finishDrops(context: CallContext(requestID: .random(), tenant: tenant))
                if left > 0 { logger.warning("dropped collections not erased yet", metadata: ["tenant": "\(tenant)", "count": "\(left)"]) }
            } catch { logger.warning("could not look for dropped collections", metadata: ["tenant": "\(tenant)", "reason": "\(error)"]) }
        }
        do {
            let progress = try await coordinator.finishErasures(now: Int64(Date().timeIntervalSince1970))
            if progress.erased > 0 { logger.info("deleted points erased", metadata: ["shards": "\(progress.erased)", "waiting": "\(progress.waiting)"]) }
        } catch { logger.warning("could not look for what is to be erased", metadata: ["reason": "\(error)"]) }
        _ = await coordinator.mergeSmallShards()
    }

    private var peers: PeerPool { Self.peers(tls, metrics: metrics, logger: logger) }

    static func peers(_ tls: TLSSetup, metrics: Metrics = Metrics(), logger: Logger) -> PeerPool {
        PeerPool { name, address in
            var peer = PeerConfiguration()
            peer.tls = tls.nodes.map { ($0, tls.certificateName(name)) }
            return try Peer(
                host: address.host, port: address.port, group: MultiThreadedEventLoopGroup.singleton, configuration: peer, metrics: metrics, logger: logger)
        }
    }

    private func serverConfiguration(_ node: Configuration.Node) -> NodeServerConfiguration {
        var server = NodeServerConfiguration()
        server.host = node.address.host
        server.port = node.address.port
        server.tls = tls.nodes
        server.http2.arrivalTime = .seconds(configuration.number("connections.arrival_seconds"))
        server.messageTimeout = .seconds(configuration.number("connections.body_seconds"))
        server.http2.stallTime = .seconds(configuration.number("connections.stall_seconds"))
        server.keepAliveInterval = min(server.keepAliveInterval, server.http2.stallTime)
        return server
    }

    private func cores(unless set: Int) -> Int { set > 0 ? set : ProcessInfo.processInfo.activeProcessorCount }

    private var cacheFolder: String {
        let environment = ProcessInfo.processInfo.environment
        return environment["COVEY_CACHE"] ?? (environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache") + "/covey"
    }

    // MARK: life

    private var drainTime: Duration { .seconds(configuration.number("gateway.drain_seconds")) }

    /// Listens at once: a port in use is told before anything else has begun.
    private func serving(
        _ server: NodeServer, at node: Configuration.Node, afterwards: @escaping @Sendable () async -> Void = {}
    ) async throws -> ServedNode {
        do {
            let port = try await server.start()
            logger.info("listening for nodes", metadata: ["address": "\(Configuration.Address(host: node.address.host, port: port))"])
        } catch { throw ConfigurationError("nodes: the address of \(node.name) cannot be used: \(error.message)") }
        return ServedNode(server: server, drainTime: drainTime, afterwards: afterwards)
    }

    private func serving(_ gateway: Gateway) -> some Service {
        gateway.makeApplication { port in
            let host = (try? configuration.address("gateway.address").host) ?? ""
            logger.info("listening for clients", metadata: ["url": "\(tls.gateway == nil ? "http" : "https")://\(Configuration.Address(host: host, port: port))"])
        }
    }

    /// Runs until SIGTERM or SIGINT, then drains; the last service is told to stop first.
    private func run(_ services: [any Service]) async throws {
        let reload = Sweep(interval: .seconds(configuration.number("tls.reload_seconds"))) { tls.reload(metrics, logger) }
        var lifecycle = ServiceGroupConfiguration(
            services: (tls.nodes == nil && tls.gateway == nil ? [] : [reload]) + services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        lifecycle.maximumGracefulShutdownDuration = drainTime + .seconds(5)
        logger.info("starting", metadata: ["version": "\(Covey.version)", "store": "\(configuration.text("store.path"))"])
        do {
            try await ServiceGroup(configuration: lifecycle).run()
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw ConfigurationError("gateway.address \(configuration.text("gateway.address")) is in use by another process")
        }
        logger.info("stopped")
    }
}

/// A node's server as a service: it serves until it is told to stop, then drains.
private struct ServedNode: Service {
    let server: NodeServer
    let drainTime: Duration
    let afterwards: @Sendable () async -> Void

    func run() async throws {
        try? await gracefulShutdown()
        await server.drain(timeout: drainTime)
        await afterwards()
    }
}

/// Does something as soon as the process is told to stop: the last of a group's services is told first.
private struct Ending: Service {
    let work: @Sendable () -> Void

    func run() async throws {
        try? await gracefulShutdown()
        work()
    }
}

/// Does something now and then.
struct Sweep: Service {
    let interval: Duration
    let work: @Sendable () async -> Void

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: interval)
                if !Task.isCancelled { await work() }
            }
        }
    }
}

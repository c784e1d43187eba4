import Coordination
import Embedding
import Hummingbird
import HummingbirdCore
import Ingestion
import Logging
import Model
import NIOCore
import Observability
import ServiceLifecycle
import Storage
import TLS
import Transport

/// The public HTTP API: routes of Qdrant for vectors and of OpenAI for documents, retrieval and chat.
///
/// It keeps no state of its own but the requests at work, so any number of gateways may serve one cluster.
package struct Gateway: Sendable {
    private let coordinator: Coordinator
    private let ingestor: Ingestor
    private let embedder: any Embedder
    private let generator: any AnswerService
    private let store: any ObjectStore
    private let tenants: TenantDirectory
    private let audit: AuditLog?
    private let configuration: GatewayConfiguration
    private let metrics: Metrics
    private let logger: Logger

    /// - Throws: `invalidArgument` for an impossible configuration, or for a host beyond loopback without keys.
    package init(
        coordinator: Coordinator, ingestor: Ingestor, embedder: any Embedder, generator: any AnswerService, store: any ObjectStore,
        tenants: TenantDirectory, audit: AuditLog? = nil, configuration: GatewayConfiguration = GatewayConfiguration(), metrics: Metrics, logger: Logger
    ) throws(ClusterError) {
        try configuration.validate()
        guard !tenants.isOpen || Self.isLoopback(configuration.host) else {
            throw ClusterError(
                .invalidArgument, "host \(configuration.host) is reachable by others and no API key is configured: configure keys or bind to 127.0.0.1")
        }
        self.coordinator = coordinator
        self.ingestor = ingestor
        self.embedder = embedder
        self.generator = generator
        self.store = store
        self.tenants = tenants
        self.audit = audit
        self.configuration = configuration
        self.metrics = metrics
        self.logger = logger
    }

    private static func isLoopback(_ host: String) -> Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

    /// The server as a service: it binds when it runs, and on graceful shutdown stops accepting, finishes what it has
    /// accepted within ``GatewayConfiguration/drainTimeout``, and returns.
    ///
    /// - Parameter onBound: Called once with the port that it listens on.
    package func makeApplication(onBound: @escaping @Sendable (Int) async -> Void = { _ in }) -> some Service {
        let readiness = Readiness(coordinator: coordinator)
        let http1 = HTTP1Channel.Configuration(
            additionalChannelHandlers: [QuiescenceHandler()],
            idleTimeout: .nanoseconds(Int64(configuration.idleTimeout.seconds * 1e9)),
            httpDecoderConfiguration: HTTP1Channel.Configuration.DecoderConfiguration(
                maxHeaderFieldSize: configuration.maximumHeaderBytes, maxHeaderListSize: configuration.maximumHeaderBytes,
                maxHeaderFieldCount: 100))
        let gate = AdmissionGate(
            limit: configuration.maximumConcurrentRequests,
            limitPerTenant: tenants.isOpen ? nil : configuration.maximumConcurrentRequestsPerTenant)
        let addresses = AddressLimits(
            maximumConnections: configuration.maximumConnectionsPerAddress, requests: configuration.requestsPerAddress, wrongKeys: configuration.wrongKeysPerAddress)
        let proxies = TrustedProxies(configuration.trustedProxies)
        let responder = EdgeResponder(
            routes: makeRouter(readiness).buildResponder(), tenants: tenants, gate: gate, addresses: addresses, proxies: proxies, audit: audit, readiness: readiness, configuration: configuration,
            metrics: metrics, logger: logger)
        let http2 = HTTP2Edge(
            respond: { [logger] in await responder.respond(to: $0, over: $1, logger: logger) },
            configuration: HTTP2Edge.configuration(configuration), replies: ReplyBudget(), idleTimeout: configuration.idleTimeout,
            metrics: ConnectionMetrics(prefix: "covey_http2_", metrics: metrics), logger: logger)
        let tlsMetrics = TLSMetrics(side: "gateway", metrics: metrics)
        let places = ConnectionPlaces(limit: configuration.maximumConnections)
        let evictions = metrics.counter("covey_gateway_evicted_connections_total", help: "Idle connections closed for new ones, few places being left.")
        let refusals = metrics.refusedAddress("connections")
        let server = HTTPServerBuilder { [configuration] in
            EdgeChannel(
                http1: HTTP1Channel(responder: $0, configuration: http1), http2: http2, tls: configuration.tls, tlsMetrics: tlsMetrics,
                places: places, addresses: addresses, proxies: proxies, refusals: refusals, evictions: evictions, configuration: configuration)
        }
        let application = Application(
            responder: responder, server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port), serverName: "covey", backlog: 1_024,
                availableConnectionsDelegate: MaximumAvailableConnections(configuration.maximumConnections, logger: logger)),
            onServerRunning: { channel in await onBound(channel.localAddress?.port ?? configuration.port) },
            logger: logger)
        return DrainingService(service: application, timeout: configuration.drainTimeout, readiness: readiness, logger: logger)
    }

    private func makeRouter(_ readiness: Readiness) -> Router<GatewayContext> {
        let router = Router(context: GatewayContext.self, options: .autoGenerateHeadEndpoints)
        OperationRoutes(readiness: readiness, metrics: metrics).add(to: router)
        let quota = StorageQuota(coordinator: coordinator, store: store, tenants: tenants)
        QdrantPointRoutes(coordinator: coordinator, quota: quota, configuration: configuration).add(to: router)
        let documents = Documents(
            coordinator: coordinator, ingestor: ingestor, embedder: embedder, files: UploadedFiles(store: store), turns: DocumentTurns(), quota: quota)
        QdrantCollectionRoutes(documents: documents, configuration: configuration).add(to: router)
        QdrantSnapshotRoutes(coordinator: coordinator, store: store, quota: quota).add(to: router)
        let retrieval = Retrieval(coordinator: coordinator, embedder: embedder)
        ChatRoutes(
            documents: documents, retrieval: retrieval, generator: generator, configuration: configuration, metrics: metrics, logger: logger
        ).add(to: router)
        EmbeddingRoutes(documents: documents, configuration: configuration).add(to: router)
        FileRoutes(documents: documents, configuration: configuration).add(to: router)
        VectorStoreRoutes(documents: documents, configuration: configuration).add(to: router)
        VectorStoreFileRoutes(documents: documents, configuration: configuration).add(to: router)
        VectorStoreSearchRoute(documents: documents, retrieval: retrieval, configuration: configuration).add(to: router)
        return router
    }
}

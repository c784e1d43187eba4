import Model
import TLS

/// How the public HTTP API listens, and what it lets in.
package struct GatewayConfiguration: Sendable {
    /// Address to bind. Default: loopback, because beyond it every request must have a key.
    package var host = "127.0.0.1"
    /// Port to bind; 0 takes a free one. Default: 6333, where Qdrant's clients look.
    package var port = 6333

    /// The certificate to show; with one the port speaks TLS only. Default: none.
    package var tls: TLSIdentity?

    /// Most bytes of a JSON body. Default: 32 MiB, Qdrant's own: 1,000 points of 1,536 dimensions as text are 20 MB.
    package var maximumBodyBytes = 32 << 20
    /// Most bytes of an upsert's body, which is taken in parts while it arrives once it is larger than `maximumBodyBytes`. Default: 2 GiB:
    /// 100,000 points of 1,536 dimensions as text, or what a gigabit brings in 20 s.
    package var maximumUpsertBytes = 2 << 30
    /// Most bytes of points, as floats and payloads, that are written as one part of such an upsert. Default: 16 MiB, some 10,000 points of 384
    /// dimensions; a part is in memory twice, once being read and once being written.
    package var upsertPartBytes = 16 << 20
    /// Most bytes of an uploaded file, form included. Default: 64 MiB: it is held in memory while it is stored and cut up.
    package var maximumFileBytes = 64 << 20
    /// Most points of one upsert, ids of one retrieve, hits or points of one reply. Default: 10,000, ten times what clients batch.
    package var maximumBatch = 10_000
    /// Most texts of one embeddings request. Default: 2,048, OpenAI's own.
    package var maximumEmbeddingInputs = 2_048
    /// Most bytes of a request's line and headers together, and of one of them. Default: 16 KiB.
    package var maximumHeaderBytes = 16 << 10
    /// Most open connections. Default: 1,024; more wait in the listening socket's queue. From seven eighths of it on each new connection ends the
    /// one that has had no request for the longest time.
    package var maximumConnections = 1_024
    /// Most open connections of one client address, an IPv6 /64 being one; more are closed as they come. Default: 512, so that one address never
    /// fills the port alone. Proxies that are not trusted are clients, too.
    package var maximumConnectionsPerAddress = 512
    /// Requests a second of one client address, and at once, before a key is looked at; more are answered 429 with `Retry-After`. Default: no limit:
    /// an office or a cluster may have one address, and tenants have rates.
    package var requestsPerAddress: AddressLimits.Rate?
    /// Wrong API keys of one client address, after which keys that have not been good from there are answered 429 with `Retry-After`, right or wrong.
    /// Default: no limit: keys of 256 random bits are not guessed, and behind a proxy that is not trusted a stranger's wrong keys would be everybody's.
    package var wrongKeysPerAddress: AddressLimits.Rate?
    /// Other ends of connections that are believed when they say for whom they speak (`X-Forwarded-For`), and that may have any number of
    /// connections. Default: none.
    package var trustedProxies: [IPAddressRange] = []
    /// Most requests at work; one more is answered 503 with `Retry-After`. Default: 256.
    package var maximumConcurrentRequests = 256
    /// Most requests of one tenant at work; one more is answered 429 with `Retry-After`. Only counted once keys are configured.
    /// Default: 128, so that one tenant never fills the gateway alone.
    package var maximumConcurrentRequestsPerTenant = 128

    /// Longest time for a request, streamed answers included, and the longest that a request may ask for. What asks for
    /// none gets the coordinator's own times. Default: 10 min, OpenAI's clients' own.
    package var maximumTimeout: Duration = .seconds(600)
    /// Time for a body to arrive once its headers have. Default: 60 s: 64 MiB at 9 Mbit/s.
    package var bodyTimeout: Duration = .seconds(60)
    /// Time for a TLS handshake, for HTTP/2's preface and each of its frames, for a request's line and headers in HTTP/1.1. Default: 20 s: every
    /// message may be lost twice.
    package var arrivalTimeout: Duration = .seconds(20)
    /// A client that takes less than 256 bytes a second of what waits for it, for so long, loses its stream or its connection. Default: 60 s.
    package var stallTimeout: Duration = .seconds(60)
    /// A connection without a request for this long is closed. Default: 120 s, above clients' keep-alive of mostly 60 s.
    package var idleTimeout: Duration = .seconds(120)
    /// Who is refused at the door (401, 429, 503) hears of it after this time: one that asks again at once, over however many connections, then costs
    /// next to nothing. Default: 250 ms, a quarter of the least `Retry-After`.
    package var refusalDelay: Duration = .milliseconds(250)
    /// After SIGTERM, answers under way may take this long. Default: 25 s, below the 30 s after which supervisors kill.
    package var drainTimeout: Duration = .seconds(25)

    /// Sources given to the generator when the request names no limit. Default: 8 chunks of at most 256 tokens, 2,000 tokens of prompt.
    package var sourcesPerAnswer = 8

    package init() {}

    /// - Throws: `invalidArgument` naming the key, its limit and its value.
    package func validate() throws(ClusterError) {
        try require((0...65_535).contains(port), "port must be 0…65535, found \(port)")
        try require(!host.isEmpty, "host is empty")
        for (name, value) in [
            ("maximumBodyBytes", maximumBodyBytes), ("maximumUpsertBytes", maximumUpsertBytes), ("upsertPartBytes", upsertPartBytes), ("maximumFileBytes", maximumFileBytes), ("maximumBatch", maximumBatch),
            ("maximumEmbeddingInputs", maximumEmbeddingInputs), ("maximumConnections", maximumConnections),
            ("maximumConnectionsPerAddress", maximumConnectionsPerAddress),
            ("maximumConcurrentRequests", maximumConcurrentRequests),
            ("maximumConcurrentRequestsPerTenant", maximumConcurrentRequestsPerTenant),
        ] {
            try require(value > 0, "\(name) must be positive, found \(value)")
        }
        // NIO's parser counts sizes in its own units below a kilobyte; no real client fits there anyway.
        try require((1 << 10...1 << 20).contains(maximumHeaderBytes), "maximumHeaderBytes must be 1024…1048576, found \(maximumHeaderBytes)")
        for (name, value) in [
            ("maximumTimeout", maximumTimeout), ("bodyTimeout", bodyTimeout), ("idleTimeout", idleTimeout), ("arrivalTimeout", arrivalTimeout), ("stallTimeout", stallTimeout),
        ] {
            try require(value > .zero, "\(name) must be positive, found \(value)")
        }
        for (name, rate) in [("requestsPerAddress", requestsPerAddress), ("wrongKeysPerAddress", wrongKeysPerAddress)] {
            guard let rate else { continue }
            try require(rate.perSecond > 0, "\(name).perSecond must be positive, found \(rate.perSecond)")
            try require(rate.burst ?? 1 > 0, "\(name).burst must be positive, found \(rate.burst ?? 1)")
        }
        try require((1...50).contains(sourcesPerAnswer), "sourcesPerAnswer must be 1…50, found \(sourcesPerAnswer)")
    }

    private func require(_ condition: Bool, _ message: String) throws(ClusterError) {
        guard condition else { throw ClusterError(.invalidArgument, message) }
    }
}

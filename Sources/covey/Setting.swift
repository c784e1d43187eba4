/// One thing that an operator can set: a key of the YAML file, which is also a flag and an environment variable.
///
/// `gateway.address` is `--gateway-address` and `COVEY_GATEWAY_ADDRESS`. Flags win over the environment, the environment over the file.
struct Setting: Sendable {
    enum Kind: Sendable {
        case text
        case wholeNumber(ClosedRange<Int>)
        /// In the file a list; as text with commas between.
        case words
        /// `host:port`; port 0 takes a free one.
        case address
        case choice([String])
        /// In the file a list of `{name, role, address}`, of shard nodes also `weight` and `zone`; as text `name=role@host:port;weight=2;zone=a,…`.
        case nodes
        /// In the file a list of `{tenant, sha256, operator: true}`; as text `tenant:sha256,…`, an operator's `tenant:sha256:operator`.
        case keys
    }

    let key: String
    let kind: Kind
    /// As it would be written; empty if there is none.
    let fallback: String
    /// What it means, with its unit and the reason for the default.
    let help: String

    var flag: String { "--" + key.replacing(".", with: "-").replacing("_", with: "-") }
    var variable: String { "COVEY_" + key.replacing(".", with: "_").uppercased() }

    static let all: [Setting] = [
        Setting(key: "node", kind: .text, fallback: "", help: "which of the nodes this process is; not needed if only one has its role"),
        Setting(key: "nodes", kind: .nodes, fallback: "", help: "the nodes of the cluster, as name=role@host:port,… (role: coordinator, shard or generator; a shard's ;weight=2 takes twice the shards, replicas lie in different ;zone=name)"),
        Setting(
            key: "cluster.poll_seconds", kind: .wholeNumber(1...3_600), fallback: "10",
            help: "time between looks at the cluster's record in the store, in s: one small listing each, so a change of members takes so long"),
        Setting(
            key: "tls.certificate", kind: .text, fallback: "",
            help: "PEM file of this node's certificate, for the DNS name <node>.<tls.domain>, and those above it; {node} in it stands for the node's name; with it nodes talk in mutual TLS only, also beyond loopback"),
        Setting(key: "tls.key", kind: .text, fallback: "", help: "PEM file of its key, not encrypted; {node} as there"),
        Setting(key: "tls.authority", kind: .text, fallback: "", help: "PEM file of who signs the nodes' certificates; nobody else is trusted"),
        Setting(
            key: "tls.domain", kind: .text, fallback: "",
            help: "what stands behind a node's name in its certificate; with one every certificate of one label before it is of this cluster, without one those of the nodes' names"),
        Setting(
            key: "tls.names", kind: .words, fallback: "",
            help: "further DNS names whose certificates a node's port lets in, say of monitoring"),
        Setting(
            key: "tls.minimum_version", kind: .choice(["1.2", "1.3"]), fallback: "1.3",
            help: "least version of TLS between nodes, which all speak 1.3"),
        Setting(
            key: "tls.reload_seconds", kind: .wholeNumber(1...86_400), fallback: "10",
            help: "how often the files of certificates, here and of the gateway, are looked at; what they hold then counts for new connections"),
        Setting(key: "store.path", kind: .text, fallback: "covey-data", help: "the object store that all nodes share: a folder, or s3://bucket/prefix"),
        Setting(
            key: "store.endpoint", kind: .text, fallback: "",
            help: "URL of the S3-compatible service of an s3:// store; without one Amazon's in store.region"),
        Setting(key: "store.region", kind: .text, fallback: "us-east-1", help: "region that requests to an s3:// store are signed for"),
        Setting(
            key: "store.addressing", kind: .choice(["path", "virtual-host"]), fallback: "path",
            help: "whether the bucket of an s3:// store stands in the path or before the host; path works everywhere"),
        Setting(
            key: "store.access_key", kind: .text, fallback: "",
            help: "access key of an s3:// store; without it AWS_ACCESS_KEY_ID counts, then the profile in store.credentials_file"),
        Setting(key: "store.secret_key", kind: .text, fallback: "", help: "secret of that key; else AWS_SECRET_ACCESS_KEY"),
        Setting(key: "store.session_token", kind: .text, fallback: "", help: "token of temporary credentials; else AWS_SESSION_TOKEN"),
        Setting(
            key: "store.credentials_file", kind: .text, fallback: "",
            help: "shared credentials file; else AWS_SHARED_CREDENTIALS_FILE, then ~/.aws/credentials"),
        Setting(key: "store.profile", kind: .text, fallback: "", help: "its section; else AWS_PROFILE, then default"),
        Setting(key: "store.ca_file", kind: .text, fallback: "", help: "PEM file of the authorities to trust for an s3:// store, in place of the system's"),
        Setting(
            key: "store.connect_timeout_ms", kind: .wholeNumber(1...600_000), fallback: "2000",
            help: "time for a connection to an s3:// store, TLS included, in ms"),
        Setting(
            key: "store.timeout_ms", kind: .wholeNumber(1...3_600_000), fallback: "30000",
            help: "time for one attempt at a request to an s3:// store, in ms; SeaweedFS stands still for 20 s when a master dies"),
        Setting(
            key: "store.attempts", kind: .wholeNumber(1...20), fallback: "5",
            help: "attempts at a request to an s3:// store, with growing random pauses between, on errors that may pass"),
        Setting(
            key: "store.cache_path", kind: .text, fallback: "covey-cache",
            help: "folder for local copies of an s3:// store's segments; each node has a folder of its own name in it"),
        Setting(
            key: "store.cache_mib", kind: .wholeNumber(1...1_000_000_000), fallback: "10240",
            help: "bound of a node's local copies in MiB, least recently used removed first; those in use stay"),
        Setting(
            key: "replicas", kind: .wholeNumber(1...16), fallback: "2",
            help: "nodes that keep each shard, counted once the cluster's record has it (`covey cluster apply`): with 2 no read fails when one dies; at most one replica on each node"),
        Setting(key: "keys", kind: .keys, fallback: "", help: "API keys, as tenant:sha256,… (`covey key` makes one); with :operator behind it a key may also read /metrics; with none every caller is tenant `default`"),
        Setting(
            key: "tenants.file", kind: .text, fallback: "",
            help: "YAML file of tenants: keys with names, roles and ends, and what each tenant may take (docs/security.md); its keys count beside those of keys"),
        Setting(
            key: "tenants.reload_seconds", kind: .wholeNumber(1...3_600), fallback: "5",
            help: "how often tenants.file is looked at: a key that was taken out of it is refused after so long at most, and a new one is good"),
        Setting(
            key: "audit.log", kind: .text, fallback: "",
            help: "file that gets one line of JSON for each administrative or data-deleting call; - for standard error, nothing for none"),
        Setting(key: "gateway.address", kind: .address, fallback: "127.0.0.1:6333", help: "where the public API listens; beyond loopback only with keys or tenants.file"),
        Setting(
            key: "gateway.tls.certificate", kind: .text, fallback: "",
            help: "PEM file of the public API's certificate and those above it; with it the API is https only"),
        Setting(key: "gateway.tls.key", kind: .text, fallback: "", help: "PEM file of its key, not encrypted"),
        Setting(
            key: "gateway.tls.minimum_version", kind: .choice(["1.2", "1.3"]), fallback: "1.2", help: "least version of TLS that a client may speak"),
        Setting(
            key: "gateway.body_mib", kind: .wholeNumber(1...1_024), fallback: "64",
            help: "largest request body in MiB; 64 holds 10,000 points of 768 dimensions"),
        Setting(
            key: "gateway.upsert_mib", kind: .wholeNumber(1...1_048_576), fallback: "2048",
            help: "largest body of an upsert of points in MiB; one larger than gateway.body_mib is written in parts while it arrives"),
        Setting(
            key: "gateway.concurrent_requests", kind: .wholeNumber(1...100_000), fallback: "512",
            help: "requests served at once, half of them writes at most; more are answered 503, so that those accepted stay fast"),
        Setting(
            key: "gateway.connections", kind: .wholeNumber(8...1_000_000), fallback: "1024",
            help: "open connections of clients; more wait; from seven eighths on each new one ends the one that is idle longest; a descriptor each"),
        Setting(
            key: "gateway.address_connections", kind: .wholeNumber(1...1_000_000), fallback: "512",
            help: "open connections of one client address, an IPv6 /64 being one; more are closed as they come; name a proxy in gateway.trusted_proxies, or set this to gateway.connections behind it"),
        Setting(
            key: "gateway.address_requests_per_second", kind: .wholeNumber(0...1_000_000), fallback: "0",
            help: "requests a second of one client address, before a key is looked at; more are answered 429; 0 takes all"),
        Setting(
            key: "gateway.address_burst", kind: .wholeNumber(0...1_000_000), fallback: "0",
            help: "requests at once of one client address after a pause; 0 for what a second brings"),
        Setting(
            key: "gateway.address_wrong_keys", kind: .wholeNumber(0...1_000_000), fallback: "0",
            help: "wrong API keys of one client address within gateway.wrong_keys_seconds, after which only keys that were good from there before still are, others are answered 429; 0 for no end; behind a proxy only with gateway.trusted_proxies"),
        Setting(
            key: "gateway.wrong_keys_seconds", kind: .wholeNumber(1...86_400), fallback: "60",
            help: "time in which gateway.address_wrong_keys are forgotten, one after the other"),
        Setting(
            key: "gateway.trusted_proxies", kind: .words, fallback: "",
            help: "addresses and ranges like 10.0.0.0/8 of proxies: the last address of X-Forwarded-For that is none of them is the client's, and they may have any number of connections; nobody else's word counts"),
        Setting(
            key: "gateway.idle_seconds", kind: .wholeNumber(1...86_400), fallback: "120",
            help: "time after which a connection without a request is closed; above the keep-alive of clients, mostly 60 s"),
        Setting(
            key: "gateway.drain_seconds", kind: .wholeNumber(0...3_600), fallback: "30",
            help: "time that accepted requests get to finish after SIGTERM"),
        Setting(
            key: "connections.arrival_seconds", kind: .wholeNumber(1...3_600), fallback: "20",
            help: "time for the beginning of a connection, for a frame of HTTP/2, for a request's line and headers to be complete, at the public port and at nodes'"),
        Setting(
            key: "connections.body_seconds", kind: .wholeNumber(1...86_400), fallback: "60",
            help: "time for a request's body to arrive once its headers have, at both; 64 MiB at 9 Mbit/s"),
        Setting(
            key: "connections.stall_seconds", kind: .wholeNumber(1...3_600), fallback: "60",
            help: "time after which who takes less than 256 bytes a second of what waits for it loses its stream or connection, at the public port and at nodes'"),
        Setting(
            key: "erasure.deadline_seconds", kind: .wholeNumber(1...31_536_000), fallback: "86400",
            help: "time after which neither store nor caches hold a point that was deleted or overwritten; each shard concerned is rewritten, and nodes close shards that nobody used for an eighth of it"),
        Setting(
            key: "coordinator.deadline_ms", kind: .wholeNumber(1...600_000), fallback: "5000",
            help: "time for one search over all shards, in ms; a shard that is later costs coverage"),
        Setting(
            key: "coordinator.outline_kib", kind: .wholeNumber(1...1_048_576), fallback: "512",
            help: "memory for one shard's outline in KiB, which says whether the shard, when it does not answer, could have changed a search's hits; coarser until it fits"),
        Setting(
            key: "coordinator.outlines_mib", kind: .wholeNumber(0...1_048_576), fallback: "64",
            help: "memory for the outlines of all shards in MiB, those of shards searched longest ago removed first; 0 keeps none"),
        Setting(
            key: "shard.workers", kind: .wholeNumber(0...1_024), fallback: "0", help: "threads that search and build segments; 0 takes one per core"),
        Setting(
            key: "shard.seal_points", kind: .wholeNumber(1...100_000_000), fallback: "20000",
            help: "points outside segments after which a shard seals by itself"),
        Setting(
            key: "shard.split_points", kind: .wholeNumber(0...1_000_000_000), fallback: "20000000",
            help: "points of a shard from which on it splits in two by itself, served meanwhile; 0 leaves it to `covey split`"),
        Setting(
            key: "shard.merge_points", kind: .wholeNumber(0...1_000_000_000), fallback: "2500000",
            help: "points below which the two halves of a shard merge by themselves, once they keep at most half of what they were split with; at most half of shard.split_points; 0 leaves it to `covey merge`"),
        Setting(
            key: "shard.commit_interval_ms", kind: .wholeNumber(0...10_000), fallback: "0",
            help: "mean time between log entries of a shard that is written all the time, each of which is a request to the store; a burst of 32 goes on at once, what comes meanwhile shares the next entry; at Amazon (an s3:// store without store.endpoint) 250 unless set"),
        Setting(
            key: "shard.lease_ms", kind: .wholeNumber(0...60_000), fallback: "1000",
            help: "time after a write in which its owner answers strong reads without asking the store, the same on all nodes; a takeover waits for it; 0 asks for every read"),
        Setting(
            key: "shard.exact_points", kind: .wholeNumber(0...100_000_000), fallback: "2000",
            help: "segments with at most so many points are scanned exactly, which is as fast there; 0 always uses the codes"),
        Setting(
            key: "embedding.model_path", kind: .text, fallback: "", help: "folder of the embedded model; default: all-MiniLM-L6-v2 in Covey's cache folder"),
        Setting(
            key: "embedding.workers", kind: .wholeNumber(0...256), fallback: "0", help: "threads that embed; 0 takes one per core"),
        Setting(
            key: "embedding.url", kind: .text, fallback: "",
            help: "an OpenAI-compatible server that embeds instead, up to and with /v1; of Azure OpenAI the resource's URL"),
        Setting(key: "embedding.model", kind: .text, fallback: "", help: "the model's name at that server"),
        Setting(key: "embedding.dimension", kind: .wholeNumber(1...4_096), fallback: "1536", help: "dimension of that model's vectors"),
        Setting(key: "embedding.maximum_tokens", kind: .wholeNumber(16...1_000_000), fallback: "512", help: "tokens that model reads of a text"),
        Setting(
            key: "embedding.send_dimension", kind: .choice(["yes", "no"]), fallback: "no",
            help: "whether that model is asked for vectors of this dimension; those that cannot cut theirs refuse the word"),
        Setting(
            key: "embedding.batch_texts", kind: .wholeNumber(1...2_048), fallback: "64",
            help: "most texts of one request; OpenAI and Azure take 2048, and 300000 tokens, which 256 KiB of text never have"),
        Setting(
            key: "embedding.longest_wait_seconds", kind: .wholeNumber(0...3_600), fallback: "60",
            help: "longest wait before a request is repeated; a server that asks for more (Retry-After) fails the call"),
        Setting(
            key: "embedding.api", kind: .choice(["openai", "azure"]), fallback: "openai",
            help: "azure: Azure OpenAI's deployments, by path and api-version; its /openai/v1 is openai"),
        Setting(key: "embedding.deployment", kind: .text, fallback: "", help: "name of the deployment at Azure, if it is not the model's"),
        Setting(
            key: "embedding.api_version", kind: .text, fallback: "2024-10-21", help: "api-version for Azure; the default is the last one that is not a preview"),
        Setting(
            key: "embedding.api_key", kind: .text, fallback: "", help: "key for that server, as Authorization: Bearer, at Azure as api-key"),
        Setting(key: "embedding.key_header", kind: .text, fallback: "", help: "header for that key, if it is another one"),
        Setting(key: "embedding.token", kind: .text, fallback: "", help: "in place of a key: a token, say of Entra ID, as Authorization: Bearer"),
        Setting(
            key: "embedding.token_file", kind: .text, fallback: "",
            help: "in place of a key: file of such a token, which is read for each request, so that whoever renews it need say nothing"),
        Setting(
            key: "generation.url", kind: .text, fallback: "",
            help: "an OpenAI-compatible server whose chat model writes the answers, up to and with /v1; of Azure OpenAI the resource's URL; without one answers quote the sources"),
        Setting(key: "generation.model", kind: .text, fallback: "", help: "the model's name at that server"),
        Setting(
            key: "generation.token_limit_field", kind: .choice(["max_tokens", "max_completion_tokens"]), fallback: "max_tokens",
            help: "how that server calls the most tokens of an answer; OpenAI's reasoning models want max_completion_tokens"),
        Setting(
            key: "generation.send_temperature", kind: .choice(["yes", "no"]), fallback: "yes",
            help: "whether requests name a temperature, which OpenAI's reasoning models refuse"),
        Setting(
            key: "generation.longest_wait_seconds", kind: .wholeNumber(0...3_600), fallback: "10",
            help: "longest wait before a request is repeated; a server that asks for more (Retry-After) fails the call, and the sources answer"),
        Setting(
            key: "generation.api", kind: .choice(["openai", "azure"]), fallback: "openai",
            help: "azure: Azure OpenAI's deployments, by path and api-version; its /openai/v1 is openai"),
        Setting(key: "generation.deployment", kind: .text, fallback: "", help: "name of the deployment at Azure, if it is not the model's"),
        Setting(
            key: "generation.api_version", kind: .text, fallback: "2024-10-21", help: "api-version for Azure; the default is the last one that is not a preview"),
        Setting(
            key: "generation.api_key", kind: .text, fallback: "", help: "key for that server, as Authorization: Bearer, at Azure as api-key"),
        Setting(key: "generation.key_header", kind: .text, fallback: "", help: "header for that key, if it is another one"),
        Setting(key: "generation.token", kind: .text, fallback: "", help: "in place of a key: a token, say of Entra ID, as Authorization: Bearer"),
        Setting(
            key: "generation.token_file", kind: .text, fallback: "",
            help: "in place of a key: file of such a token, which is read for each request, so that whoever renews it need say nothing"),
        Setting(
            key: "models.proxy", kind: .text, fallback: "",
            help: "proxy to both servers, say http://user:password@proxy:3128; without one none, whatever the environment says"),
        Setting(
            key: "models.no_proxy", kind: .text, fallback: "",
            help: "hosts that are reached without it, with commas between: localhost,.internal"),
        Setting(
            key: "models.ca_file", kind: .text, fallback: "",
            help: "PEM file of the authorities to trust at both servers and the proxy, in place of the system's"),
        Setting(
            key: "generation.prompt_tokens", kind: .wholeNumber(256...1_000_000), fallback: "3000",
            help: "tokens of a prompt, sources and history included; small models read no more well"),
        Setting(
            key: "generation.answer_tokens", kind: .wholeNumber(1...100_000), fallback: "512", help: "most tokens of an answer"),
        Setting(
            key: "log.level", kind: .choice(["trace", "debug", "info", "notice", "warning", "error"]), fallback: "info",
            help: "least level of log lines"),
    ]

    static func named(_ key: String) -> Setting? { all.first { $0.key == key } }

    /// The table for `--help`.
    static var manual: String {
        var lines = ["SETTINGS: keys of the YAML file; each is also a flag and an environment variable, and flags win."]
        for setting in all {
            lines.append("  \(setting.key)   (\(setting.flag), \(setting.variable))")
            lines.append("      \(setting.help)" + (setting.fallback.isEmpty ? "" : " [default: \(setting.fallback)]"))
        }
        return lines.joined(separator: "\n")
    }
}

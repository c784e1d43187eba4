// swift-tools-version: 6.2
import PackageDescription

// What every Swift target of `Sources` is compiled with. Tests leave strict memory safety off:
// `#expect` expands to code that it rejects.
let strict: [SwiftSetting] = [.strictMemorySafety(), .enableUpcomingFeature("ExistentialAny"), .enableExperimentalFeature("Lifetimes")]

extension Target {
    static func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
        .target(name: name, dependencies: dependencies, swiftSettings: strict)
    }
    static func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
        .testTarget(name: name, dependencies: dependencies)
    }
}

extension Target.Dependency {
    static let nioCore = product(name: "NIOCore", package: "swift-nio")
    static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
    static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
    static let nioEmbedded = product(name: "NIOEmbedded", package: "swift-nio")
    static let hummingbird = product(name: "Hummingbird", package: "hummingbird")
    static let hummingbirdCore = product(name: "HummingbirdCore", package: "hummingbird")
    static let protobuf = product(name: "SwiftProtobuf", package: "swift-protobuf")
    static let arguments = product(name: "ArgumentParser", package: "swift-argument-parser")
    static let logging = product(name: "Logging", package: "swift-log")
    static let lifecycle = product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let yams = product(name: "Yams", package: "Yams")
}

let package = Package(
    name: "covey",
    products: [.executable(name: "covey", targets: ["covey"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
    ],
    targets: [
        // Libraries of the system, one module each; only the wrapping module imports it.
        .systemLibrary(name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLibXML2", pkgConfig: "libxml-2.0", providers: [.apt(["libxml2-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libssl", providers: [.apt(["libssl-dev"])]),
        .target(name: "CVectorKernels", cSettings: [.unsafeFlags(["-O3"])]),
        .target(name: "CJSONKernels", cSettings: [.unsafeFlags(["-O3"])]),
        .target(name: "CEmbeddingKernels", cSettings: [.unsafeFlags(["-O3"])]),

        // Engine: no network, no protobuf.
        .module("Model", ["CJSONKernels"]),
        .module("VectorMath", ["Model", "CVectorKernels"]),
        .module("Storage", ["Model", "CCrypto", "CVectorKernels"]),
        .module("VectorIndex", ["Storage", "VectorMath", "Model"]),
        .module("Observability", ["Model", .logging]),

        // Network.
        .module("Placement", ["Model"]),
        .module("Wire", ["Model", .protobuf]),
        .module("HTTP2", ["CNGHTTP2"]),
        .module("TLS", ["COpenSSL"]),
        .module("OutboundHTTP", ["Model", "CCurl"]),
        .module("Transport", ["HTTP2", "TLS", "Wire", "Model", "Observability", .nioCore, .nioHTTP1, .nioPosix, .protobuf, .logging]),

        .module("S3Store", ["OutboundHTTP", "Storage", "CLibXML2"]),

        // Roles: they meet in `Model`, never in each other.
        .module("Embedding", ["OutboundHTTP", "Model", "CEmbeddingKernels"]),
        .module("Ingestion", ["Embedding", "Storage", "Model", "Observability", "CLibXML2", "CZlib"]),
        .module("Coordination", ["Placement", "Storage", "VectorMath", "Model", "Observability", .logging]),
        .module("Sharding", ["Placement", "VectorIndex", "Storage", "VectorMath", "Model", "Observability", .logging]),
        .module("Generation", ["Embedding", "OutboundHTTP", "Model", "Observability", .logging]),
        .module(
            "Gateway",
            [
                "Ingestion", "Coordination", "Sharding", "Generation", "Embedding", "Transport", "HTTP2", "TLS", "Storage", "Model", "Observability",
                .hummingbird, .hummingbirdCore, .nioCore, .nioHTTP1, .logging, .lifecycle,
            ]),
        .module("Simulation", ["Coordination", "Sharding", "Placement", "Storage", "VectorMath", "Model", "Observability", .logging]),
        .module("Console", ["Ingestion", "VectorIndex", "VectorMath", "Storage", "OutboundHTTP", "Model"]),
        .executableTarget(
            name: "covey",
            dependencies: [
                "Simulation", "Console", "Gateway", "Ingestion", "Coordination", "Sharding", "Generation", "Embedding", "Transport", "TLS", "S3Store", "OutboundHTTP",
                "Placement", "Storage", "Model", "Observability", .arguments, .logging, .lifecycle, .yams, .nioCore, .nioPosix, .hummingbird,
            ],
            swiftSettings: strict),

        // HTTP servers that tests talk to.
        .target(name: "TestServers", dependencies: ["Model", .nioCore, .nioPosix], path: "Tests/TestServers"),

        // Every parser of what strangers say, for fuzzers (`cluster/fuzz`) and for the tests that replay what they found. The settings, of the
        // executable, come in as links.
        .target(
            name: "FuzzTargets",
            dependencies: ["Gateway", "Transport", "Ingestion", "Embedding", "S3Store", "HTTP2", "Wire", "VectorIndex", "VectorMath", "Storage", "Model", .logging, .yams],
            path: "Tests/FuzzTargets"),
        .tests("FuzzTests", ["FuzzTargets"]),

        .tests("ArchitectureTests", []),
        .tests("ModelTests", ["VectorMath", "Model"]),
        // What the benchmark of the scan compares it with.
        .target(name: "CScanLimit", path: "Tests/CScanLimit", cSettings: [.unsafeFlags(["-O3"])]),
        .tests("VectorMathTests", ["VectorMath", "CVectorKernels", "CScanLimit", "Model"]),
        .tests("StorageTests", ["S3Store", "Storage", "Model"]),
        .tests("S3StoreTests", ["S3Store", "OutboundHTTP", "Storage", "TestServers", "Model"]),
        .tests("VectorIndexTests", ["VectorIndex", "VectorMath", "Storage", "Model"]),
        .tests("ObservabilityTests", ["Observability", .logging]),
        .tests("PlacementTests", ["Placement", "Model"]),
        .tests("WireTests", ["Wire", "Model", .protobuf]),
        .tests("HTTP2Tests", ["HTTP2"]),
        .tests("TLSTests", ["TLS", "TestServers"]),
        .tests("OutboundHTTPTests", ["OutboundHTTP", "TestServers", "Model"]),
        .tests("TransportTests", ["Transport", "HTTP2", "TLS", "TestServers", "Wire", "Model", "Observability", .nioCore, .nioPosix, .nioEmbedded]),
        .tests("EmbeddingTests", ["Embedding", "OutboundHTTP", "CEmbeddingKernels", "TestServers", "Model"]),
        .tests("IngestionTests", ["Ingestion", "Embedding", "Storage", "Model"]),
        .tests("CoordinationTests", ["Coordination", "Placement", "Storage", "VectorMath", "Model", "Observability", .logging]),
        .tests("ShardingTests", ["Sharding", "VectorIndex", "Storage", "VectorMath", "Model", "Observability", .logging]),
        .tests("GenerationTests", ["Generation", "Embedding", "OutboundHTTP", "TestServers", "Model"]),
        .tests("GatewayTests", ["VectorMath", "Gateway", "Coordination", "Ingestion", "Generation", "Embedding", "Storage", "Model", "Observability", .hummingbird, .nioCore]),
        .tests("ConsoleTests", ["Console", "OutboundHTTP", "Storage", "VectorIndex", "TestServers", "Model"]),
    ],
    swiftLanguageModes: [.v6]
)

// It is linked with libFuzzer, so it is there for `cluster/fuzz` only.
if Context.environment["COVEY_FUZZ_BUILD"] != nil {
    package.targets.append(.executableTarget(name: "covey-fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz"))
}

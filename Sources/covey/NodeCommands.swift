import ArgumentParser
import Foundation

/// Options of every command that runs a node.
struct NodeOptions: ParsableArguments {
    @Option(name: .customLong("config"), help: ArgumentHelp("The YAML configuration file (COVEY_CONFIG).", valueName: "file"))
    var file: String?

    @Argument(parsing: .allUnrecognized, help: ArgumentHelp("Settings as flags, say --gateway-address 127.0.0.1:7000.", valueName: "settings"))
    var settings: [String] = []

    func configuration() throws -> Configuration {
        let environment = ProcessInfo.processInfo.environment
        return try Configuration(file: file ?? environment["COVEY_CONFIG"], environment: environment, flags: settings)
    }
}

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run all roles in one process: a whole Covey for one machine.", discussion: Setting.manual)
    @OptionGroup var options: NodeOptions

    func run() async throws { try await NodeProcess(name: "serve", configuration: options.configuration(), isNode: false).runAll() }
}

struct CoordinatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coordinator", abstract: "Run a coordinator: the public API, the fan-out to the shard nodes, ingestion.",
        discussion: Setting.manual)
    @OptionGroup var options: NodeOptions

    func run() async throws {
        let configuration = try options.configuration()
        let node = try configuration.node(role: .coordinator)
        try await NodeProcess(name: node.name, configuration: configuration).runCoordinator(node)
    }
}

struct ShardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard", abstract: "Run a shard node: it keeps and searches any number of shards of any collection.",
        discussion: Setting.manual)
    @OptionGroup var options: NodeOptions

    func run() async throws {
        let configuration = try options.configuration()
        let node = try configuration.node(role: .shard)
        try await NodeProcess(name: node.name, configuration: configuration).runShard(node)
    }
}

struct GeneratorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generator", abstract: "Run a generator: it builds prompts and streams cited answers.", discussion: Setting.manual)
    @OptionGroup var options: NodeOptions

    func run() async throws {
        let configuration = try options.configuration()
        let node = try configuration.node(role: .generator)
        try await NodeProcess(name: node.name, configuration: configuration).runGenerator(node)
    }
}

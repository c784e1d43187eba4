import ArgumentParser

@main
struct Covey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "covey",
        abstract: "A distributed, sharded vector search cluster that answers questions about your documents.",
        version: version,
        subcommands: [Serve.self]
    )
    static let version = "0.1.0"
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All roles in one process.", discussion: Setting.manual)
    @Option(name: .customLong("config"), help: "The YAML configuration file.") var file: String?
    @Argument(parsing: .allUnrecognized, help: "Settings as flags, e.g. --gateway-address 127.0.0.1:7000.") var settings: [String] = []
    func run() async throws {
        let c = try Configuration(file: file, environment: [:], flags: settings)
        print(c.nodes, c.keys, c.text("store.path"))
    }
}

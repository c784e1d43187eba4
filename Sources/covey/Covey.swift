import ArgumentParser

@main
struct Covey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "covey",
        abstract: "A distributed, sharded vector search cluster that answers questions about your documents.",
        version: version,
        groupedSubcommands: [
            CommandGroup(name: "Nodes", subcommands: [ServeCommand.self, CoordinatorCommand.self, ShardCommand.self, GeneratorCommand.self, KeyCommand.self]),
            CommandGroup(
                name: "Documents and answers",
                subcommands: [
                    IngestCommand.self, AskCommand.self, ChatCommand.self, SearchCommand.self, ExplainCommand.self, DocumentsCommand.self, CollectionsCommand.self,
                ]),
            CommandGroup(
                name: "Operation and measurement", subcommands: [StatusCommand.self, ClusterCommand.self, SealCommand.self, SplitCommand.self, MergeCommand.self, VerifyCommand.self, SnapshotCommand.self, RestoreCommand.self, DropTenantCommand.self, EvalCommand.self, BenchCommand.self, SimulateCommand.self]),
        ]
    )
    static let version = "0.1.0"
}

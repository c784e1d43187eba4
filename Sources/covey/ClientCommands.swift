import ArgumentParser
import Console
import Foundation
import Ingestion
import Model
import OutboundHTTP

/// Where the cluster is and how results are printed.
struct ClientOptions: ParsableArguments {
    @Option(help: "The cluster's public API (COVEY_URL). [default: http://127.0.0.1:6333]") var url: String?
    @Option(help: "The API key (COVEY_API_KEY).") var apiKey: String?

    @Option(help: "PEM file of the authorities to trust for an https URL, in place of the system's (COVEY_AUTHORITY).") var authority: String?

    var client: CoveyClient {
        let environment = ProcessInfo.processInfo.environment
        var http = HTTPClientConfiguration()
        http.certificateAuthorityFile = authority ?? environment["COVEY_AUTHORITY"]
        return CoveyClient(
            url: url ?? environment["COVEY_URL"] ?? "http://127.0.0.1:6333", apiKey: apiKey ?? environment["COVEY_API_KEY"],
            http: HTTPClient(configuration: http))
    }
}

struct CollectionOption: ParsableArguments {
    @Option(name: [.customLong("collection"), .customShort("c")], help: "The collection.") var name = "documents"
}

struct JSONFlag: ParsableArguments {
    @Flag(help: "Print JSON for scripts.") var json = false
}

struct QuestionArguments: ParsableArguments {
    @OptionGroup var collection: CollectionOption
    @Option(help: "Chunks given to the generator.") var sources: Int?
    @Option(help: "Most tokens of the answer.") var maximumTokens: Int?
    @Option(help: "The language model's temperature, 0 to 2.") var temperature: Double?
    @Flag(help: "Print the exact prompt before the answer.") var showPrompt = false
    @Flag(help: "Quote the sources even if a language model is there.") var extractive = false
    @Flag(help: "Fail instead of answering from a part of the collection.") var wholeOnly = false

    var options: QuestionOptions {
        var options = QuestionOptions(collection: collection.name)
        options.sources = sources
        options.maximumTokens = maximumTokens
        options.temperature = temperature
        options.showPrompt = showPrompt
        options.extractive = extractive
        options.wholeOnly = wholeOnly
        return options
    }
}

/// Ends the process with the verb's status; an error is one line on standard error.
private func finish(_ verb: () async throws -> Int32) async throws {
    let status: Int32
    do { status = try await verb() } catch {
        FileHandle.standardError.write(Data("covey: \(error)\n".utf8))
        throw ExitCode(1)
    }
    if status != 0 { throw ExitCode(status) }
}

struct IngestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ingest", abstract: "Bring files and folders into a collection.",
        discussion: """
            Reads \(DocumentFormat.names). Unchanged files are not sent again, so an ingestion that was interrupted goes on where it \
            stopped; changed ones replace what was there; a bad file is reported and skipped. The exit status is 1 if a file failed.
            """)
    @Argument(help: "Files and folders.") var paths: [String]
    @OptionGroup var collection: CollectionOption
    @Option(help: "Only files whose name or path matches this pattern; may be repeated.") var include: [String] = []
    @Option(help: "Leave out files that match this pattern; may be repeated.") var exclude: [String] = []
    @Option(help: "Files on their way at a time.") var concurrency = 4
    @Flag(help: "Delete documents that came from these folders and are not there any more; never those of other folders.") var sync = false
    @Flag(help: "Only say what would be done.") var dryRun = false
    @Flag(help: "With --sync, delete even more than half of a folder's documents.") var force = false
    @Option(help: "What the folder is called in the collection, for --sync; unless told, its host and path.") var root: String?
    @Option(help: ArgumentHelp("Write what became of each file to this file, as JSON.", valueName: "file")) var report: String?
    @Flag(help: "Follow links that lead out of the folder.") var followLinks = false
    @Option(help: "Largest file in MiB; the gateway takes forms of 64.") var maxFileMib = 63
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func validate() throws {
        guard (1...1_024).contains(maxFileMib) else { throw ValidationError("--max-file-mib must be 1 to 1024, found \(maxFileMib)") }
        guard sync || !force else { throw ValidationError("--force is for --sync") }
    }

    func run() async throws {
        var verb = IngestVerb(paths: paths, collection: collection.name)
        (verb.sync, verb.isDry, verb.force, verb.rootName, verb.report) = (sync, dryRun, force, root, report)
        (verb.followsLinks, verb.maximumFileBytes) = (followLinks, maxFileMib << 20)
        verb.include = include
        verb.exclude = exclude
        verb.concurrency = concurrency
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard, interrupts: Interrupts(handlesSignal: true)) }
    }
}

struct AskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ask", abstract: "Ask a question; the answer is streamed and cites its sources.")
    @Argument(help: "The question.") var question: String
    @OptionGroup var arguments: QuestionArguments
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = AskVerb(question: question, options: arguments.options)
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct ChatCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Ask in turn, each question seen with those before it. Ctrl-C stops an answer, Ctrl-D leaves.")
    @OptionGroup var arguments: QuestionArguments
    @OptionGroup var client: ClientOptions

    func run() async throws {
        let verb = ChatVerb(options: arguments.options)
        try await finish { try await verb.run(client.client, .standard, interrupts: Interrupts(handlesSignal: true)) }
    }
}

/// How much work a search may spend.
struct EffortOptions: ParsableArguments {
    @Flag(help: "Score every chunk with its full vector.") var exact = false
    @Option(help: "Coarse lists probed per segment.") var probes: Int?
    @Option(help: "Candidates scored again per segment.") var candidates: Int?
    @Option(help: "Share of the true best that answers should have on average, above 0 and at most 1; default 0.97.") var targetRecall: Double?

    var effort: SearchEffort { SearchEffort(exact: exact, targetRecall: targetRecall, probes: probes, candidates: candidates) }
}

struct SearchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "search", abstract: "Show the chunks nearest to a text.")
    @Argument(help: "The text.") var query: String
    @OptionGroup var collection: CollectionOption
    @Option(help: "Chunks to show, 1 to 50.") var limit = 10
    @OptionGroup var effort: EffortOptions
    @Flag(help: "Fail instead of answering from a part of the collection.") var wholeOnly = false
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = SearchVerb(query: query, collection: collection.name)
        verb.limit = limit
        verb.effort = effort.effort
        verb.wholeOnly = wholeOnly
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Show where a search left a chunk: its list, its ranks, and the step that dropped it.",
        discussion: "The ids are those of `covey search --json`. The exit status is 1 if a point is not in the result.")
    @Argument(help: "The text.") var query: String
    @Argument(help: "Ids of chunks: UUIDs or unsigned integers.") var ids: [String]
    @OptionGroup var collection: CollectionOption
    @Option(help: "Hits of the search, 1 to 50.") var limit = 10
    @OptionGroup var effort: EffortOptions
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        let ids = try ids.map { text in
            guard let id = UInt64(text).map(PointID.integer) ?? PointID(uuid: text) else {
                throw ValidationError("\(text) is neither an unsigned integer nor a UUID")
            }
            return id
        }
        var verb = ExplainVerb(query: query, collection: collection.name, ids: ids)
        verb.limit = limit
        verb.effort = effort.effort
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the nodes and what the collections hold.",
        discussion: "The exit status is 1 if a node cannot be reached or a file is damaged.")
    @Option(name: [.customLong("collection"), .customShort("c")], help: "One collection only.") var collection: String?
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = StatusVerb(collection: collection)
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct SealCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal", abstract: "Build the index over everything written so far; returns when it serves.",
        discussion: "Shards seal by themselves past shard.seal_points; this does it now.")
    @OptionGroup var collection: CollectionOption
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = SealVerb(collection: collection.name)
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct SplitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "split", abstract: "Divide a shard in two, each with half its hash range; it is read and written meanwhile.",
        discussion: "`covey status -c NAME` shows the shards. Shards split by themselves past shard.split_points; this does it now.")
    @OptionGroup var collection: CollectionOption
    @Argument(help: "The shard's number.") var shard: Int
    @Flag(help: "Only say what would become of it.") var dryRun = false
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = SplitVerb(collection: collection.name, shard: shard)
        (verb.json, verb.isDry) = (output.json, dryRun)
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct MergeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge", abstract: "Unite a shard with the other half of the one that both come from; they are read meanwhile, writes wait for a moment.",
        discussion: "`covey status -c NAME` shows the shards. Halves that shrank below shard.merge_points together merge by themselves; this does it now.")
    @OptionGroup var collection: CollectionOption
    @Argument(help: "The number of one of the two.") var shard: Int
    @Flag(help: "Only say what would become of them.") var dryRun = false
    @OptionGroup var output: JSONFlag
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = MergeVerb(collection: collection.name, shard: shard)
        (verb.json, verb.isDry) = (output.json, dryRun)
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measure how well the cluster finds the right documents of a set with judgements.",
        discussion: """
            DIR holds queries.jsonl and qrels/*.tsv in BEIR's layout, and corpus.jsonl unless --corpus or --documents name the documents. They \
            are loaded through the running cluster into a collection of their own, which is sealed and then asked. Prints nDCG@10, \
            recall@1/5/10/100, MRR@10 and latencies as JSON.
            """)
    @Argument(help: ArgumentHelp("The folder of the set.", valueName: "dir")) var folder: String
    @Option(help: "A corpus.jsonl; may be repeated.") var corpus: [String] = []
    @Option(help: "A folder of documents whose relative paths are the ids.") var documents: String?
    @Option(help: "The judgements, if not qrels/test.tsv.") var qrels: String?
    @Option(name: [.customLong("collection"), .customShort("c")], help: "Keep the documents under this name; without it they are deleted afterwards.")
    var collection: String?
    @Option(help: "Queries asked at a time.") var concurrency = 4
    @Flag(help: "Score every chunk with its full vector: the yardstick.") var exact = false
    @Option(help: "Candidates scored again per segment.") var candidates: Int?
    @Option(help: "Share of the true best that answers should have on average, above 0 and at most 1; default 0.97.") var targetRecall: Double?
    @OptionGroup var client: ClientOptions

    func run() async throws {
        var verb = EvalVerb(folder: folder)
        verb.corpora = corpus
        verb.documents = documents
        verb.qrels = qrels
        verb.collection = collection
        verb.concurrency = concurrency
        verb.exact = exact
        verb.candidates = candidates
        verb.targetRecall = targetRecall
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct DocumentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "documents", abstract: "List or delete documents of a collection.", subcommands: [List.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the documents of a collection.")
        @OptionGroup var collection: CollectionOption
        @OptionGroup var output: JSONFlag
        @OptionGroup var client: ClientOptions

        func run() async throws { try await perform(.list, in: collection, output, client) }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete documents from a collection.")
        @Argument(help: "Names of documents, as `covey documents list` shows them.") var names: [String]
        @OptionGroup var collection: CollectionOption
        @OptionGroup var output: JSONFlag
        @OptionGroup var client: ClientOptions

        func run() async throws { try await perform(.delete(names), in: collection, output, client) }
    }

    private static func perform(
        _ action: DocumentsVerb.Action, in collection: CollectionOption, _ output: JSONFlag, _ client: ClientOptions
    ) async throws {
        var verb = DocumentsVerb(collection: collection.name, action: action)
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

struct CollectionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "collections", abstract: "List, create or delete collections.", subcommands: [List.self, Create.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the collections.")
        @OptionGroup var output: JSONFlag
        @OptionGroup var client: ClientOptions

        func run() async throws { try await perform(.list, output, client) }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a collection: for documents, or with --dimension for vectors that you bring.")
        @Argument(help: "Its name.") var name: String
        @Option(help: "Elements of a vector.") var dimension: Int?
        @Option(help: "Cosine, Dot or Euclid.") var distance = "Cosine"
        @Option(help: "What vectors are stored as: float32 (unless told), float16, uint8 or int8.") var datatype: String?
        @Option(help: "Shards; one per shard node unless told.") var shards: Int?
        @OptionGroup var output: JSONFlag
        @OptionGroup var client: ClientOptions

        func run() async throws { try await perform(.create(name, dimension: dimension, distance: distance, datatype: datatype, shards: shards), output, client) }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a collection with everything in it.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var output: JSONFlag
        @OptionGroup var client: ClientOptions

        func run() async throws { try await perform(.delete(name), output, client) }
    }

    private static func perform(_ action: CollectionsVerb.Action, _ output: JSONFlag, _ client: ClientOptions) async throws {
        var verb = CollectionsVerb(action: action)
        verb.json = output.json
        try await finish { [verb] in try await verb.run(client.client, .standard) }
    }
}

import ArgumentParser
import Foundation
import Logging
import Model
import Sharding
import Storage

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Show the cluster's shard nodes, what a change of them would move, and change them.",
        discussion: """
            The members are a record in the store; the first node that starts puts the shard nodes of its configuration there. To add, remove or \
            weigh a node, change `nodes` (or `replicas`) in the configuration, look at `covey cluster plan`, start the new node, and say \
            `covey cluster apply`: reads and writes go on meanwhile.
            """,
        subcommands: [ClusterMembersCommand.self, ClusterPlanCommand.self, ClusterApplyCommand.self])
}

struct ClusterMembersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "members", abstract: "Show the shard nodes that the cluster counts on, and which answer.")
    @Flag(help: "Print one JSON object.") var json = false
    @OptionGroup var options: NodeOptions

    func run() async throws {
        try await options.withClusterChange { change, process, _ in
            let nodes = await process.answering(change.before)
            if json {
                let members = zip(change.before.members, nodes).map { member, answers -> JSONValue in
                    [
                        "name": .string(member.node.rawValue), "address": .string(member.address), "weight": .number(member.weight),
                        "zone": member.zone.map { .string($0) } ?? .null, "answers": .bool(answers),
                    ]
                }
                let page: JSONValue = ["version": .integer(Int64(change.before.version)), "replicas": .integer(Int64(change.before.replicas)), "members": .array(members)]
                return print(String(decoding: page.serialized(), as: UTF8.self))
            }
            print("version \(change.before.version), \(change.before.replicas) replicas of each shard")
            for (member, answers) in zip(change.before.members, nodes) {
                print("  \(member.node)  \(member.address)  weight \(member.weight)\(member.zone.map { "  zone \($0)" } ?? "")\(answers ? "" : "  does not answer")")
            }
        }
    }
}

struct ClusterPlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Show what the configuration's shard nodes would change, without changing anything.",
        discussion: "Ends with 0 if nothing would change, 2 if something would, 1 if it cannot be told.")
    @Flag(help: "List every shard that would move.") var shards = false
    @OptionGroup var options: NodeOptions

    func run() async throws {
        var isChange = false
        try await options.withClusterChange { change, _, difference in
            isChange = !difference.isEmpty
            guard isChange else { return print("nothing would change: the cluster's record has version \(change.before.version)") }
            print(difference)
            let moves = try await change.moves()
            moves.summarize(listing: shards)
        }
        if isChange { throw ExitCode(2) }
    }
}

struct ClusterApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Make the configuration's shard nodes the cluster's.",
        discussion: "Shards in use are fetched by the nodes that gain them before anybody is sent there. Saying it again after an interruption goes on where it was.")
    @Option(help: ArgumentHelp("Mean rate at which nodes fetch what they gain.", valueName: "MiB/s")) var rate = 100
    @OptionGroup var options: NodeOptions

    func run() async throws {
        guard (1...1_000_000).contains(rate) else { throw ValidationError("--rate must be 1 to 1000000 MiB/s, found \(rate)") }
        try await options.withClusterChange { change, process, difference in
            guard !difference.isEmpty else { return print("nothing to change: the cluster's record has version \(change.before.version)") }
            print(difference)
            let answers = await process.answering(change.after)
            let silent = zip(change.after.members, answers).filter { member, answers in !answers && difference.joining.contains(member) }.map(\.0.node)
            guard silent.isEmpty else { throw ConfigurationError("\(silent.map(\.rawValue).joined(separator: ", ")) does not answer: start a node before it joins") }
            let moves = try await change.moves()
            moves.summarize(listing: false)
            let start = ContinuousClock.now
            var (warmed, left) = (0, 0)
            let fetched = await change.warm(
                moves, services: try process.services(change), bytesPerSecond: rate << 20, pause: { try? await Task.sleep(for: $0) }
            ) { move, isInUse, error in
                if let error {
                    print("  shard \(move.shard) could not be fetched, its node will when it is asked: \(error)")
                } else if isInUse { warmed += 1 } else { left += 1 }
            }
            let seconds = String(format: "%.1f", start.duration(to: .now) / .seconds(1))
            print("\(warmed) shards in use are warm on their new nodes (\(megabytes(fetched)) in \(seconds) s); \(left) that nobody has open were left in the store")
            let record = try await options.recorded("cluster.apply", ["difference": .string("\(difference)")]) { try await change.commit() }
            print("the cluster's record has version \(record.version); every node follows within \(process.configuration.number("cluster.poll_seconds")) s")
            if !difference.leaving.isEmpty { print("then \(difference.leaving.map(\.node.rawValue).joined(separator: ", ")) can be stopped") }
        }
    }
}

extension ClusterChange.Moves {
    fileprivate func summarize(listing: Bool) {
        print("\(moves.count) shards change nodes: \(gained) of \(replicaCount) replicas are gained, \(megabytes(gainedBytes)) of segments")
        let nodes = Set(moves.flatMap { $0.losing + $0.gaining }).sorted()
        for node in nodes {
            let (gains, losses) = (moves.filter { $0.gaining.contains(node) }, moves.filter { $0.losing.contains(node) })
            print("  \(node): gains \(gains.count) (\(megabytes(gains.reduce(0) { $0 + $1.bytes }))), loses \(losses.count)")
        }
        guard listing else { return }
        for move in moves {
            print("  \(move.shard.tenant)/\(move.collection) shard \(move.shard.index): \(move.losing.map(\.rawValue).joined(separator: ",")) -> \(move.gaining.map(\.rawValue).joined(separator: ",")), \(megabytes(move.bytes))")
        }
    }
}

private func megabytes(_ bytes: Int) -> String { String(format: "%.1f MB", Double(bytes) / 1e6) }

/// What the verbs call nodes with.
private struct ClusterProcess {
    let configuration: Configuration
    let pool: PeerPool

    func services(_ change: ClusterChange) throws -> [NodeID: any ShardService] {
        var services: [NodeID: any ShardService] = [:]
        for member in try configuration.resolved(change.before).members + configuration.resolved(change.after).members where services[member.node] == nil {
            services[member.node] = try pool.shard(member)
        }
        return services
    }

    /// Whether each member says that it lives.
    func answering(_ record: ClusterRecord) async -> [Bool] {
        guard let record = try? configuration.resolved(record) else { return record.members.map { _ in false } }
        return await withTaskGroup(of: (Int, Bool).self) { group in
            for (index, member) in record.members.enumerated() {
                group.addTask {
                    let context = CallContext(requestID: .random(), tenant: .default, deadline: .now + .seconds(2))
                    return (index, await (try? pool.shard(member).status(StatusRequest(nodeOnly: true), context: context)) != nil)
                }
            }
            return await group.reduce(into: record.members.map { _ in false }) { $0[$1.0] = $1.1 }
        }
    }
}

extension NodeOptions {
    /// Runs a verb with the change from the cluster's record to this configuration; ends with 1 and a line for people if it fails.
    fileprivate func withClusterChange(_ body: (ClusterChange, ClusterProcess, ClusterDifference) async throws -> Void) async throws {
        do {
            let configuration = try configuration()
            let proposal = configuration.clusterRecord
            guard !proposal.members.isEmpty else { throw ConfigurationError("nodes names no shard") }
            try await withExistingStore { store in
                guard let record = try await ClusterRegistry(store: store).newest() else {
                    throw ConfigurationError("the store has no record of the cluster yet: the first node that starts puts it there")
                }
                let name = configuration.text("node")
                let tls = try TLSSetup(configuration, node: name.isEmpty ? TLSSetup.operatorName : name, isServed: false)
                let process = ClusterProcess(configuration: configuration, pool: NodeProcess.peers(tls, logger: Logger(label: "covey") { _ in SwiftLogNoOpLogHandler() }))
                let change = ClusterChange(store: store, from: record, to: proposal, tenants: try TenantSetup(configuration).directory.tenants)
                defer { Task { await process.pool.close() } }
                try await body(change, process, ClusterDifference(from: record, to: proposal))
            }
        } catch let code as ExitCode {
            throw code
        } catch {
            FileHandle.standardError.write(Data("covey: \((error as? ClusterError)?.message ?? "\(error)")\n".utf8))
            throw ExitCode(1)
        }
    }
}
